"""float32, TF32, bfloat16 and float16 against float64; and where float16 overflows, or how far it is from that."""

import math

import torch

from probe.errors import UserError, reason_of
from probe.precision import full_float32, reduced
from probe.results.audit import Finding, judged, skipped, told
from probe.studies.audit.activations import Activation, as_float16, recorded, round_weights
from probe.studies.audit.against import against_reference, findings, spoilt
from probe.studies.audit.subject import Outputs, Subject
from probe.studies.audit.thresholds import THRESHOLDS

LIMIT = torch.finfo(torch.float16).max


def float32(subject: Subject) -> list[Finding]:
    """float32 without TF32; values that are not finite are looked for in all images."""
    if subject.no_float64:
        return [skipped("float32", f"It is the reference, as the model does not run in float64: {subject.no_float64}")]
    said = findings("float32", subject, subject.plain)
    if any(one.name == "not finite" for one in said):
        return said
    return [*said, *spoilt("float32", {"E(all images)": subject.encoded, "D(E(all images))": subject.rebuilt})]


def tf32(subject: Subject) -> list[Finding]:
    """float32 as GPUs convolve by default."""
    if subject.device.type != "cuda":
        return [skipped("tf32", "TF32 is of NVIDIA GPUs, and the model is not on one.")]
    with reduced("tf32", "cuda"):
        return against_reference("tf32", subject, subject.outputs(subject.model))


def bfloat16(subject: Subject) -> list[Finding]:
    """Weights and activations in bfloat16."""
    return _half(subject, "bfloat16")


def float16(subject: Subject) -> list[Finding]:
    """Weights and activations in float16; emulated on a CPU."""
    return emulated(subject) if subject.device.type == "cpu" else _half(subject, "float16")


def headroom(subject: Subject) -> list[Finding]:
    """The largest activation of float32, relative to the largest number of float16."""
    if not subject.activations:
        return [skipped("headroom", "The model has no modules whose activations could be seen.")]
    return [room("headroom", "float16", subject.activations)]


def room(check: str, name: str, activations: dict[str, float]) -> Finding:
    """Headroom of activations by module."""
    module, largest = max(activations.items(), key=lambda one: math.inf if math.isnan(one[1]) else one[1])
    says = f"The largest activation is {largest:.3g}, from {module}; float16 ends at {LIMIT:.0f}."
    return judged(check, name, largest / LIMIT, THRESHOLDS["headroom"], says, {"largest_activation": largest})


def _half(subject: Subject, dtype: str) -> list[Finding]:
    """The model in a half precision that the device has."""
    try:
        model = subject.again(dtype)
    except UserError as error:
        return [told(dtype, "weights", f"The model does not load in {dtype}: {error}", verdict="FAIL")]
    found: list[Outputs] = []
    try:
        seen = recorded(model, lambda: found.append(subject.outputs(model)))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "not implemented for" in str(error):
            return [skipped(dtype, f"This device does not compute it: {reason_of(error)}")]
        return [told(dtype, "runs", f"The model does not run in {dtype}: {reason_of(error)}", verdict="FAIL")]
    return [*against_reference(dtype, subject, found[0]), *_overflow(subject, dtype, seen)]


def emulated(subject: Subject) -> list[Finding]:
    """float16 in float32: see ``activations``."""
    if not subject.model.modules:
        return [skipped("float16", "The model has no modules whose outputs could be rounded; use a GPU.")]
    model = subject.again()
    if exceeding := round_weights(model):
        names = ", ".join(exceeding[:3]) + (", ..." if len(exceeding) > 3 else "")
        return [
            told(
                "float16", "weights", f"Weights exceed {LIMIT:.0f}: {names} ({len(exceeding)} in all).", verdict="FAIL"
            )
        ]
    found: list[Outputs] = []
    with full_float32():
        seen = recorded(model, lambda: found.append(subject.outputs(model, rounded=as_float16)), as_float16)
    said = against_reference("float16", subject, found[0])
    said[0] = said[0].model_copy(update={"sentence": f"{said[0].sentence} (Emulated; see the guide.)"})
    return [*said, *_overflow(subject, "float16", seen)]


def _overflow(subject: Subject, dtype: str, seen: list[Activation]) -> list[Finding]:
    """The first module that gives a value that is not finite; nothing if none does."""
    first = next((one for one in seen if not math.isfinite(one.largest)), None)
    if first is None:
        return []
    limit = torch.finfo(getattr(torch, dtype)).max
    largest = subject.activations.get(first.module, math.nan)
    where = f"{first.module} is the first module that gives NaN or infinity"
    if not math.isfinite(first.before):
        where = f"NaN or infinity first reaches {first.module}, from the code before it"
    upcast = any(getattr(getattr(one, "config", None), "force_upcast", False) for one in subject.model.modules)
    advice = "force_upcast is set: diffusers' pipelines then use float32, and so must you" if upcast else "Use bfloat16"
    says = f"{where}; its largest activation in float32 is {largest:.3g}, and {dtype} ends at {limit:.5g}. {advice}."
    return [told(dtype, "overflow", says, value=largest, verdict="FAIL", numbers={"limit": limit})]
