"""From the results of a study to its report: for each data set the claims, a table (values of the axis down, measures
across) and figures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as MatplotlibFigure
from rich.table import Table as RichTable

from probe.errors import UserError
from probe.metrics.interval import Verdict
from probe.report.model import dump, provenance
from probe.report.page.content import Block, Code, Figure, Note, Page, Provenance, Section, Verdicts
from probe.report.page.text import count, listed, number
from probe.report.page.write import rendered, write
from probe.report.planned import with_plan
from probe.report.study.kinds import study_kind
from probe.report.study.page import Rule, StudyPage, table
from probe.report.study.schema import StudyClaim, StudyReport, StudySection
from probe.results.study import Found, StudyResults, read_study
from probe.studies.sweeps.kinds import load_study_config
from probe.training.config import TrainConfig
from probe.training.images import fitted

PARTS = ("train", "test")


def write_study_report(study: Path, cells: Sequence[str]) -> dict[str, Any]:
    """Write report/ in the study's directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Args:
        cells: the models' result files, relative to the directory.

    Returns:
        The content of report.json.

    Raises:
        UserError: a result is missing, damaged, or has unexpected content.
    """
    config = load_study_config(study / "config.yaml")
    results = read_study(study, config, cells, study_kind(config.study).page.model)
    report = study_report(results)
    drawn = drawings(report, results)
    by_path = {f"figures/{name}": figure for of_one in drawn.values() for name, figure in of_one.items()}
    files, content = rendered(with_plan(page(report, drawn), study), "report", by_path), dump(report)
    write(study / "report", files, "report", content)
    return content


def sections(results: StudyResults) -> dict[str, list[Found[Any]]]:
    """The result files of each data set, in the order of the grid; all are one section if there are no data sets."""
    of_data = {name: [one for one in results.found if one.model.dataset == name] for name in results.config.data}
    return of_data or {"random weights": results.found}


def study_report(results: StudyResults) -> StudyReport:
    """The report.

    Raises:
        UserError: the results are not in the expected format.
    """
    kind, known = study_kind(results.config.study).page, results.manifest.get("data", {})
    try:
        parts = sections(results)
        training = getattr(results.config, "training", None)  # of kinds that train models
        datasets = {name: _section(kind, found, known.get(name), training) for name, found in parts.items()}
        warnings = [
            *(f"{name}/{part}: {one}" for name in results.config.data for part in PARTS
              for one in known[name][part].get("notes", [])),
            *(f"{name}: {one}" for name, found in parts.items() for one in kind.warnings(found)),
            *(f"{name}: images of side {one.side} are padded with black to {one.padded_to}."
              for name, one in datasets.items() if one.padded_to != one.side),
        ]  # fmt: skip
        return StudyReport(
            study=results.config.study,
            axis=kind.axis,
            datasets=datasets,
            models=[one.model for one in results.found],
            rules={name: rule.text for name, rule in kind.rules.items()},
            warnings=warnings,
            provenance=provenance(results.manifest, results.config),
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            f"the results of the study are not in the expected format ({error!r}); remove the study and run it again."
        ) from error


def _section(
    kind: StudyPage, found: Sequence[Found[Any]], images: Mapping[str, Any] | None, training: TrainConfig | None
) -> StudySection:
    claims, about = kind.claims(found), {}
    if images and training:
        about = {
            "n_train": images["train"]["n_used"],
            "n_test": images["test"]["n_used"],
            "channels": images["channels"],
            "side": images["side"],
            "padded_to": fitted(images["side"], "images", training.convolutions),
            "source": {part: images[part]["source"]["source"] for part in PARTS},
        }
    words = [in_words(claim, kind.rules[claim.rule]) for claim in claims]
    return StudySection(**about, points=kind.points(found), claims=claims, verdicts_in_words=words)


def in_words(claim: StudyClaim, rule: Rule) -> str:
    """``the test error falls with k: holds (rho -0.9 [-0.97, -0.7], 12 models)``."""
    interval = f" [{number(claim.ci95[0])}, {number(claim.ci95[1])}]" if claim.ci95 else ", no interval"
    levels = ", ".join(f"{name} {number(level)}" for name, level in (claim.levels or {}).items())
    n = count(claim.n, claim.over.removesuffix("s"))
    shown = f"{rule.statistic} {number(claim.statistic)}{interval}, {n}{levels and f'; {levels}'}"
    return f"{claim.claim}: {claim.result} ({shown}){_by_value(claim.by_value or {}, rule)}"


def _by_value(results: Mapping[str, Verdict], rule: Rule) -> str:
    """The verdicts at the values of the axis, or from other baselines."""
    if len(results) < 2:
        return ""
    if rule.from_baselines:
        return "; " + ", ".join(f"from {value}: {result}" for value, result in list(results.items())[1:])
    parts = []
    for result in ("holds", "undecided", "does not hold"):
        which = [value for value, one in results.items() if one == result]
        if which:
            many = rule.counted and result == "holds"
            parts.append(f"{result} {f'for {len(which)}' if many else f'at {listed(which)}'}")
    return f"; over all values: {', '.join(parts)}"


def drawings(report: StudyReport, results: StudyResults) -> dict[str, dict[str, MatplotlibFigure]]:
    """The figures of each data set by name."""
    kind = study_kind(report.study).page
    return {
        name: {one: it for one, it in kind.figures(name, report.datasets[name], found, results).items() if it}
        for name, found in sections(results).items()
    }


def page(report: StudyReport, figures: Mapping[str, Iterable[str]]) -> Page:
    """The page; ``figures`` are the names of those of each data set."""
    trained, started = sum(data.n_train is not None for data in report.datasets.values()), report.provenance["started"]
    lead = f"{count(len(report.models), 'architecture')} with random weights"
    if trained:
        models = count(len(report.models), "model")
        lead = f"{models} of the paper's convolutional autoencoder, {count(trained, 'data set')}"
    kind = study_kind(report.study).page
    blocks = [Section(name, _dataset(kind, data, figures[name])) for name, data in report.datasets.items()]
    reading = Section("How to read it", [kind.note, *report.rules.values()])
    return Page(
        f"Study: {report.study.replace('_', ' ')}",
        f"{lead}, started {started}" if started else lead,
        report.warnings,
        [*blocks, reading],
        Provenance.of(report.provenance),
    )


def _dataset(kind: StudyPage, data: StudySection, figures: Iterable[str]) -> list[Block]:
    images = f"{data.n_train} training and {data.n_test} test images of side {data.side}"
    about: list[str] = [f"{images}, {count(data.channels or 0, 'channel')}"]
    for part, source in data.source.items():
        about += [f"; {part} ", Code(source)]
    verdicts = Verdicts(data.verdicts_in_words, [claim.result for claim in data.claims])
    return [
        *([Note([*about, "."])] if data.n_train is not None else []),
        Section("The paper's claims", [verdicts]),
        table(kind.axis, kind.columns, data.points),
        *(Figure(f"figures/{name}", name.replace("_", " ")) for name in figures),
    ]


def study_table(content: Mapping[str, Any]) -> dict[str, RichTable]:
    """For a terminal: a table with the main columns for each data set, from the content of report.json."""
    report = StudyReport.model_validate(content)
    kind = study_kind(report.study).page
    return {
        name: table(kind.axis, kind.columns, data.points, kind.brief, intervals=False).rich(title=name)
        for name, data in report.datasets.items()
    }
