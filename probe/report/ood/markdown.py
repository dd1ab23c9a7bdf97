"""report.md of an OOD experiment."""

from probe.report.ood.schema import OodReport
from probe.report.ood.tables import HEADS, by_group, ends_in_words, label, overview_head, overview_rows, rows
from probe.report.run.markdown import code, table, text


def markdown(report: OodReport) -> str:
    """The page."""
    parts = ["# OOD detection"]
    if report.warnings:
        parts.append("## Warnings\n\n" + "\n".join(f"- {text(warning)}" for warning in report.warnings))
    parts += [table(overview_head(report), overview_rows(report)), "![overview](figures/overview.png)"]
    parts += ["## Verdicts", "\n".join(f"- {text(sentence)}" for sentence in report.verdicts_in_words)]
    for name in by_group(report):
        one = report.sets[name]
        parts += [f"## {text(name)} ({one.group})", set_facts(report, name), table(HEADS, rows(one))]
    parts += ["## Scores", "\n\n".join(f"![{name}](figures/{name}.png)" for name in report.scores)]
    parts.append(table(["score", "what it is"], [[label(name), what] for name, what in report.scores.items()]))
    parts += ["## Where trajectories end", "\n".join(f"- {text(sentence)}" for sentence in ends_in_words(report))]
    parts += ["## How to read it", *report.rules.values(), "## Provenance", _provenance(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def set_facts(report: OodReport, name: str) -> str:
    """Source, size and encodings of a set, as a sentence."""
    one = report.sets[name]
    files = "; ".join(f"{count} {what}" for what, count in (one.encodings or {}).items())
    beside = f" Files: {files}." if files else ""
    return text(f"{one.ends.n} images from {one.source}; {one.controls} re-encoded test images.{beside}")


def _provenance(report: OodReport) -> str:
    facts, model = report.provenance, report.model
    lines = [
        ["command", code(str(facts.get("command") or "-"))],
        ["model", f"{code(model['class'])}, weights sha256 {code(str(model['weights_sha256']))}"],
        ["git revision", code(str(facts.get("git_revision") or "unknown"))],
        ["device", code(str(facts.get("device") or "-"))],
        ["started", code(str(facts.get("started") or "-"))],
    ]
    return table(["", ""], lines, escaped=True) + "\n\nAll of it, with the configuration: report.json, `provenance`."
