"""levels.csv: a run's numbers, tidy; and model_card.md: a run as a section of a Hugging Face model card.

The card begins with the hub's ``model-index`` metadata, see
https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Merge the block between the lines ``---`` into the
metadata at the top of the card's README.md, and paste the section anywhere below.
"""

import re
from collections.abc import Iterator
from typing import Any

from probe.data.patterns import hub_parts
from probe.methods import BASELINE, OURS, label, metrics
from probe.names import csv_text
from probe.report.page.markdown import code, joined, table, text
from probe.report.page.text import number, with_interval
from probe.report.run.schema import Contrast, DatasetErrors, Mean, MethodErrors, Report
from probe.report.run.tables import known_metrics, lender

ENDS = ("low", "high", "simultaneous_low", "simultaneous_high")
HEAD = ("dataset", "atoms", "fraction", "method", "metric", "mean", *ENDS, "n", "atoms_used")
COMMON = {"vae", "model", "autoencoder", "ae", "weights", "checkpoint", "checkpoints", "final", "last", "best"}
"""Names of folders that say nothing without the folder above."""
PAIRED = ("latent_mse", "pixel_mse")
CARD_HEAD = ("data set", "images", "atoms", "method", "latent MSE", "pixel MSE", "latent MSE / random orthogonal")


def levels_csv(report: Report) -> str:
    """A row per data set, level, method and metric, with a 95 % interval; cells without a number are empty.

    Beside the errors, ``latent_mse_minus_NAME`` and ``latent_mse_over_NAME`` (likewise ``pixel_mse``) are differences
    and ratios to another method, paired by image, with simultaneous intervals; ``pixel_mse_over_autoencoder`` is the
    ratio to the autoencoder alone, and ``latent_mse_sd_of_bases`` the standard deviation over random bases. The
    autoencoder alone, ``zero_code`` and ``mean_image`` are methods without a level.
    """
    return csv_text([HEAD, *rows(report)])


def rows(report: Report) -> Iterator[list[Any]]:
    """The rows of ``levels_csv``, below ``HEAD``."""
    for name, data in report.datasets.items():
        known = known_metrics(data)
        for level in data.levels:
            for method, errors in level.methods.items():
                for metric, mean in _metrics(errors, known).items():
                    wider = (mean.simultaneous if isinstance(mean, Contrast) else None) or (None, None)
                    place = [name, level.atoms, level.fraction, method, metric]
                    yield [*place, *mean_and_ends(mean), *wider, data.n_used, errors.atoms_used]
        for method, row in {"autoencoder": data.autoencoder_floor, **data.sanity}.items():
            for metric in known if method != "autoencoder" else known[1:]:
                found = mean_and_ends(row.of(metric))
                yield [name, None, None, method, metric, *found, None, None, data.n_used, None]


def _metrics(errors: MethodErrors, known: list[str]) -> dict[str, Mean]:
    """All numbers of a method at a level, by name."""
    found = {metric: errors.of(metric) for metric in known} | {"pixel_mse_over_autoencoder": errors.floor_ratio}
    for against in filter(None, (errors.difference, errors.difference_strongest)):
        for metric in PAIRED:
            found[f"{metric}_minus_{against.to}"] = getattr(against, metric)
            found[f"{metric}_over_{against.to}"] = getattr(against, metric.replace("mse", "ratio"))
    bases = [(metric, one) for metric, one in (errors.bases or {}).items() if metric in known]
    return found | {f"{metric}_sd_of_bases": Mean(mean=one.sd, ci95=None) for metric, one in bases}


def mean_and_ends(mean: Mean | None) -> list[float | None]:
    """Mean, low and high; None if there is no number."""
    return [None] * 3 if mean is None else [mean.mean, *(mean.ci95 or (None, None))]


def model_card(report: Report) -> str:
    """The metadata block and the section."""
    found = results(report)
    block = metadata(model_name=model_name(report), eval_results=found) if found else ""
    return joined([block, "## Latent dynamics", *section(report)])


def section(report: Report, *, command: bool = True) -> list[str]:
    """How the run ended, its warnings, errors, verdicts and provenance, without a title; ``command`` may name paths."""
    subject, model = report.subject, report.model
    parts = [
        f"The dynamics z ← E(D(z)) of this autoencoder ({code(model.class_)}, latent "
        f"{' x '.join(map(str, model.latent_shape))}, d = {model.d}) were probed without data, after Fumero et al., "
        "[Navigating the Latent Space Dynamics of Neural Models](https://arxiv.org/abs/2505.22785).",
        " ".join(text(one) for one in report.summary),
        "\n".join(f"- {text(one)}" for one in report.warnings),
    ]
    if report.datasets:
        parts += [
            "Images reconstructed from 5 % of d atoms by Orthogonal Matching Pursuit, in the dictionary "
            f"({subject}) and in a random orthogonal basis; means with 95 % bootstrap intervals over images. Latent "
            "MSE is in the model's own coordinates, pixel MSE is of images in [0, 1].",
            table(
                CARD_HEAD, [row for name, data in report.datasets.items() for row in _card_rows(name, data, subject)]
            ),
            "\n".join(f"- {text(name)}: {text(data.verdict)}." for name, data in report.datasets.items()),
            report.verdict_rule,
        ]
    return [*parts, "### Provenance", _provenance(report, command)]


def model_name(report: Report) -> str:
    """A name for people: of a path or hub id the last part that says something, with the subfolder if there is one.

    ``python:models/taef2.py:load`` is ``taef2``, ``stabilityai/sdxl-vae`` is ``sdxl-vae``, and a snapshot in the hub's
    cache, ``.../models--stabilityai--sdxl-vae/snapshots/<hash>``, is ``sdxl-vae`` too.
    """
    kind, _, rest = report.model.source.partition(":")
    path = rest.rpartition(":")[0] or rest if kind == "python" else rest if kind == "embedded" else report.model.source
    parts = [part.rpartition("--")[2] for part in re.split(r"[/\\]", path) if _says_something(part)]
    if kind == "python" and parts:
        parts[-1] = parts[-1].removesuffix(".py").rpartition(".")[2]
    last = parts[-1] if parts else report.model.class_
    if len(parts) > 1 and last.lower() in COMMON:
        last = f"{parts[-2]}-{last}"
    folder = report.provenance.get("config", {}).get("model", {}).get("subfolder")
    return f"{last}-{folder}" if folder else last


def _says_something(part: str) -> bool:
    return part not in ("", ".", "..", "~", "snapshots", "blobs") and not re.fullmatch(r"[0-9a-f]{12,}", part)


def metadata(**known: Any) -> str:
    """The block at the top of a card, as the hub reads it; entries without a value are left out."""
    from huggingface_hub import ModelCardData

    return f"---\n{ModelCardData(**known).to_yaml()}\n---"


def results(report: Report) -> list[Any]:
    """The ``EvalResult``s of all data sets."""
    return [one for key, data in report.datasets.items() for one in _results(key, data, report.subject)]


def _results(name: str, data: DatasetErrors, subject: str) -> list[Any]:
    """An ``EvalResult`` per method and metric at 5 % of d, if there is a number."""
    from huggingface_hub import EvalResult

    source = data.source
    kind, _, address = str(source["source"]).partition(":")
    on_hub = kind == "hub" and source.get("revision")  # else it may be a path of this machine
    return [
        EvalResult(
            task_type="image-to-image",  # the hub's task that is closest to reconstruction
            task_name="sparse reconstruction from the latent dynamics",
            dataset_type=hub_parts(address)[0] if on_hub else name,
            dataset_name=name,
            dataset_config=source.get("config"),
            dataset_split=source.get("split"),
            dataset_revision=source.get("revision"),
            dataset_args={"n": data.n_used, "images_sha256": data.sha256},
            metric_type="mse",
            metric_name=f"{metrics()[metric].label} at 5 % of d, {label(method, subject)}",
            metric_value=mean.mean,
            metric_args={"atoms": data.five_percent, "ci95": list(mean.ci95) if mean.ci95 else None},
        )
        for method, errors in _on_the_card(data)
        for metric in PAIRED
        if (mean := errors.of(metric)).mean is not None
    ]


def _on_the_card(data: DatasetErrors) -> list[tuple[str, MethodErrors]]:
    found = data.at_five_percent.methods if data.at_five_percent else {}
    return [(name, found[name]) for name in (OURS, BASELINE) if name in found]


def _card_rows(name: str, data: DatasetErrors, subject: str) -> list[list[str]]:
    place = [name, str(data.n_used)]
    rows = []
    for method, errors in _on_the_card(data):
        ratio = with_interval(errors.difference.latent_ratio) if errors.difference else "-"
        means = [with_interval(errors.latent_mse), with_interval(errors.pixel_mse)]
        rows.append([*place, str(data.five_percent), label(method, subject), *means, ratio])
    return [*rows, [*place, "-", "autoencoder alone", "0", number(data.autoencoder_floor.pixel_mse.mean), "-"]]


def _provenance(report: Report, command: bool) -> str:
    facts, solver = report.provenance, report.solver
    images = ", ".join(f"{text(name)} {code(str(data.sha256))}" for name, data in report.datasets.items())
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
    lent = lender(report).get("dictionary")
    rows = [
        *([["command", code(str(facts.get("command", "-")))]] if command else []),
        *([["commit on the hub", code(report.model.revision)]] if report.model.revision else []),
        ["weights, sha256", code(report.model.weights_sha256 or "none")],
        ["images, sha256", images or "-"],
        ["starts", f"{solver.n}, seed {facts['config']['seeds']['seed']}"],
        ["solver", f"tolerance {solver.tolerance:g}, at most {solver.max_steps} steps"],
        ["dictionary", text(lent or f"{report.dictionary.atoms} atoms, {report.dictionary.rule}")],
        ["device, dtype", code(f"{facts.get('device', '-')}, {facts.get('dtype', '-')}")],
        ["git revision", code(str(facts.get("git_revision") or "unknown"))],
        ["versions", text(versions) or "-"],
    ]
    return table(["", ""], rows, escaped=True)
