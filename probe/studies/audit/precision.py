"""Arithmetic: the model in another type or run in another way, against float64."""

from probe.autoencoders import Autoencoder
from probe.precision import full_float32
from probe.results.audit import Finding, Threshold, judged
from probe.studies.audit.differences import Difference, difference, psnr
from probe.studies.audit.subject import TOGETHER, Outputs, Subject
from probe.studies.audit.thresholds import THRESHOLDS


def float32(subject: Subject) -> list[Finding]:
    """float32 without TF32."""
    return compared(subject, "float32", subject.model, THRESHOLDS["float32 picture"])


def compared(
    subject: Subject, check: str, model: Autoencoder, picture: Threshold, together: int = TOGETHER
) -> list[Finding]:
    """Run the model in float32 without TF32, or in the half precision that it has, and compare with the reference."""
    with full_float32():
        return findings(subject, check, subject.outputs(model, together), picture)


def findings(subject: Subject, check: str, found: Outputs, picture: Threshold) -> list[Finding]:
    """Outputs against the reference: of E, of D, and values that are not finite, if there are any."""
    ref, span = subject.reference, subject.model.image_range
    images, drawn = difference(found.encoded, ref.encoded), difference(found.again, ref.again)
    worst = max(images, drawn, key=lambda one: one.rms)
    encoded = judged(
        check,
        "encode",
        worst.rms,
        THRESHOLDS["latent"],
        f"Latents are {worst.rms:.2g} of their size from the reference's (RMS), and {worst.largest:.2g} at most.",
        {**_numbers("images", images), **_numbers("gaussian", drawn)},
    )
    of_images, of_drawn = psnr(found.decoded, ref.decoded, span), psnr(found.drawn, ref.drawn, span)
    least = min(float(of_images.min()), float(of_drawn.min()))
    decoded = judged(
        check,
        "decode",
        least,
        picture,
        f"The worst of {len(of_images) + len(of_drawn)} decoded pictures is {least:.1f} dB from the reference's.",
        {"images_psnr": float(of_images.mean()), "gaussian_psnr": float(of_drawn.mean())},
    )
    return [encoded, decoded, *_not_finite(check, found)]


def _not_finite(check: str, found: Outputs) -> list[Finding]:
    parts = {
        "E(images)": found.encoded,
        "D(E(images))": found.decoded,
        "D(Gaussian)": found.drawn,
        "E(D(Gaussian))": found.again,
    }
    shares = {name: 1 - float(part.isfinite().double().mean()) for name, part in parts.items()}
    spoilt = {name: share for name, share in shares.items() if share}
    if not spoilt:
        return []
    where = ", ".join(f"{100 * share:.3g} % of {name}" for name, share in spoilt.items())
    most = max(spoilt.values())
    return [judged(check, "not finite", most, THRESHOLDS["not finite"], f"NaN or infinity: {where}.", shares)]


def _numbers(name: str, one: Difference) -> dict[str, float]:
    return {f"{name}_rms": one.rms, f"{name}_largest": one.largest}
