"""Stage ``dictionary``: end points merged into atoms on one rank; certified, and their starts examined, on all."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from jobs.progress import Meter
from jobs.run.attractors import end_points_sha256, load_end_points
from jobs.run.directory import WORK
from jobs.run.job import Job
from probe.dynamics import Certificates, EndPoints, LatentMap, lyapunov_exponents
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.errors import UserError
from probe.studies.probing.dictionary import (
    TOGETHER,
    Merged,
    assemble_dictionary,
    certify_points,
    iterate_plainly,
    merge_end_points,
    radius_anywhere,
)
from probe.studies.probing.end_points import batches
from probe.studies.probing.reconstruction import picture

FILE, GALLERY_FILE, MERGED_FILE = "dictionary.safetensors", "gallery.safetensors", f"{WORK}/merged.safetensors"
WANDERING_FILE, WANDERING = (
    "wandering.safetensors",
    ("index", "exponent", "error", "spectral_radius", "radius_error"),
)
GALLERY, THUMBNAILS = 64, 4096
"""Atoms whose decoded end points are kept as pictures, and as small ones (``picture``); largest basins first."""
CERTIFIED = ("attractor", "spectral_radius")
VERDICTS = {"attractors": YES, "not_attractors": NO, "undecided": UNDECIDED}
Tensors = dict[str, Tensor]
Look = Callable[..., dict[str, Any] | None]
"""``checked``, ``needed`` or ``claimed`` of a directory."""
Part = tuple[str, range]
"""A kind of work, and rows of the points that it is to be done for."""


def build(job: Job) -> None:
    """Merge, certify, decode; from the end points that are there.

    Raises:
        UserError: end points are missing, or none may enter the dictionary.
    """
    _ = job.model
    ends_sha256 = job.on_rank_0(lambda: _end_points(job))
    if job.on_rank_0(lambda: dictionary_sha256(job, ends_sha256, job.run.claimed) is not None):
        return
    with job.timed("dictionary"):
        counts = job.on_rank_0(lambda: _merge(job, ends_sha256))
        parts = [(kind, span) for kind in WORKS for span in batches(counts[kind], TOGETHER)]
        todo = job.absent(parts, lambda part: job.run.claimed(_file(part), ends=ends_sha256))
        points = job.run.load(MERGED_FILE)[0] if todo else {}
        before = sum(counts.values()) - sum(len(span) for _, span in todo)
        shared = job.share_out("certificates", "points", todo, size=lambda part: len(part[1]), before=before)
        with job.tracked() as tracker:
            for part, meter in shared:
                kind, span = part
                f = _Counted(job, meter, kind)
                rows = {name: points[f"{kind}_{name}"][span.start : span.stop] for name in ("points", "starts")}
                found = WORKS[kind](job, f, rows["points"].to(job.model.device), rows["starts"])
                job.run.save(_file(part), found, ends=ends_sha256, rank=job.world.rank)
                if tracker:
                    tracker.log(*_certified_so_far(job, parts))
            if tracker:
                tracker.log(*_certified_so_far(job, parts))
        if job.world.rank == 0:
            _assemble(job, parts, ends_sha256)
        job.world.barrier()


def dictionary_sha256(job: Job, ends_sha256: str, look: Look) -> str | None:
    """The checksum of a dictionary made from these end points; None where there is none, or no gallery.

    Args:
        look: ``claimed`` of the directory where the dictionary is then made, ``needed`` where it is only read.
    """
    about = look(FILE, ends=ends_sha256)
    for file in (GALLERY_FILE, WANDERING_FILE):
        if not (about and look(file, dictionary=about["sha256"])):
            return None
    return about["sha256"] if about else None


def load_summary(job: Job) -> dict[str, Any]:
    """The counts of the dictionary stage."""
    return job.run.load(FILE, "atoms")[1]["summary"]


class _Counted(LatentMap):
    """The latent map, which shows how often it was asked: points that are examined together can take minutes."""

    def __init__(self, job: Job, meter: Meter, kind: str):
        super().__init__(job.model, clamp=job.config.model.clamp)
        self.meter, self.kind, self.asked = meter, kind, 0

    def __call__(self, z: Tensor) -> Tensor:
        self.asked += 1
        self.meter.note = f"{self.kind} in hand: {self.asked} evaluations"
        return super().__call__(z)


def _certificates(job: Job, f: LatentMap, points: Tensor, starts: Tensor) -> Tensors:
    return vars(certify_points(f, points, solver=job.config.solver))


def _checks(job: Job, f: LatentMap, points: Tensor, starts: Tensor) -> Tensors:
    config = job.config
    steps, same = iterate_plainly(
        f, starts, points, seeds=config.seeds, solver=config.solver, cosine=config.dictionary.cosine
    )
    return {"steps": steps, "same": same}


def _exponents(job: Job, f: LatentMap, points: Tensor, starts: Tensor) -> Tensors:
    found = lyapunov_exponents(f, points)
    radius = radius_anywhere(f, points, solver=job.config.solver)
    about = {"spectral_radius": radius.value, "radius_error": radius.error}
    return {"index": starts, "exponent": found.value, "error": found.error, **about}


WORKS: dict[str, Callable[[Job, LatentMap, Tensor, Tensor], Tensors]] = {
    "certificates": _certificates,
    "checks": _checks,
    "exponents": _exponents,
}


def _end_points(job: Job) -> str:
    found = end_points_sha256(job)
    if found is None:
        raise UserError(f"{job.run.path} misses end points; run `probe attractors {job.run.path}` first.")
    return found


def _merge(job: Job, ends_sha256: str) -> dict[str, int]:
    """Merge, if that was not done; the number of points for each kind of work."""
    about = job.run.claimed(MERGED_FILE, ends=ends_sha256)
    if about:
        return about["counts"]
    ends = load_end_points(job)
    merged = merge_end_points(ends, solver=job.config.solver, dictionary=job.config.dictionary)
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
    job.run.save(MERGED_FILE, tensors, ends=ends_sha256, **about)
    return counts


def _certified_so_far(job: Job, parts: list[Part]) -> tuple[dict[str, float], int]:
    """For a tracker: what the certificates that are there say, whichever rank made them; starts and points so far."""
    there = [part for part in parts if part[0] == "certificates" and (job.run.path / _file(part)).exists()]
    found = [job.run.load(_file(part), *CERTIFIED)[0] for part in there]
    verdict, radius = (torch.cat([torch.empty(0), *(one[name] for one in found)]) for name in CERTIFIED)
    counts = {f"certificates/{name}": float((verdict == code).sum()) for name, code in VERDICTS.items()}
    radius = radius[radius.isfinite()]
    median = {"certificates/median_spectral_radius": float(radius.quantile(0.5))} if len(radius) else {}
    return {**counts, **median}, job.config.seeds.count + len(verdict)


def _assemble(job: Job, parts: list[Part], ends_sha256: str) -> None:
    ends: EndPoints = load_end_points(job)
    tensors, about = job.run.load(MERGED_FILE)
    names = ("leader", "basin", "settled", "certify", "check", "wandering")
    merged = Merged(**{name: tensors[name] for name in names}, summary=about["summary"], sampled=about["sampled"])
    found = {kind: [job.run.load(_file(part))[0] for part in parts if part[0] == kind] for kind in WORKS}
    certificates = [Certificates(**one) for one in found["certificates"]]
    empty = Certificates.unknown(torch.empty(0))
    checks = _joined(found["checks"], ("steps", "same"), torch.long)
    made = assemble_dictionary(
        ends,
        merged,
        Certificates.concatenate([empty, *certificates]),
        (checks["steps"], checks["same"]),
        seeds=job.config.seeds,
        solver=job.config.solver,
    )
    content = {name: value for name, value in vars(made).items() if name not in ("summary", "ends")}
    digest = job.run.save(FILE, content, summary=made.summary, ends=ends_sha256)
    wandering = _joined(found["exponents"], WANDERING, torch.float64)
    job.run.save(WANDERING_FILE, wandering, dictionary=digest)
    model = job.model
    images, thumbnails = [], []
    with torch.no_grad():
        for place, z in enumerate(made.ends[:THUMBNAILS]):
            decoded = model.to_pixels(model.decode(z[None].to(model.device))).cpu()
            thumbnails.append(picture(decoded))
            if place < GALLERY:
                images.append(decoded)
    pictures = {"images": torch.cat(images), "thumbnails": torch.cat(thumbnails)}
    job.run.save(GALLERY_FILE, pictures, dictionary=digest)
    (job.run.path / MERGED_FILE).unlink()
    shutil.rmtree(job.run.path / WORK / "certificates", ignore_errors=True)


def _joined(found: list[Tensors], names: tuple[str, ...], dtype: torch.dtype) -> Tensors:
    return {name: torch.cat([torch.empty(0, dtype=dtype), *(one[name].to(dtype) for one in found)]) for name in names}


def _file(part: Part) -> str:
    kind, span = part
    return f"{WORK}/certificates/{kind}-{span.start:08d}-{span.stop - 1:08d}.safetensors"
