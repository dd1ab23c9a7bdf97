"""model_card.md: a run as a section of a Hugging Face model card, with the hub's ``model-index`` metadata.

Metadata: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. The block between the lines ``---`` belongs at
the top of the card's README.md, merged with what is there, and the section anywhere below.
"""

from typing import Any

from probe.methods import label
from probe.report.page.markdown import code, table, text
from probe.report.page.text import number, with_interval
from probe.report.run.schema import BASELINE, DatasetReport, MethodErrors, Report
from probe.report.run.tables import level_at_five, report_subject

TASK = "image-to-image"
"""The hub's task that is nearest to reconstruction."""
METRICS = {"latent_mse": "latent MSE", "pixel_mse": "pixel MSE"}
METHODS = ("attractors", BASELINE)
HEAD = ("data set", "images", "atoms", "method", *METRICS.values(), "latent MSE / random orthogonal")


def model_card(report: Report) -> str:
    """The metadata block and the section."""
    subject, model = report_subject(report), report.model
    parts = [
        _metadata(report, subject),
        "## Latent dynamics",
        f"The dynamics z ← E(D(z)) of this autoencoder ({code(model.class_)}, latent "
        f"{' x '.join(map(str, model.latent_shape))}, d = {model.d}) were probed without data, after Fumero et al., "
        "[Navigating the Latent Space Dynamics of Neural Models](https://arxiv.org/abs/2505.22785).",
        " ".join(text(one) for one in report.summary),
        "\n".join(f"- {text(one)}" for one in report.warnings),
    ]
    if report.datasets:
        parts += [
            "Images written in 5 % of d directions, by Orthogonal Matching Pursuit, from the dictionary "
            f"({subject}) and from a random orthogonal basis; means with 95 % bootstrap intervals over images. Latent "
            "MSE is in the model's own coordinates, pixel MSE of images in [0, 1].",
            table(HEAD, [row for name, data in report.datasets.items() for row in _rows(name, data, subject)]),
            "\n".join(f"- {text(name)}: {text(data.verdict)}." for name, data in report.datasets.items()),
            report.verdict_rule,
        ]
    return "\n\n".join(part for part in [*parts, "### Provenance", _provenance(report)] if part) + "\n"


def _metadata(report: Report, subject: str) -> str:
    from huggingface_hub import ModelCardData

    name = report.model.source.rstrip("/").replace(":", "/").rsplit("/", 1)[-1]  # of a path the folder only
    results = [one for key, data in report.datasets.items() for one in _results(key, data, subject)]
    if not results:
        return ""
    return f"---\n{ModelCardData(model_name=name, eval_results=results).to_yaml()}\n---"


def _results(name: str, data: DatasetReport, subject: str) -> list[Any]:
    """An ``EvalResult`` per method and metric at 5 % of d; a metric without a number is left out."""
    from huggingface_hub import EvalResult

    level, source = level_at_five(data), data.source
    kind, _, address = str(source["source"]).partition(":")
    return [
        EvalResult(
            task_type=TASK,
            task_name="sparse reconstruction from the latent dynamics",
            dataset_type=address if kind == "hub" else name,  # an id of the hub, and no path of this machine
            dataset_name=name,
            dataset_config=source.get("config"),
            dataset_split=source.get("split"),
            dataset_revision=source.get("revision"),
            dataset_args={"n": data.n_used, "images_sha256": data.sha256},
            metric_type="mse",
            metric_name=f"{words} at 5 % of d, {label(method, subject)}",
            metric_value=mean.mean,
            metric_args={"atoms": data.five_percent, "ci95": list(mean.ci95) if mean.ci95 else None},
        )
        for method, errors in _shown(data)
        for metric, words in METRICS.items()
        if level is not None and (mean := getattr(errors, metric)).mean is not None
    ]


def _shown(data: DatasetReport) -> list[tuple[str, MethodErrors]]:
    level = level_at_five(data)
    return [(name, level.methods[name]) for name in METHODS if level and name in level.methods]


def _rows(name: str, data: DatasetReport, subject: str) -> list[list[str]]:
    rows = [
        [
            name,
            str(data.n_used),
            str(data.five_percent),
            label(method, subject),
            with_interval(errors.latent_mse),
            with_interval(errors.pixel_mse),
            with_interval(errors.difference.latent_ratio) if errors.difference else "-",
        ]
        for method, errors in _shown(data)
    ]
    floor = number(data.autoencoder_floor.pixel_mse.mean)
    return [*rows, [name, str(data.n_used), "-", "autoencoder alone", "0", floor, "-"]]


def _provenance(report: Report) -> str:
    facts, solver = report.provenance, report.solver
    images = ", ".join(f"{text(name)} {code(str(data.sha256))}" for name, data in report.datasets.items())
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
    rows = [
        ["command", code(str(facts.get("command", "-")))],
        ["weights, sha256", code(report.model.weights_sha256 or "none")],
        ["images, sha256", images or "-"],
        ["starts", f"{solver.n}, seed {facts['config']['seeds']['seed']}"],
        ["solver", f"tolerance {solver.tolerance:g}, at most {solver.max_steps} steps"],
        ["dictionary", text(f"{report.dictionary.atoms} atoms, {report.dictionary.rule}")],
        ["device, dtype", code(f"{facts.get('device', '-')}, {facts.get('dtype', '-')}")],
        ["git revision", code(str(facts.get("git_revision") or "unknown"))],
        ["versions", text(versions) or "-"],
    ]
    return table(["", ""], rows, escaped=True)
