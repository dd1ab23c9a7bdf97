"""Stage ``reconstruct``: sparse codes of every image in every dictionary; a shard is a range of a data set's images."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from jobs.run import borrowed
from jobs.run.attractors import end_points_sha256, load_end_points, load_first_steps
from jobs.run.dictionary import dictionary_sha256
from jobs.run.directory import RunDirectory, image_file, table_files
from jobs.run.images import draw
from jobs.run.semantics import look_at
from jobs.run.work import RunWork
from probe.autoencoders import Autoencoder
from probe.dictionary import unit_row_of
from probe.errors import UserError
from probe.results.layout import DICTIONARY, FIRST_STEPS, RECONSTRUCTION, SUBSETS, WORK
from probe.sparse import Dictionary
from probe.studies.inputs import encode
from probe.studies.perceptual import Perceptual, perception
from probe.studies.probing.end_points import batches
from probe.studies.probing.reconstruction import (
    BASIS,
    Reconstructed,
    absent_controls,
    centre,
    centred,
    dictionaries,
    mean_image,
    pursuit_dtype,
    signals_of,
    with_oracle,
)
from probe.studies.probing.reconstruction import reconstruct as reconstruct_images
from probe.studies.probing.subsets import EXAMINED, Subsets, errors_in_subsets, subsets_of

Part = tuple[str, range]
"""A data set, and a range of its images."""
KINDS = ("errors", "floor", "sanity", "examples", "originals", "features")
"""Tensors by name of ``Reconstructed``; in a part's file they are called ``kind/name``."""

SUBSET = "subsets"
"""The same for errors in parts of the dictionaries."""


def reconstruct(work: RunWork) -> None:
    """Solve what is missing; three files for each data set.

    Raises:
        UserError: there is no dictionary, a data set's images have changed, or ranks have other weights for metrics.
    """
    run, world, model, clip = work.directory, work.world, work.model, work.clip
    dictionary = world.on_rank_0(lambda: _dictionary(run))
    # What was seen when an extra and its weights were there is kept where they are missing: "" is not compared.
    seen_by = {"clip": clip.sha256 if clip else "", **work.perceptual.checksums}
    _same_on_all_ranks(seen_by, world.on_rank_0(lambda: seen_by), world.rank)
    with world.alone():
        names = world.on_rank_0(lambda: run.reconstructed)
        names = world.missing(names, lambda name: run.has_table(name, run.claimed, dictionary=dictionary, **seen_by))
        undrawn = world.on_rank_0(lambda: any(run.claimed(image_file(name)) is None for name in names))
        if undrawn:
            draw(work)
    if names:
        _solve(work, names, dictionary, seen_by)
    if clip:
        world.on_rank_0(lambda: look_at(run, model, clip, dictionary))
    world.on_rank_0(lambda: shutil.rmtree(run.path / WORK, ignore_errors=True))  # all that was made of it is there


def _same_on_all_ranks(ours: dict[str, str], leader: dict[str, str], rank: int) -> None:
    """Refuse ranks on whose nodes a metric has other weights than on rank 0, or none: a mean over both is neither."""
    if other := [name for name in ours if ours[name] != leader[name]]:
        raise UserError(
            f"rank {rank} has other weights for {', '.join(other)} than rank 0, or only one of them has any: name "
            "files that all nodes see, in perceptual or clip."
        )


def _solve(work: RunWork, names: list[str], dictionary: str, seen_by: dict[str, str]) -> None:
    run, world = work.directory, work.world
    data = world.on_rank_0(lambda: {name: run.drawn(name) for name in names})
    sparse = run.config.sparse
    parts: list[Part] = [(name, span) for name in names for span in batches(data[name]["n_used"], sparse.batch_size)]
    atoms = {"borrowed": run.borrowed} if run.borrowed else {}
    made_from = {n: {"dictionary": dictionary, "images": data[n]["sha256"], **atoms, **seen_by} for n in names}
    # Without CLIP and perceptual metrics nothing is compared, and older files have no such entry.
    expected = {name: {key: value for key, value in about.items() if value} for name, about in made_from.items()}

    def finished(name: str) -> bool:
        return not (run.path / image_file(name)).exists()

    def is_there(part: Part) -> bool:
        return run.claimed(_file(part), **expected[part[0]]) is not None or finished(part[0])

    todo = world.missing(parts, is_there)
    before = sum(len(span) for _, span in parts) - sum(len(span) for _, span in todo)
    bases = _bases(run, work.model, _first_steps(work))
    with work.timed("reconstruct"):
        shared = work.share("reconstruct", "images", todo, is_there, size=lambda part: len(part[1]), before=before)
        for part, meter in shared:
            name, span = part
            ready = bases(name)
            images, held = ready.images[span.start : span.stop], ready.held

            def on_method(done: int, name: str = name, each: float = len(span) / len(held)) -> None:
                meter.update(done * each, name)  # noqa: B023

            meter.note = name
            latents = encode(work.model, images, together=sparse.batch_size)
            found = reconstruct_images(
                work.model,
                held,
                images,
                sparse,
                ready.mean,
                latents=latents,
                centre=ready.centre,
                clip=work.clip,
                perceptual=work.perceptual,
                on_method=on_method,
            )
            sizes = {method: len(basis) for method, basis in held.items() if BASIS not in method}
            few = min(max(EXAMINED - span.start, 0), len(span))
            smaller = errors_in_subsets(ready.subsets, signals_of(latents, ready.centre), few)
            about = made_from[name] | {"rank": world.rank, "subsets": ready.subsets.facts}
            _save(run, part, found, sizes, about, smaller)

        def finish() -> None:
            for name in names:
                if not finished(name):
                    own = [part for part in parts if part[0] == name]
                    _finish(run, name, own, made_from[name], work.perceptual)

        world.on_rank_0(finish)


def _dictionary(run: RunDirectory) -> str:
    ends = end_points_sha256(run)
    found = ends and (run.path / DICTIONARY).exists() and dictionary_sha256(run, ends, run.needed)
    if not found:
        raise UserError(f"{run.path} has no dictionary yet; run `probe dictionary {run.path}` first.")
    return found


@dataclass(frozen=True)
class Ready:
    """What a data set is reconstructed with: test images, their mean, what ``sparse.centre`` subtracts (d,), all
    dictionaries, and those whose parts are coded as well."""

    images: Tensor
    mean: Tensor
    centre: Tensor | None
    held: dict[str, Dictionary]
    subsets: Subsets


def _first_steps(work: RunWork) -> Callable[[], Tensor]:
    """Reads f(z0) of every start. Rank 0 alone opens all shards, and makes one file of them for all."""
    run, world = work.directory, work.world
    if world.size == 1:
        return lambda: load_first_steps(run)
    world.on_rank_0(lambda: run.save(FIRST_STEPS.name, {"first": load_first_steps(run)}))
    return lambda: run.load(FIRST_STEPS.name, "first")[0]["first"]


def _bases(run: RunDirectory, model: Autoencoder, first: Callable[[], Tensor]) -> Callable[[str], Ready]:
    """A function that gives what a data set is reconstructed with; what can be is made only once."""
    sparse, seed = run.config.sparse, run.config.seeds.seed
    prepared: dict[str, Dictionary] = {}  # with their Gram matrices, for all parts and data sets
    parts: list[Subsets] = []
    points = _points(run)

    @lru_cache(maxsize=1)
    def of(name: str) -> Ready:
        tensors, _ = run.load(image_file(name))
        heldout = tensors["heldout"]
        latents = encode(model, heldout, together=sparse.batch_size).cpu() if len(heldout) else heldout.float()
        oracles = with_oracle({}, latents, sparse, seed)
        common = {} if prepared else dictionaries(points, first(), sparse, seed)
        sizes = [*map(len, (common or prepared).values()), *map(len, oracles.values())]
        dtype = getattr(torch, pursuit_dtype(sparse, points.shape[1], sizes))
        if any(basis.dtype != dtype for basis in prepared.values()):  # few images were held out of this data set
            common = dictionaries(points, first(), sparse, seed)
        for key in list(common):  # one after the other is dropped: what is prepared takes half of its memory
            prepared[key] = Dictionary(common.pop(key).to(model.device), dtype)
        held = prepared | {key: Dictionary(basis.to(model.device), dtype) for key, basis in oracles.items()}
        if not parts:
            parts.append(_subsets(run, points, held, first()))
        mean = mean_image(heldout if len(heldout) else tensors["images"])
        return Ready(tensors["images"], mean, centre(sparse, points, latents, name), held, parts[0])

    return of


def _subsets(run: RunDirectory, points: Tensor, held: dict[str, Dictionary], first: Tensor) -> Subsets:
    """Parts of the dictionaries, to be coded as well; none if an older version made the dictionary, or other starts
    than this run's."""
    member = None if run.config.dictionary.source else run.load(DICTIONARY.name)[0].get("member")
    if member is not None:  # a point at the origin has no direction, and is no row of the prepared dictionary
        row = unit_row_of(centred(points, run.config.sparse))
        member = torch.where(member >= 0, row[member], -1)
    return subsets_of(held, member, first, run.config.sparse, run.config.seeds.seed)


def _points(run: RunDirectory) -> Tensor:
    """The points of the atoms (m, d): of unit norm, or as they are where they are centred."""
    others = borrowed.points(run)
    if others is not None:
        return others
    tensors, _ = run.load(DICTIONARY.name)
    if run.config.sparse.centre == "none":
        return tensors["atoms"]
    ends = tensors.get("ends")  # absent in dictionaries of older versions
    return (load_end_points(run).end[tensors["leader"]] if ends is None else ends).flatten(1)


def _save(
    run: RunDirectory,
    part: Part,
    found: Reconstructed,
    sizes: dict[str, int],
    about: dict[str, Any],
    subsets: dict[str, Tensor],
) -> None:
    kinds = {kind: getattr(found, kind) for kind in KINDS} | {SUBSET: subsets}
    run.save(
        _file(part),
        {"used": found.used, **{f"{kind}/{name}": value for kind in kinds for name, value in kinds[kind].items()}},
        **about,
        methods=found.methods,
        levels=found.levels,
        d=found.d,
        method_atoms=sizes,
    )


def _file(part: Part) -> str:
    """Where its errors are kept until the data set is finished."""
    return RECONSTRUCTION.at(part[1], dataset=part[0])


def _named(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{kind}/"): value for key, value in tensors.items() if key.startswith(f"{kind}/")}


def _finish(run: RunDirectory, name: str, parts: list[Part], made_from: dict[str, str], perceptual: Perceptual) -> None:
    """The table and the pictures of a data set from its parts, which are removed."""
    loaded = [run.load(_file(part)) for part in parts]
    about, sparse = loaded[0][1], run.config.sparse
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
    ids = run.load(image_file(name), "images")[1]["ids"]
    table, pictures = table_files(name)
    originals = {f"originals/{name}": value for name, value in whole.originals.items()}
    subsets = [_named(tensors, SUBSET) for tensors, _ in loaded]
    if all(subsets):  # an older version may have made some of the parts
        errors = {key: torch.cat([one[key] for one in subsets], dim=-1) for key in subsets[0]}
        run.save(SUBSETS.at(dataset=name), errors, **made_from, **about["subsets"])
    run.save(pictures, whole.examples | originals, **made_from, ids=ids)
    run.save_table(
        table,
        whole.rows(ids),
        **made_from,
        method_atoms=about["method_atoms"],
        levels=whole.levels,
        absent=absent_controls(whole.methods, sparse),
        five_percent=sparse.five_percent(whole.d),
        dtype=pursuit_dtype(sparse, whole.d, about["method_atoms"].values()),
        **({"perception": perception(perceptual, whole.features)} if run.config.perceptual else {}),
    )
    (run.path / image_file(name)).unlink()  # first: while it is there, the parts are looked for
    shutil.rmtree((run.path / _file(parts[0])).parent)
