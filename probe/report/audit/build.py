"""Run the checks on a model and put what they find into a report."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch

from probe.data.load import ImageSet
from probe.report.audit.schema import AuditedImages, AuditedModel, AuditReport, CheckReport, worst
from probe.report.page.text import count
from probe.results.audit import WORST_FIRST
from probe.studies.audit.check import Check, answer
from probe.studies.audit.subject import Subject

ENOUGH = 8
"""Images below which statistics of latents mean little."""


def audited(
    subject: Subject,
    pictures: ImageSet,
    checks: Sequence[Check],
    provenance: dict[str, Any],
    say: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """The report of the checks, run one after the other.

    Args:
        pictures: where the subject's images are from.
        say: called with the title of the check that begins.

    Raises:
        UserError: the model cannot encode and decode these images in float32 at all.
    """
    say("the latents of the images")
    shape = subject.closed()
    done = []
    for number, check in enumerate(checks, 1):
        say(f"check {number} of {len(checks)}, {check.title}")
        began = time.process_time()
        found = answer(check, subject)
        seconds = time.process_time() - began
        done.append(
            CheckReport(name=check.name, title=check.title, verdict=worst(found), seconds=seconds, findings=found)
        )
    model, findings = subject.model, [one for check in done for one in check.findings]
    counts = Counter(one.verdict for one in findings)
    return AuditReport(
        model=AuditedModel(
            source=model.source,
            class_name=model.class_name,
            weights_sha256=model.weights_sha256(),
            parameters=model.parameters(),
            latents=model.latents,
            latent_shape=list(shape),
            device=name_of(model.device),
        ),
        images=AuditedImages(
            source=str(pictures.source["source"]),
            sha256=pictures.sha256,
            count=len(pictures.ids),
            planned=pictures.n_planned,
            resolution=subject.resolution,
            larger=None if subject.larger is None else int(subject.larger.shape[-1]),
            note=few(len(pictures.ids), pictures.n_planned),
        ),
        seed=subject.seed,
        verdict=worst(findings),
        counts={verdict: counts[verdict] for verdict in WORST_FIRST},
        checks=done,
        provenance=provenance,
    )


def few(used: int, planned: int) -> str:
    """A sentence where fewer images than planned were used, or fewer than ``ENOUGH``; else empty."""
    of = f"Of {count(used, 'image')}" + (f" ({planned} were asked for)" if used < planned else "")
    if used < ENOUGH:
        return f"{of}: statistics of so few mean little."
    return f"{used} of {planned} images that were asked for were used." if used < planned else ""


def name_of(device: torch.device) -> str:
    """``cpu``, or ``cuda`` with the name of the GPU."""
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)
