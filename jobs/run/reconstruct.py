"""Stage ``reconstruct``: sparse codes of every image in every dictionary; a shard is a range of a data set's images."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from jobs.run.attractors import end_points_sha256, load_first_steps
from jobs.run.dictionary import FILE as DICTIONARY
from jobs.run.dictionary import dictionary_sha256
from jobs.run.directory import WORK
from jobs.run.images import draw, image_file
from jobs.run.job import Job
from jobs.run.semantics import look_at
from jobs.run.tables import has_table, table_files
from probe.errors import UserError
from probe.sparse import Dictionary
from probe.studies.probing.end_points import batches
from probe.studies.probing.reconstruction import (
    BASIS,
    Reconstructed,
    absent_controls,
    dictionaries,
    encode_images,
    mean_image,
    prepare,
    pursuit_dtype,
    with_oracle,
)
from probe.studies.probing.reconstruction import reconstruct as reconstruct_images

KINDS = ("errors", "floor", "sanity", "examples", "originals")
"""Tensors by name of ``Reconstructed``; in a part's file they are called ``kind/name``."""


@dataclass(frozen=True)
class Part:
    """A range of the images of a data set."""

    name: str
    images: range

    @property
    def file(self) -> str:
        """Where its errors are kept until the data set is finished."""
        span = f"{self.images.start:08d}-{self.images.stop - 1:08d}"
        return f"{WORK}/reconstructions/{self.name}/{span}.safetensors"


def reconstruct(job: Job) -> None:
    """Solve what is missing; two files for each data set.

    Raises:
        UserError: there is no dictionary, or an image's data set has changed.
    """
    _ = job.model
    dictionary = job.on_rank_0(lambda: _dictionary(job))
    seen_by = job.clip.sha256 if job.clip else ""
    # What was seen when the extra was there is kept where it is missing.
    by = None if job.config.clip and not job.clip else seen_by
    names = list(job.config.datasets)
    names = job.absent(names, lambda name: has_table(job, name, dictionary, by, job.run.claimed))
    if names:
        _solve(job, names, dictionary, seen_by)
    if job.clip:
        job.on_rank_0(lambda: look_at(job, dictionary))
    if job.leads:
        shutil.rmtree(job.run.path / WORK, ignore_errors=True)  # all that was made of it is there
    job.world.meet()


def _solve(job: Job, names: list[str], dictionary: str, seen_by: str) -> None:
    if job.on_rank_0(lambda: any(job.run.claimed(image_file(name)) is None for name in names)):
        draw(job)
    data = job.on_rank_0(lambda: {name: job.run.manifest["data"][name] for name in names})
    parts = [Part(name, span) for name in names for span in batches(data[name]["n_used"], job.config.sparse.batch_size)]
    made_from = {n: {"dictionary": dictionary, "images": data[n]["sha256"], "clip": seen_by} for n in names}
    # Without CLIP nothing is to be compared, and older files have no such entry.
    expected = {name: {key: value for key, value in about.items() if value} for name, about in made_from.items()}
    todo = job.absent(parts, lambda part: job.run.claimed(part.file, **expected[part.name]))
    before = sum(len(part.images) for part in parts) - sum(len(part.images) for part in todo)
    bases = _bases(job)
    with job.timed("reconstruct"):
        for part, meter in job.share_out("reconstruct", "images", todo, size=lambda p: len(p.images), before=before):
            held, images, mean = bases(part.name)

            def on_method(done: int, part: Part = part, many: int = len(held)) -> None:
                meter.update(len(part.images) * done / many, part.name)  # noqa: B023

            meter.note = part.name
            span = slice(part.images.start, part.images.stop)
            found = reconstruct_images(
                job.model, held, images[span], job.config.sparse, mean, clip=job.clip, on_method=on_method
            )
            sizes = {name: len(basis) for name, basis in held.items() if BASIS not in name}
            _save(job, part, found, sizes, made_from[part.name])
        if job.world.rank == 0:
            for name in names:
                mine = [part for part in parts if part.name == name]
                _finish(job, name, mine, made_from[name])
        job.world.meet()


def _dictionary(job: Job) -> str:
    ends = end_points_sha256(job)
    found = ends and (job.run.path / DICTIONARY).exists() and dictionary_sha256(job, ends, job.run.needed)
    if not found:
        raise UserError(f"{job.run.path} has no dictionary yet; run `probe dictionary {job.run.path}` first.")
    return found


def _bases(job: Job) -> Callable[[str], tuple[dict[str, Dictionary], Tensor, Tensor]]:
    """A function that gives a data set's dictionaries, test images and mean image; what can be is made only once."""
    sparse = job.config.sparse
    common: dict[str, Tensor] = {}
    ready: dict[str, Dictionary] = {}  # with their Gram matrices, for all parts and data sets

    @lru_cache(maxsize=1)
    def of(name: str) -> tuple[dict[str, Dictionary], Tensor, Tensor]:
        if not common:
            atoms, first = job.run.load(DICTIONARY, "atoms")[0]["atoms"], load_first_steps(job)
            common.update(dictionaries(atoms, first, sparse, job.config.seeds.seed))
        tensors, _ = job.run.load(image_file(name))
        heldout = tensors["heldout"]
        latents = encode_images(job.model, heldout, sparse.batch_size).cpu() if len(heldout) else heldout.float()
        held = prepare(with_oracle(common, latents, sparse), sparse, job.model.device)
        for key in common:
            if key in ready and ready[key].dtype == held[key].dtype:
                held[key] = ready[key]
        ready.update({key: held[key] for key in common})
        return held, tensors["images"], mean_image(heldout if len(heldout) else tensors["images"])

    return of


def _save(job: Job, part: Part, found: Reconstructed, sizes: dict[str, int], made_from: dict[str, str]) -> None:
    kinds = {kind: getattr(found, kind) for kind in KINDS}
    job.run.save(
        part.file,
        {"used": found.used, **{f"{kind}/{name}": value for kind in KINDS for name, value in kinds[kind].items()}},
        **made_from,
        methods=found.methods,
        levels=found.levels,
        d=found.d,
        method_atoms=sizes,
        rank=job.world.rank,
    )


def _named(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{kind}/"): value for key, value in tensors.items() if key.startswith(f"{kind}/")}


def _finish(job: Job, name: str, parts: list[Part], made_from: dict[str, str]) -> None:
    """The table and the pictures of a data set from its parts, which are removed."""
    loaded = [job.run.load(part.file) for part in parts]
    about, sparse = loaded[0][1], job.config.sparse
    whole = Reconstructed.concatenate(
        [
            Reconstructed(
                methods=tuple(about["methods"]),
                levels=tuple(about["levels"]),
                d=about["d"],
                used=tensors["used"],
                **{kind: _named(tensors, kind) for kind in KINDS},
            )
            for tensors, _ in loaded
        ]
    )
    ids = job.run.load(image_file(name), "images")[1]["ids"]
    table, pictures = table_files(name)
    originals = {f"originals/{name}": value for name, value in whole.originals.items()}
    job.run.save(pictures, whole.examples | originals, **made_from, ids=ids)
    job.run.save_table(
        table,
        whole.rows(ids),
        **made_from,
        method_atoms=about["method_atoms"],
        levels=whole.levels,
        absent=absent_controls(whole.methods, sparse),
        five_percent=sparse.five_percent(whole.d),
        dtype=pursuit_dtype(sparse, whole.d, about["method_atoms"].values()),
    )
    shutil.rmtree((job.run.path / parts[0].file).parent)
    (job.run.path / image_file(name)).unlink()
