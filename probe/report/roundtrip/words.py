"""Names and sentences of the page."""

from collections.abc import Iterable

from probe.measures import IDENTITY, MARKS, MEASURES
from probe.metrics.images import LOSSLESS
from probe.report.page.text import count, listed, number
from probe.report.roundtrip.schema import RoundtripReport, Series, Settled, Until
from probe.studies.roundtrip.between import step

CONTROL = "no model"
"""What the control is called on the page."""
TOLD = (1, 5, 10, 50)
"""Cycles of the headline."""
LABELS = {"none": "nothing", "clamp": "clamp", "8bit": "8 bits", "png": "PNG"}
CODECS = {"jpeg": "JPEG", "webp": "WebP"}


def model_label(model: str) -> str:
    return CONTROL if model == IDENTITY else model


def between_label(between: str) -> str:
    """``nothing``, ``JPEG 75``, ``resize by 0.5``."""
    name, _, parameter = between.partition(":")
    if name in CODECS:
        return f"{CODECS[name]} {parameter}"
    return f"resize by {parameter.replace(':', ' ')}" if name == "resize" else LABELS.get(between, between)


def of_latent_map(betweens: Iterable[str]) -> list[str]:
    """Those that do not round, whose pictures go on as latents after the last cycle to see whether they settle."""
    return [one for one in betweens if not step(one).kind.rounds]


def measure_label(name: str) -> str:
    return next(one.label for one in MEASURES if one.name == name)


def mark_label(name: str) -> str:
    return next(one.label for one in MARKS if one.name == name)


def decibels(mean: float | None) -> str:
    """``24.3 dB``; ``lossless`` at the cap."""
    return "lossless" if mean is not None and mean >= LOSSLESS else "-" if mean is None else f"{number(mean)} dB"


def level(report: RoundtripReport, series: Series, cycle: int) -> str:
    """Mean PSNR after a cycle: ``24.3 dB``, ``24.3 dB (1 of 4 lossless)``."""
    return decibels(at(report, series, "psnr", cycle)) + left_out(report, series, "psnr", cycle)


def left_out(report: RoundtripReport, series: Series, measure: str, cycle: int) -> str:
    """`` (1 of 4 lossless)``: how many the mean of a measure leaves out after a cycle; empty if none."""
    curve, place = series.curves.get(measure), report.cycles_drawn.index(cycle)
    if curve is None or not curve.lossless or not curve.lossless[place] or curve.mean[place] == LOSSLESS:
        return ""
    return f" ({curve.lossless[place]} of {series.n} lossless)"


def told(report: RoundtripReport) -> list[int]:
    """The cycles of the headline."""
    return sorted({one for one in TOLD if one in report.cycles_shown} | {report.cycles})


def at(report: RoundtripReport, series: Series, measure: str, cycle: int) -> float | None:
    """The mean of a measure after a cycle."""
    curve = series.curves.get(measure)
    return curve.mean[report.cycles_drawn.index(cycle)] if curve else None


def headline(report: RoundtripReport, model: str) -> str:
    """What is left after 1, 5, 10, 50 cycles, beside the control, and what settles."""
    first, *others = report.betweens
    mine = report.overall.of(model, first)
    parts = [
        f"{model}: after {_cycles(report)} with {_in_words(first)}, mean PSNR is {_levels(report, mine)}",
        f"({count(mine.n, 'image')}; {_control(report, first)})",
    ]
    sentence = " ".join(parts) + f"; {settles(mine)}."
    if others:
        ends = {one: level(report, report.overall.of(model, one), report.cycles) for one in others}
        left = [f"{end} with {between_label(one)}{_beside(report, one)}" for one, end in ends.items()]
        sentence += f" At the end: {listed(left)}."
    return sentence


def _cycles(report: RoundtripReport) -> str:
    steps = told(report)
    return f"{listed([str(one) for one in steps])} cycle{'s' if steps != [1] else ''}"


def _in_words(between: str) -> str:
    return "nothing between them" if between == "none" else f"{between_label(between)} between them"


def _levels(report: RoundtripReport, series: Series) -> str:
    levels = [level(report, series, cycle) for cycle in told(report)]
    if any("lossless" in one for one in levels):
        return listed(levels)
    return f"{listed([one.removesuffix(' dB') for one in levels])} dB"


def _control(report: RoundtripReport, between: str) -> str:
    control = report.overall.of(IDENTITY, between)
    if control.lossless:
        return "without a model nothing is lost"
    return f"without a model {_levels(report, control)}"


def _beside(report: RoundtripReport, between: str) -> str:
    control = report.overall.of(IDENTITY, between)
    return "" if control.lossless else f" (no model: {level(report, control, report.cycles)})"


def settles(series: Series) -> str:
    """``4 of 12 images settle: 3 at fixed points and 1 in cycles, 7 do not, 1 diverges``."""
    if series.n == 1:
        return _settles_alone(series.settled)
    found, counts = series.settled, series.settled.outcomes
    points, loops, moving, lost = (counts[key] for key in ("converged", "cycle", "max_steps", "diverged"))
    if points + loops == 0:
        said = f"none of the {series.n} images settles"
    else:
        certified = f" (certified attractors: {found.certified} of {found.examined} examined)" if found.examined else ""
        kinds = {f"at fixed points{certified}": points, "in cycles": loops}
        there = {kind: n for kind, n in kinds.items() if n}
        parts = (
            f" {next(iter(there))}" if len(there) == 1 else f": {listed([f'{n} {kind}' for kind, n in there.items()])}"
        )
        said = f"{points + loops} of {series.n} images settle{'s' if points + loops == 1 else ''}{parts}"
    rest = [f"{moving} do{'es' if moving == 1 else ''} not"] if moving and points + loops else []
    rest += [f"{lost} diverge{'s' if lost == 1 else ''}"] if lost else []
    if found.at_attractors is not None:  # also of pictures that still change a little
        at = count(found.attractors or 0, "attractor")
        rest.append(f"{found.at_attractors} end{'s' if found.at_attractors == 1 else ''} at {at} of the run")
    return ", ".join([said, *rest])


def _settles_alone(found: Settled) -> str:
    """The same of a single image: ``the image settles at a certified attractor``."""
    ends = {
        "converged": f"settles at a {'certified attractor' if found.certified else 'fixed point'}",
        "cycle": "settles in a cycle",
        "max_steps": "does not settle",
        "diverged": "diverges",
    }
    said = next(text for outcome, text in ends.items() if found.outcomes[outcome])
    return f"the image {said}{', at an attractor of the run' if found.at_attractors else ''}"


def until_cell(found: Until, n: int, beyond: str = "never") -> str:
    """``12 [8, 20], 3 never``; ``beyond`` where the median image, or an end, never got there."""
    if found.never == n:
        return "never"
    middle, low, high = (beyond if one is None else str(one) for one in (found.median, found.low, found.high))
    ends = f" [{low}, {high}]" if n >= FEWEST_FOR_MEDIAN and low != beyond else ""
    return f"{middle}{ends}{f', {found.never} never' if found.never else ''}"


FEWEST_FOR_MEDIAN = 6
"""Images from which on the median's interval has two ends."""
