"""A dictionary as a folder, or as a repository of the hub: tensors, what they were made with, a card, a picture.

Nothing in such a folder is run or unpickled: it is safetensors, JSON, Markdown and PNG, checked before it is used.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from probe.autoencoders.repository import commit_of, is_local, local
from probe.dictionary import unit_rows
from probe.errors import UserError
from probe.files import write_atomically
from probe.hub import be_patient, not_found, refused
from probe.reading import Unreadable, read_object, read_text, short
from probe.results import layout
from probe.results.files import Damaged, content_sha256, read_about, read_tensors, write_tensors

FORMAT = 1
"""Version of the folder's format; a reader refuses a newer one."""
TENSORS, ABOUT, CARD, PICTURES = "model.safetensors", "config.json", "README.md", "thumbnails.png"
"""The files of a folder; the last two may be absent."""
LARGEST_CARD = 1 << 20
LARGEST_PICTURES = 4 << 20
"""Bytes of these files."""
TOGETHER = 1 << 12
"""Atoms compared with their end points at once."""
APART = 1e-5
"""How far an entry of an atom may be from that of its end point divided by its norm, for rounding."""
CODES = {"outcome": (0, 3), "certificate": (-1, 1)}
"""The least and the largest value of tensors that stand for names."""
FORMS = {one.name: one for one in layout.DICTIONARY.columns}
"""The tensors, as in a run's dictionary."""


class _Entry(BaseModel):
    """Others than the named entries may be present."""

    model_config = ConfigDict(extra="allow", strict=True)


class Origin(_Entry):
    """The model whose end points the atoms are; the last three are the coordinates of scaled latents."""

    name: str | None = Field(None, max_length=1000)
    class_: str = Field(alias="class", max_length=1000)
    weights_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    shift_factor: float | None = None
    latents_mean: list[float] | None = None
    latents_std: list[float] | None = None


class Coordinates(_Entry):
    """Of its latents."""

    latents: str | None = Field(None, max_length=40)
    quantisation: str | None = Field(None, max_length=40)


class Protocol(_Entry):
    """The settings of its run."""

    resolution: int | None = None
    model: Coordinates = Coordinates()


class Counts(_Entry):
    """How many there are of what."""

    certified: int | None = None


class Facts(_Entry):
    """The entries of config.json that readers rely on."""

    format_version: int = Field(ge=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    latent_shape: list[int] = Field(min_length=1, max_length=16)
    model: Origin
    protocol: Protocol
    counts: Counts
    summary: dict[str, Any]


@dataclass(frozen=True)
class Artefact:
    """What is saved beside the tensors.

    Attributes:
        facts: the content of config.json: ``model``, ``protocol``, ``counts`` and others; ``sha256`` is that of the
            tensors' file, whichever it is in ``facts`` before it is saved.
        card: README.md, with its metadata; empty if there is none.
        pictures: a PNG of decoded end points, largest basin first; empty if there is none.
        repository, commit: of the hub that it was read from; None for a folder.
    """

    facts: Mapping[str, Any]
    card: str = ""
    pictures: bytes = b""
    commit: str | None = None
    repository: str | None = None

    def save(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Write all but the card. config.json comes last: a folder without it is not whole."""
        digest = write_tensors(folder / TENSORS, tensors, {})  # several entries would stand in any order
        if self.pictures:
            write_atomically(folder / PICTURES, self.pictures)
        facts = {**self.facts, "format_version": FORMAT, "sha256": digest}
        write_atomically(folder / ABOUT, json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_artefact(source: str, revision: str | None = None, **options: Any) -> tuple[dict[str, Tensor], Artefact]:
    """The tensors of a dictionary, checked, and what belongs to them.

    Args:
        source: a folder, or an id of the hub.
        revision: branch, tag or commit there.
        options: for ``huggingface_hub.hf_hub_download``.

    Raises:
        UserError: it is unavailable, damaged, of a newer format, or no dictionary.
    """
    remote = "/" in source and not is_local(source)  # every repository of a dictionary has an owner
    files = _on_hub(source, revision, options) if remote else _in_folder(source)
    of_hub = (commit_of(files[ABOUT]), source) if remote else (None, None)
    where = f"dictionary {source}"
    facts = _facts(files[ABOUT], where)
    try:
        tensors, about = read_tensors(files[TENSORS])
    except (Damaged, OSError) as error:
        raise UserError(f"{where}: {TENSORS} is damaged ({error}); get an intact copy.") from None
    if about.get("sha256") != facts["sha256"]:
        raise UserError(f"{where}: {TENSORS} is not the file that {ABOUT} was written with; get an intact copy.")
    if wrong := _wrong(tensors, facts["latent_shape"]):
        raise UserError(f"{where}: {TENSORS} holds no dictionary: {wrong}.")
    try:
        card = read_text(files[CARD], LARGEST_CARD) if CARD in files else ""
    except Unreadable as error:
        raise UserError(f"{where}: {CARD} cannot be read: {error.reason}.") from None
    pictures = files.get(PICTURES)
    shown = pictures is not None and pictures.stat().st_size <= LARGEST_PICTURES
    return tensors, Artefact(facts, card, pictures.read_bytes() if pictures and shown else b"", *of_hub)


def check_place(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse to save tensors in a folder whose files would be lost, or whose card tells of other ones.

    Raises:
        UserError: it holds a model or the like, or the card of another dictionary.
    """
    try:
        if (folder / ABOUT).exists():
            _facts(folder / ABOUT, "")
        foreign = False
    except UserError:
        foreign = True
    there = read_about(folder / TENSORS).get("sha256")
    if foreign or (there is None and (folder / TENSORS).exists()):
        raise UserError(
            f"{folder} holds files called {ABOUT} or {TENSORS} that are no dictionary's, and they would be replaced; "
            "choose another folder."
        )
    if there and (folder / CARD).exists() and there != content_sha256(tensors, {}):
        raise UserError(
            f"{folder} holds another dictionary, and its {CARD}, which tells of that one, would stay; choose another "
            f"folder, or remove {CARD}."
        )


def _facts(file: Path, where: str) -> dict[str, Any]:
    try:
        facts = read_object(file)
        version = facts.get("format_version")
        if isinstance(version, int) and version > FORMAT:
            raise UserError(f"{where} has format {version}, and this probe reads up to {FORMAT}; update latent-probe.")
        Facts.model_validate(facts)
    except Unreadable as error:
        raise UserError(f"{where}: {ABOUT} cannot be read: {error.reason}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            f"{where}: {ABOUT} is not that of an attractor dictionary ({'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}); name a folder that `save_pretrained` wrote, or a repository of `probe push`."
        ) from None
    return facts


def _wrong(tensors: Mapping[str, Tensor], latent_shape: list[int]) -> str:
    """What is wrong with the tensors; empty if nothing is."""
    needed = {*layout.DICTIONARY.names, "ends"}
    if missing := sorted(needed - {*tensors}):
        return f"{', '.join(missing)} are missing" if len(missing) > 1 else f"{missing[0]} is missing"
    if unknown := sorted({*tensors} - {*FORMS}):
        return f"{short(unknown[0])} is unknown"
    m, d = (*tensors["atoms"].shape, 0, 0)[:2]
    shapes = {"atoms": (m, d), "ends": (m, *latent_shape), "member": (tensors.get("member", torch.empty(0)).numel(),)}
    for name, value in tensors.items():
        kind, shape = FORMS[name].form.split(" ")[0], shapes.get(name, (m,))
        types = ("float32", "float64") if kind == "float" else (kind,)
        if str(value.dtype).removeprefix("torch.") not in types or tuple(value.shape) != shape:
            return f"{name} is {value.dtype} {tuple(value.shape)}, not {' or '.join(types)} {shape}"
    if not m or d != torch.Size(latent_shape).numel():
        return f"{m} atoms of {d} numbers are none of latents {tuple(latent_shape)}"
    if not all(torch.isfinite(tensors[name]).all() for name in ("atoms", "ends")):
        return "a value is not finite"
    both = (tensors["atoms"].split(TOGETHER), tensors["ends"].flatten(1).split(TOGETHER))
    for atoms, ends in zip(*both, strict=True):
        some = atoms.any(dim=1)  # an atom at the origin is 0
        given, made = atoms[some].double(), unit_rows(ends[some])
        if given.shape != made.shape or not torch.allclose(given, made, rtol=0, atol=APART):
            return "its atoms are not its end points divided by their norms"
    for name, (least, most) in CODES.items():
        if not ((tensors[name] >= least) & (tensors[name] <= most)).all():
            return f"{name} has values outside of {least} to {most}"
    member = tensors.get("member")
    if member is not None and not ((member >= -1) & (member < m)).all():
        return "member names atoms that there are none of"
    return ""


def _in_folder(source: str) -> dict[str, Path]:
    folder = local(source)
    if (folder / layout.CONFIG).is_file() and not (folder / ABOUT).exists():
        raise UserError(
            f"{source} is the directory of a run; write its dictionary into a folder of its own with "
            f"`probe push {source} --dry-run FOLDER`, and name that."
        )
    if not folder.exists():
        raise UserError(
            f"dictionary {source}: there is no folder {folder}; name one that has both {ABOUT} and {TENSORS}, or a "
            "repository of the hub as OWNER/NAME."
        )
    for name in (ABOUT, TENSORS):
        if not (folder / name).is_file():
            raise UserError(
                f"dictionary {source}: there is no {folder / name}; name a folder that has both {ABOUT} and {TENSORS}."
            )
    return {name: folder / name for name in (ABOUT, TENSORS, CARD, PICTURES) if (folder / name).is_file()}


def _on_hub(source: str, revision: str | None, options: Mapping[str, Any]) -> dict[str, Path]:
    """The files in the hub's cache, all of one commit."""
    about = _file(source, ABOUT, revision, options)
    if about is None:
        raise UserError(f"dictionary {source} has no {ABOUT}: it is not a repository that `probe push` wrote.")
    files, commit = {ABOUT: about}, commit_of(about) or revision
    for name in (TENSORS, CARD, PICTURES):
        if file := _file(source, name, commit, options):
            files[name] = file
    if TENSORS not in files:
        raise UserError(f"dictionary {source} has no {TENSORS}; it is not a repository that `probe push` wrote.")
    return files


def _file(source: str, name: str, revision: str | None, options: Mapping[str, Any]) -> Path | None:
    """A file of a repository, fetched or from the cache; None if there is none. What the cache knows of a commit is not
    asked again."""
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    try:
        if re.fullmatch("[0-9a-f]{40}", revision or "") and not options.get("force_download"):
            known = try_to_load_from_cache(source, name, options.get("cache_dir"), revision)
            if known is not None:
                return Path(known) if isinstance(known, str) else None
        be_patient()
        return Path(hf_hub_download(source, name, revision=revision, **options))
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            if name in (CARD, PICTURES):
                return None
            raise UserError(f"dictionary {source} {refused(error, source, revision, 'dictionary')}") from error
        return None
    except Exception as error:  # of the client or of its library for HTTP
        if (why := unavailable(error, source, revision)) is None:
            raise
        raise UserError(f"dictionary {source} {why}") from error


def unavailable(error: Exception, source: str, revision: str | None) -> str | None:
    """Why a repository cannot be had, and what to do, as a predicate; None for an error that is not of the hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return "is neither a local folder nor a hub id (owner/name)."
    return not_found(error) or refused(error, source, revision, "dictionary")
