"""Whether the encoder is deterministic."""

from probe.results.audit import Finding, judged
from probe.studies.audit.subject import ROWS, Subject, encode
from probe.studies.audit.thresholds import THRESHOLDS


def repeat(subject: Subject) -> list[Finding]:
    """Whether E gives the same latents for the same images twice, in batches of one size."""
    first, again = (encode(subject.model, subject.x[:ROWS]).double() for _ in range(2))
    size = float(first.square().mean().sqrt())
    difference = float((again - first).square().mean().sqrt()) / max(size, 1e-30)
    sentence = "E gives the same latents twice, bit by bit."
    if difference:
        sentence = f"Two calls of E on the same images differ by {difference:.2g} of the latents' size (RMS)."
    return [judged("repeat", "repeat", difference, THRESHOLDS["repeat"], sentence)]
