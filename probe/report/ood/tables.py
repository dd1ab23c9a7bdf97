"""The tables of an OOD experiment, once for all renderings: scores down, measures or sets across."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from probe.report.ood.schema import OodReport, SetReport, Value
from probe.report.page.text import listed

LABELS = {
    "trajectory": "trajectory (paper)",
    "trajectory_unit": "trajectory, unit norm",
    "end_point": "end point",
    "start": "start, no step",
    "steps": "steps",
    "field": "field at the start",
    "mahalanobis": "Mahalanobis",
    "reconstruction": "reconstruction error",
}
HEADS = (
    "score", "AUROC", "FPR95", "AUPR, OOD positive", "AUPR, ID positive", "re-encoded ID: AUROC",
    "AUROC against re-encoded ID",
)  # fmt: skip
"""Of the table of a set."""


def label(score: str) -> str:
    """What a score is called."""
    return f"KNN, K = {score[4:]}" if score.startswith("knn_") else LABELS[score]


def value(found: Value | None) -> str:
    """``0.912 [0.903, 0.921]``."""
    if found is None:
        return "-"
    shown = f"{found.value:.3f}"
    return shown if found.ci95 is None else f"{shown} [{found.ci95[0]:.3f}, {found.ci95[1]:.3f}]"


def rows(data: SetReport) -> list[list[str]]:
    """Cells under ``HEADS``."""
    return [
        [
            label(name),
            *map(value, (one.auroc, one.fpr95, one.aupr_out, one.aupr_in, one.control, one.against_control)),
        ]
        for name, one in data.scores.items()
    ]


def by_group(report: OodReport) -> list[str]:
    """Names of the sets, near ones first."""
    return sorted(report.sets, key=lambda name: report.sets[name].group != "near")


def overview_head(report: OodReport) -> list[str]:
    """The head of ``overview_rows``."""
    names = [f"{name} ({report.sets[name].group})" for name in by_group(report)]
    return ["AUROC / FPR95", *names, *(f"mean, {group}" for group in _averaged(report))]


def overview_rows(report: OodReport) -> list[list[str]]:
    """A row for each score: AUROC and FPR95 on each set, near ones first, and means over groups of several sets."""
    found = []
    for score in report.scores:
        pairs = [(one.auroc.value, one.fpr95.value) for one in _of(report, score)]
        means = [report.groups[group][score] for group in _averaged(report)]
        pairs += [(mean["auroc"], mean["fpr95"]) for mean in means]
        found.append([label(score), *(f"{a:.3f} / {b:.3f}" for a, b in pairs)])
    return found


def _averaged(report: OodReport) -> list[str]:
    """Groups of several sets: of one set the mean says nothing new."""
    return [group for group in report.groups if sum(one.group == group for one in report.sets.values()) > 1]


def _of(report: OodReport, score: str) -> list[Any]:
    return [report.sets[name].scores[score] for name in by_group(report)]


def ends_in_words(report: OodReport) -> list[str]:
    """A sentence on where trajectories end, for the in-distribution test images and each set."""
    sentences = []
    for name, ends in {"test": report.inside, **{name: report.sets[name].ends for name in by_group(report)}}.items():
        outcomes = listed([f"{count} {outcome.replace('_', ' ')}" for outcome, count in ends.outcomes.items()])
        median = "" if ends.median_steps is None else f", median steps {ends.median_steps:g}"
        sentences.append(f"{name}: {ends.n} images; {outcomes}{median}.")
    return sentences


def ood_table(content: Mapping[str, Any]) -> Table:
    """For a terminal, from the content of report.json."""
    report = OodReport.model_validate(content)
    table = Table(box=SIMPLE_HEAD)
    for head in overview_head(report):
        table.add_column(head, justify="left" if head.startswith("AUROC") else "right")
    for row in overview_rows(report):
        table.add_row(*row)
    return table
