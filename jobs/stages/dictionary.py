"""Stage ``dictionary``: end points merged into atoms on one rank, and certified on all."""

import shutil
from typing import Any

import torch

from jobs.job import Job
from jobs.run_directory import WORK
from jobs.stages.attractors import end_points_sha256, load_end_points
from probe.dynamics import Certificate, EndPoints, certify
from probe.errors import UserError
from probe.studies.attractors import Merged, assemble_dictionary, batches, merge_end_points
from probe.studies.reconstruction import to_pixels

FILE, GALLERY_FILE, MERGED_FILE = "dictionary.safetensors", "gallery.safetensors", f"{WORK}/merged.safetensors"
GALLERY = 64
"""Atoms whose decoded end points are kept as pictures, largest basins first."""
TOGETHER = 8
"""Certificates in a shard: seconds of work."""


def build(job: Job) -> None:
    """Merge, certify, decode; from the end points that are there.

    Raises:
        UserError: end points are missing, or none may enter the dictionary.
    """
    _ = job.model
    ends_sha256 = job.on_rank_0(lambda: _end_points(job))
    if job.on_rank_0(lambda: dictionary_sha256(job, ends_sha256) is not None):
        return
    with job.timed("dictionary"):
        points = job.on_rank_0(lambda: _merge(job, ends_sha256))
        spans = batches(points, TOGETHER)
        todo = job.missing(spans, lambda span: job.run.checked(_file(span), ends=ends_sha256))
        z = job.run.load(MERGED_FILE, "points")[0]["points"] if todo else torch.empty(0)
        before = points - sum(map(len, todo))
        for span, meter in job.share_out("certificates", "end points", todo, size=len, before=before):
            found = []
            for row in span:
                point = z[row].unsqueeze(0).to(job.model.device)
                found.append(certify(job.f, point, tolerance=job.config.solver.tolerance))
                meter.update(len(found))
            job.run.save(_file(span), _to_tensors(found), ends=ends_sha256, rank=job.world.rank)
        if job.world.rank == 0:
            _assemble(job, spans, ends_sha256)
        job.world.meet()


def dictionary_sha256(job: Job, ends_sha256: str) -> str | None:
    """The checksum of a dictionary made from these end points; None where there is none, or no gallery."""
    about = job.run.checked(FILE, ends=ends_sha256)
    gallery = about and job.run.checked(GALLERY_FILE, dictionary=about["sha256"])
    return about["sha256"] if about and gallery else None


def load_summary(job: Job) -> dict[str, Any]:
    """The counts of the dictionary stage."""
    return job.run.load(FILE, "atoms")[1]["summary"]


def _end_points(job: Job) -> str:
    found = end_points_sha256(job)
    if found is None:
        raise UserError(f"{job.run.path} misses end points; run `probe attractors {job.run.path}` first.")
    return found


def _merge(job: Job, ends_sha256: str) -> int:
    """Merge, if that was not done; the number of points to be certified."""
    about = job.run.checked(MERGED_FILE, ends=ends_sha256)
    if about:
        return about["points"]
    ends = load_end_points(job)
    merged = merge_end_points(ends, solver=job.config.solver, dictionary=job.config.dictionary)
    points = ends.end[merged.leader[merged.certify]]
    tensors = {"leader": merged.leader, "basin": merged.basin, "certify": merged.certify, "points": points}
    job.run.save(MERGED_FILE, tensors, ends=ends_sha256, points=len(points), summary=merged.summary)
    return len(points)


def _assemble(job: Job, spans: list[range], ends_sha256: str) -> None:
    ends: EndPoints = load_end_points(job)
    tensors, about = job.run.load(MERGED_FILE)
    merged = Merged(tensors["leader"], tensors["basin"], tensors["certify"], about["summary"])
    certificates = [one for span in spans for one in _from_tensors(job.run.load(_file(span))[0])]
    made = assemble_dictionary(ends, merged, certificates)
    content = {name: value for name, value in vars(made).items() if name not in ("summary", "ends")}
    digest = job.run.save(FILE, content, summary=made.summary, ends=ends_sha256)
    model = job.model
    with torch.no_grad():
        decoded = [to_pixels(model, model.decode(z[None].to(model.device))) for z in made.ends[:GALLERY]]
    job.run.save(GALLERY_FILE, {"images": torch.cat(decoded)}, dictionary=digest)
    (job.run.path / MERGED_FILE).unlink()
    shutil.rmtree(job.run.path / WORK / "certificates", ignore_errors=True)


def _file(span: range) -> str:
    return f"{WORK}/certificates/{span.start:08d}-{span.stop - 1:08d}.safetensors"


UNKNOWN = -1


def _to_tensors(found: list[Certificate]) -> dict[str, torch.Tensor]:
    return {
        "residual": torch.tensor([one.residual for one in found], dtype=torch.float64),
        "spectral_radius": torch.tensor([one.spectral_radius for one in found], dtype=torch.float64),
        "attractor": torch.tensor([UNKNOWN if one.attractor is None else int(one.attractor) for one in found]),
    }


def _from_tensors(tensors: dict[str, torch.Tensor]) -> list[Certificate]:
    rows = zip(*(tensors[key].tolist() for key in ("residual", "spectral_radius", "attractor")), strict=True)
    return [Certificate(residual, radius, None if yes == UNKNOWN else bool(yes)) for residual, radius, yes in rows]
