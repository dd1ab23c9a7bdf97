"""An audit as rows of text: for the terminal's table, and as Markdown."""

from collections.abc import Iterator

from probe.report.audit.schema import AuditReport, CheckReport
from probe.report.page.text import count
from probe.results.audit import WORST_FIRST, Finding
from probe.studies.audit.subject import ROWS

HEADINGS = ("check", "what", "verdict", "found", "threshold", "")


def rows(checks: list[CheckReport]) -> Iterator[tuple[str, ...]]:
    """Check, number, verdict, value with unit, threshold, sentence."""
    for check in checks:
        for one in check.findings:
            yield (
                check.name,
                "" if one.name == check.name else one.name,
                one.verdict,
                shown(one),
                limits(one),
                one.sentence,
            )


def shown(one: Finding) -> str:
    """The number with its unit."""
    if one.value is None:
        return "not finite" if one.threshold else ""
    return f"{one.value:.3g} {one.unit}".rstrip()


def limits(one: Finding) -> str:
    """The threshold in words."""
    return str(one.threshold or "")


def summary(report: AuditReport) -> str:
    """One sentence: the worst first."""
    named = {verdict: [c.name for c in report.checks if c.verdict == verdict] for verdict in WORST_FIRST}
    parts = [f"{verdict}: {', '.join(named[verdict])}" for verdict in ("FAIL", "WARN", "skipped") if named[verdict]]
    parts.append(count(len(named["OK"]), "check") + " OK")
    return "; ".join(parts) + "."


def table_of_thresholds() -> str:
    """All thresholds as a table in Markdown, for the guide."""
    from probe.studies.audit.thresholds import THRESHOLDS

    cells = (
        f"| {name} | {one}{f' {one.unit}' if one.unit else ''} | {one.reason} |" for name, one in THRESHOLDS.items()
    )
    return "\n".join(["| threshold | | why there |", "|---|---|---|", *cells]) + "\n"


def subject_of(report: AuditReport) -> str:
    """What was looked at."""
    images = report.images
    few = f", the first {ROWS} for arithmetic" if images.count > ROWS else ""
    return f"{images.count} images of {images.source} at {images.resolution} px{few}"


def markdown(report: AuditReport) -> str:
    """The audit as a page."""
    model = report.model
    cells = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows(report.checks)]
    lines = [
        f"# Audit of {model.source}",
        "",
        f"{model.class_name}, {model.parameters:,} weights, {model.latents} latents "
        f"{' x '.join(map(str, model.latent_shape))}, on {model.device}; {subject_of(report)}.",
        "",
        summary(report),
        *([report.images.note] if report.images.note else []),
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * len(HEADINGS),
        *cells,
    ]
    return "\n".join(lines) + "\n"
