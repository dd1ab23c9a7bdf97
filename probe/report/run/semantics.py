"""The decoded end points as CLIP sees them: sentences and a table for the page and Markdown."""

from probe.report.page.text import number, with_interval
from probe.report.run.schema import Semantics

HEAD = ("", "end points", "decoded noise", "test images")


def sentences(found: Semantics) -> list[str]:
    """What was found, and how far it can be trusted."""
    if found.missing:
        return [found.missing + "."]
    assert found.common_label is not None
    assert found.above_noise is not None
    ours, noise = found.common_label["end_points"], found.common_label["noise"]
    weights = f", {found.pretrained}" if found.pretrained and ":" not in (found.model or "") else ""
    said = [
        f"CLIP ({found.model}{weights}) labels every picture with the closest of {found.words} words, so a label means "
        f"little if decoded noise gets it, too. {100 * found.above_noise:.0f} % of the end points are closer to their "
        f"label than 95 % of decoded noise is to its own (5 % by chance). The most frequent label is {ours.label!r} "
        f"({100 * ours.share:.0f} %), of decoded noise {noise.label!r} ({100 * noise.share:.0f} %)."
    ]
    unrelated = [f"{name} {with_interval(value)}" for name, value in (found.unrelated or {}).items()]
    if unrelated:
        said.append(
            "Compare the similarity of an image and its reconstruction with that of two different images of the same "
            f"data set: {', '.join(unrelated)}."
        )
    return said


def rows(found: Semantics) -> list[list[str]]:
    """Rows under ``HEAD``; none if CLIP was unavailable."""
    parts = {
        "similarity to the label, median": found.label_similarity,
        "similarity to the nearest test image, median": found.nearest_similarity,
    }
    if found.vendi:
        parts[f"Vendi score of {found.vendi.n} of each"] = found.vendi
    return [[name, number(one.end_points), number(one.noise), number(one.images)] for name, one in parts.items() if one]
