"""What CLIP makes of the decoded end points, in sentences and a table for page and Markdown."""

from probe.report.page.text import number, with_interval
from probe.report.run.schema import Semantics

HEAD = ("", "end points", "decoded noise", "test images")


def sentences(found: Semantics) -> list[str]:
    """What was asked, and how far the answers can be believed."""
    if found.missing:
        return [found.missing + "."]
    assert found.common_label is not None
    assert found.above_noise is not None
    ours, noise = found.common_label["end_points"], found.common_label["noise"]
    weights = f", {found.pretrained}" if found.pretrained and ":" not in (found.model or "") else ""
    said = [
        f"By CLIP ({found.model}{weights}): a word of {found.words} is nearest to any picture, so a label says little "
        f"that decoded noise has, too. {100 * found.above_noise:.0f} % of the end points are nearer to their label "
        f"than 95 % of decoded noise is to its own (5 % by chance). The most frequent label is {ours.label!r} "
        f"({100 * ours.share:.0f} %), of decoded noise {noise.label!r} ({100 * noise.share:.0f} %)."
    ]
    unrelated = [f"{name} {with_interval(value)}" for name, value in (found.unrelated or {}).items()]
    if unrelated:
        said.append(
            "The similarity of an image and its reconstruction is to be read against that of two different images of "
            f"the same data set: {', '.join(unrelated)}."
        )
    return said


def rows(found: Semantics) -> list[list[str]]:
    """Under ``HEAD``; none where CLIP could not be asked."""
    parts = {
        "similarity to the label, median": found.label_similarity,
        "similarity to the nearest test image, median": found.nearest_similarity,
    }
    if found.vendi:
        parts[f"Vendi score of {found.vendi.n} of each"] = found.vendi
    return [[name, number(one.end_points), number(one.noise), number(one.images)] for name, one in parts.items() if one]
