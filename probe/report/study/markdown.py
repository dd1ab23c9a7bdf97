"""report.md of a study."""

from collections.abc import Mapping, Sequence

from probe.report.run.markdown import code, table, text
from probe.report.study.kinds import study_kind
from probe.report.study.schema import StudyReport, StudySection
from probe.report.study.tables import heads, rows


def markdown(report: StudyReport, figures: Mapping[str, Sequence[str]]) -> str:
    """The page; ``figures`` are, of each data set, names of PNG files in figures/."""
    parts = [f"# Study: {report.study.replace('_', ' ')}"]
    if report.warnings:
        parts.append("## Warnings\n\n" + "\n".join(f"- {text(warning)}" for warning in report.warnings))
    for name, data in report.datasets.items():
        title = f"Data set {text(name)}" if data.n_train else text(name).capitalize()
        parts += [f"## {title}", _facts(data) if data.n_train else "", _claims(data)]
        parts.append(table(heads(report), rows(report, data)))
        parts.append("\n".join(f"![{one}](figures/{one}.png)" for one in figures[name]))
    parts += ["## How to read it", study_kind(report.study).page.note, *report.rules.values()]
    parts += ["## Provenance", _provenance(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(data: StudySection) -> str:
    sources = ", ".join(f"{part} {code(str(source))}" for part, source in data.source.items())
    return f"{data.n_train} training and {data.n_test} test images of side {data.side} ({sources})."


def _claims(data: StudySection) -> str:
    return "\n".join(f"- {text(sentence)}" for sentence in data.verdicts_in_words)


def _provenance(report: StudyReport) -> str:
    facts = report.provenance
    lines = [
        ["command", code(str(facts.get("command") or "-"))],
        ["git revision", code(str(facts.get("git_revision") or "unknown"))],
        ["device", code(str(facts.get("device") or "-"))],
        ["started", code(str(facts.get("started") or "-"))],
    ]
    return table(["", ""], lines, escaped=True) + "\n\nAll of it, with the configuration: report.json, `provenance`."
