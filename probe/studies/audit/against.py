"""Findings on one way to run a model, from its outputs and those that they should be."""

from collections.abc import Mapping

from torch import Tensor

from probe.results.audit import Finding, judged
from probe.studies.audit.differences import EQUAL, Difference, difference, psnr
from probe.studies.audit.subject import Outputs, Subject
from probe.studies.audit.thresholds import THRESHOLDS


def against_reference(check: str, subject: Subject, found: Outputs) -> list[Finding]:
    """Outputs of reduced precision against those of float64."""
    return findings(check, subject, found, latent="latent", picture="picture")


def findings(
    check: str,
    subject: Subject,
    found: Outputs,
    expected: Outputs | None = None,
    latent: str = "float32 latent",
    picture: str = "float32 picture",
) -> list[Finding]:
    """What differs in E and in D, and values that are not finite, if there are any.

    Args:
        expected: by default the reference, in float64.
        latent, picture: names of the thresholds.
    """
    right = expected or subject.reference
    return [
        _encoded(check, found, right, latent),
        _decoded(check, found, right, picture, subject.model.image_range),
        *not_finite(check, found),
    ]


def _encoded(check: str, found: Outputs, right: Outputs, threshold: str) -> Finding:
    images, drawn = difference(found.encoded, right.encoded), difference(found.again, right.again)
    worst = max(images, drawn, key=lambda one: one.rms)
    says = f"Latents differ by {worst.rms:.2g} of their size (RMS), and by {worst.largest:.2g} at most."
    if not worst.largest:
        says = "Latents are equal to the last bit."
    numbers = {**_numbers("images", images), **_numbers("gaussian", drawn)}
    return judged(check, "encode", worst.rms, THRESHOLDS[threshold], says, numbers)


def _decoded(check: str, found: Outputs, right: Outputs, threshold: str, span: tuple[float, float]) -> Finding:
    images, drawn = psnr(found.decoded, right.decoded, span), psnr(found.drawn, right.drawn, span)
    worst, of = min(((float(images.min()), "an image"), (float(drawn.min()), "a Gaussian latent")))
    says = f"The worst of {len(images) + len(drawn)} pictures, of {of}, agrees to {worst:.1f} dB."
    if worst == EQUAL:
        says = f"All of {len(images) + len(drawn)} pictures agree to {EQUAL:.0f} dB or more."
    numbers = {"images_psnr": float(images.mean()), "gaussian_psnr": float(drawn.mean())}
    return judged(check, "decode", worst, THRESHOLDS[threshold], says, numbers)


def not_finite(check: str, found: Outputs) -> list[Finding]:
    """Where NaN and infinity are; nothing if there are none."""
    parts = {
        "E(images)": found.encoded,
        "D(E(images))": found.decoded,
        "D(Gaussian)": found.drawn,
        "E(D(Gaussian))": found.again,
    }
    return spoilt(check, parts)


def spoilt(check: str, parts: Mapping[str, Tensor]) -> list[Finding]:
    """The share of NaN and infinity in each of these; nothing if there are none."""
    shares = {name: 1 - float(part.isfinite().double().mean()) for name, part in parts.items()}
    there = {name: share for name, share in shares.items() if share}
    if not there:
        return []
    where = ", ".join(f"{100 * share:.3g} % of {name}" for name, share in there.items())
    return [judged(check, "not finite", max(there.values()), THRESHOLDS["not finite"], f"{where}.", shares)]


def _numbers(name: str, one: Difference) -> dict[str, float]:
    return {f"{name}_rms": one.rms, f"{name}_largest": one.largest}
