"""Stage ``dictionary``: end points merged into atoms on one rank; certified, and their starts examined, on all."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jobs.progress import Meter
from jobs.run import borrowed
from jobs.run.attractors import end_points_sha256, load_end_points
from jobs.run.basins import measure_basins
from jobs.run.directory import Look, RunDirectory
from jobs.run.work import RunWork
from probe.autoencoders import Autoencoder
from probe.config import Config
from probe.dynamics import Certificates, EndPoints, LatentMap, lyapunov_exponents
from probe.dynamics.certificate import NO, TOGETHER, UNDECIDED, YES
from probe.errors import UserError
from probe.results.layout import CERTIFICATES, DICTIONARY, GALLERY, MERGED, WANDERING
from probe.studies.probing.dictionary import (
    PICTURES,
    THUMBNAILS,
    Merged,
    assemble_dictionary,
    certify_points,
    iterate_plainly,
    merge_end_points,
    radius_anywhere,
)
from probe.studies.probing.end_points import batches
from probe.studies.probing.reconstruction import picture, uncoded

RULE = 2
"""Version of what ``EXAMINATIONS`` compute: what another one left of an unfinished run is computed again."""
Tensors = dict[str, Tensor]
Part = tuple[str, range]
"""A kind of work, and rows of the points that it is to be done for."""


def build(work: RunWork) -> None:
    """Merge, certify, decode, and measure the basins; from the end points that are there.

    Raises:
        UserError: end points are missing, or none may enter the dictionary.
    """
    _build(work)
    measure_basins(work)


def _build(work: RunWork) -> None:
    run, world, model = work.directory, work.world, work.model
    ends_sha256 = world.on_rank_0(lambda: _end_points(run))

    def assembled() -> bool:
        return not (run.path / MERGED.name).exists()

    def is_there(part: Part) -> bool:
        return run.claimed(_file(part), ends=ends_sha256, rule=RULE) is not None or assembled()

    if world.on_rank_0(lambda: dictionary_sha256(run, ends_sha256, run.claimed) is not None):
        return
    with work.timed("dictionary"):
        with world.alone():
            if world.independent and dictionary_sha256(run, ends_sha256, run.checked):  # another process made it
                return
            counts = world.on_rank_0(lambda: _merge(run, ends_sha256))
            parts = [(kind, span) for kind in EXAMINATIONS for span in batches(counts[kind], TOGETHER)]
            todo = world.missing(parts, is_there)
            points = run.load(MERGED.name)[0] if todo else {}
        before = sum(counts.values()) - sum(len(span) for _, span in todo)
        title = ", ".join(kind for kind in EXAMINATIONS if counts[kind]) or "certificates"  # the same in all processes
        shared = work.share(title, "points", todo, is_there, size=lambda part: len(part[1]), before=before)
        f = _Counted(model, clamp=run.config.model.clamp)
        with work.tracked() as tracker:
            for part, meter in shared:
                kind, span = part
                f.show(meter, kind)
                rows = {name: points[f"{kind}_{name}"][span.start : span.stop] for name in ("points", "starts")}
                found = EXAMINATIONS[kind](run.config, f, rows["points"].to(model.device), rows["starts"])
                run.save(_file(part), found, ends=ends_sha256, rank=world.rank, rule=RULE)
                if tracker:
                    tracker.log(*_certified_so_far(run, parts))
            if tracker:
                tracker.log(*_certified_so_far(run, parts))
        world.on_rank_0(lambda: None if assembled() else _assemble(run, model, parts, ends_sha256))


def dictionary_sha256(run: RunDirectory, ends_sha256: str, look: Look) -> str | None:
    """The checksum of a dictionary made from these end points; None where there is none, or no gallery.

    Args:
        look: ``claimed`` of the directory where the dictionary is then made, ``needed`` where it is only read.
    """
    about = look(DICTIONARY.name, ends=ends_sha256)
    for file in (GALLERY.name, WANDERING.name):
        if not (about and look(file, dictionary=about["sha256"])):
            return None
    return about["sha256"] if about else None


def summary(work: RunWork) -> dict[str, Any]:
    """The counts of the dictionary stage."""
    return work.directory.load(DICTIONARY.name, "atoms")[1]["summary"]


class _Counted(LatentMap):
    """The latent map, which shows how often it was asked: points that are examined together can take minutes."""

    def show(self, meter: Meter, kind: str) -> None:
        """Count anew, for a part of this kind."""
        self.meter, self.kind, self.asked = meter, kind, 0

    def __call__(self, z: Tensor) -> Tensor:
        self.count()
        return super().__call__(z)

    def count(self) -> None:
        """One evaluation or product more."""
        self.asked += 1
        self.meter.note = f"{self.kind} so far: {self.asked} evaluations and products"


def _certificates(config: Config, f: _Counted, points: Tensor, starts: Tensor) -> Tensors:
    found = certify_points(f, points, solver=config.solver, on_product=f.count)
    return {name: value.cpu() for name, value in vars(found).items()}


def _checks(config: Config, f: LatentMap, points: Tensor, starts: Tensor) -> Tensors:
    steps, same = iterate_plainly(
        f, starts, points, seeds=config.seeds, solver=config.solver, cosine=config.dictionary.cosine
    )
    return {"steps": steps, "same": same}


def _exponents(config: Config, f: LatentMap, points: Tensor, starts: Tensor) -> Tensors:
    found = lyapunov_exponents(f, points)
    radius = radius_anywhere(f, points, solver=config.solver)
    about = {"spectral_radius": radius.value, "radius_error": radius.error}
    return {"index": starts, "exponent": found.value, "error": found.error, **about}


EXAMINATIONS: dict[str, Callable[[Config, _Counted, Tensor, Tensor], Tensors]] = {
    "certificates": _certificates,
    "checks": _checks,
    "exponents": _exponents,
}


def _end_points(run: RunDirectory) -> str:
    found = end_points_sha256(run)
    if found is None:
        raise UserError(f"{run.path} misses end points; run `probe attractors {run.path}` first.")
    return found


def _merge(run: RunDirectory, ends_sha256: str) -> dict[str, int]:
    """Merge, if that was not done; the number of points for each kind of work."""
    about = run.claimed(MERGED.name, ends=ends_sha256)
    if about:
        return about["counts"]
    ends = load_end_points(run)
    merged = merge_end_points(ends, solver=run.config.solver, dictionary=run.config.dictionary)
    wanted = {
        "certificates": merged.leader[merged.certify],
        "checks": merged.check,
        "exponents": merged.wandering,
    }
    tensors = {name: value for name, value in vars(merged).items() if isinstance(value, Tensor)}
    for kind, starts in wanted.items():
        tensors |= {f"{kind}_starts": starts.clone(), f"{kind}_points": ends.end[starts]}
    counts = {kind: len(starts) for kind, starts in wanted.items()}
    about = {"counts": counts, "summary": merged.summary, "sampled": merged.sampled}
    run.save(MERGED.name, tensors, ends=ends_sha256, **about)
    return counts


def _certified_so_far(run: RunDirectory, parts: list[Part]) -> tuple[dict[str, float], int]:
    """For a tracker: what the certificates that are there say, whichever rank made them; starts and points so far."""
    there = [part for part in parts if part[0] == "certificates" and (run.path / _file(part)).exists()]
    names, verdicts = (
        ("attractor", "spectral_radius"),
        {"attractors": YES, "not_attractors": NO, "undecided": UNDECIDED},
    )
    found = [run.load(_file(part), *names)[0] for part in there]
    verdict, radius = (torch.cat([torch.empty(0), *(one[name] for one in found)]) for name in names)
    counts = {f"certificates/{name}": float((verdict == code).sum()) for name, code in verdicts.items()}
    radius = radius[radius.isfinite()]
    median = {"certificates/median_spectral_radius": float(radius.quantile(0.5))} if len(radius) else {}
    return {**counts, **median}, run.config.seeds.count + len(verdict)


def _assemble(run: RunDirectory, model: Autoencoder, parts: list[Part], ends_sha256: str) -> None:
    ends: EndPoints = load_end_points(run)
    tensors, about = run.load(MERGED.name)
    names = ("leader", "basin", "settled", "certify", "check", "wandering")
    named = {name: tensors[name] for name in names}
    merged = Merged(**named, summary=about["summary"], sampled=about["sampled"], member=tensors.get("member"))
    found = {kind: [run.load(_file(part))[0] for part in parts if part[0] == kind] for kind in EXAMINATIONS}
    certificates = [Certificates(**one) for one in found["certificates"]]
    checks = _joined(found["checks"], ("steps", "same"), torch.long)
    made = assemble_dictionary(
        ends,
        merged,
        Certificates.concatenate(certificates) if certificates else Certificates.none(),
        (checks["steps"], checks["same"]),
        seeds=run.config.seeds,
        solver=run.config.solver,
        cosine=run.config.dictionary.cosine,
    )
    content = {name: value for name, value in vars(made).items() if isinstance(value, Tensor)}
    sparse = run.config.sparse
    others = borrowed.points(run)
    own = made.atoms if sparse.centre == "none" else made.ends.flatten(1)
    reason = uncoded(own if others is None else others, sparse)
    about = {"summary": made.summary, "ends": ends_sha256, "basins": True, "uncoded": reason}
    digest = run.save(DICTIONARY.name, content, **about)
    wandering = _joined(found["exponents"], WANDERING.names, torch.float64)
    run.save(WANDERING.name, wandering, dictionary=digest)
    images, thumbnails = [], []
    with torch.no_grad():
        for place, z in enumerate(made.ends[:THUMBNAILS]):
            decoded = model.to_pixels(model.decode(z[None].to(model.device))).cpu()
            thumbnails.append(picture(decoded))
            if place < PICTURES:
                images.append(decoded)
    pictures = {"images": torch.cat(images), "thumbnails": torch.cat(thumbnails)}
    run.save(GALLERY.name, pictures, dictionary=digest)
    (run.path / MERGED.name).unlink()
    shutil.rmtree((run.path / CERTIFICATES.pattern).parent, ignore_errors=True)


def _joined(found: list[Tensors], names: tuple[str, ...], dtype: torch.dtype) -> Tensors:
    return {name: torch.cat([torch.empty(0, dtype=dtype), *(one[name].to(dtype) for one in found)]) for name in names}


def _file(part: Part) -> str:
    kind, span = part
    return CERTIFICATES.at(span, kind=kind)
