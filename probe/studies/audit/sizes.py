"""Twice the resolution: reconstructions, latents and activations."""

import math

import torch
from torch import Tensor

from probe.errors import reason_of
from probe.precision import full_float32
from probe.results.audit import Finding, judged, skipped, told
from probe.studies.audit.activations import largest_by_module
from probe.studies.audit.differences import psnr
from probe.studies.audit.precision import room
from probe.studies.audit.subject import Subject, decode, encode
from probe.studies.audit.thresholds import THRESHOLDS
from probe.studies.inputs import inputs

FEW = 2
"""Images at twice the resolution."""


@torch.no_grad()
def size(subject: Subject) -> list[Finding]:
    """Reconstructions, latents and activations at twice the resolution."""
    if subject.larger is None:
        return [skipped("size", f"The model takes images of side {subject.model.side} only.")]
    model, r, twice = subject.model, subject.resolution, subject.larger.shape[-1]
    small, large = subject.x[:FEW], inputs(model, subject.larger[:FEW])
    made: list[Tensor] = []

    def rebuild() -> None:
        made.append(encode(model, large, 1))
        made.append(decode(model, made[0], 1))

    with full_float32():
        before = decode(model, subject.encoded[:FEW], 1)
        try:
            activations = largest_by_module(model, rebuild)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of any type
            return [told("size", "runs", f"The model does not run at {twice} px: {reason_of(error)}", verdict="WARN")]
    z, y = made
    if y.shape != large.shape:
        says = f"Of images {tuple(large.shape)} the model makes {tuple(y.shape)}: it has one size."
        return [told("size", "runs", says, verdict="WARN")]
    bad = 1 - float(torch.cat([z.flatten(), y.flatten()]).isfinite().double().mean())
    if bad:
        return [judged("size", "not finite", bad, THRESHOLDS["not finite"], f"{100 * bad:.3g} % of all values.")]
    here, there = (float(psnr(a, b, model.image_range).mean()) for a, b in ((before, small), (y, large)))
    sizes = [float(value.double().square().mean().sqrt()) for value in (subject.encoded[:FEW], z)]
    ratio = sizes[1] / sizes[0] if sizes[0] else 1.0
    factor = max(ratio, 1 / ratio) if ratio else math.inf
    return [
        judged(
            "size",
            "reconstruction",
            here - there,
            THRESHOLDS["larger loss"],
            f"Reconstructions are {here:.1f} dB from the images at {r} px and {there:.1f} dB at {twice} px.",
            {"psnr": here, "larger_psnr": there},
        ),
        judged(
            "size",
            "latents",
            factor,
            THRESHOLDS["larger latents"],
            f"Latents at {twice} px are {ratio:.3g} times as large as at {r} px.",
        ),
        *([room("size", "headroom", activations)] if activations else []),
    ]
