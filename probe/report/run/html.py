"""report.html: one file, nothing to load; readable without its script, too."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup

from probe.dynamics import Outcome
from probe.methods import BORROWED, OUTCOME_COLOURS, label, methods, metrics
from probe.report.model import finite
from probe.report.page import text as words
from probe.report.page.content import Figure, Section
from probe.report.page.html import environment
from probe.report.page.pictures import sheet, small, strip, uri
from probe.report.run import forest, tables
from probe.report.run.basins import basins_section
from probe.report.run.schema import DatasetErrors, Errors, Mean, Report
from probe.report.run.summary import borrowed, semantics_sentences
from probe.results.run import Reconstructions, Results

ATOM = {"atom", "basin", "outcome", "certificate", "spectral_radius", "residual", "steps"}
Strips = dict[str, list[Markup]]
LABELS = {"label", "label_similarity", "label_above_noise", "nearest", "nearest_similarity"}


def html(report: Report, results: Results, files: Mapping[str, bytes], planned: Section | None = None) -> str:
    """The page; ``results`` hold its pictures, ``files`` the figures (by path) shown without a script and in print;
    ``planned`` is its section on the plan."""
    plotly, script = (_script(path) for path in ("page/plotly/plotly-basic.min.js", "run/report.js"))
    template = environment(plotly, script).get_template("run/report.html.j2")
    strips = [_strips(results.datasets[name]) for name in report.datasets]
    pictures = [Figure("figures/basins", "Share of nearby starts that end in different basins, by distance")]
    pictures = pictures if "figures/basins.svg" in files else []
    return template.render(
        report=report,
        data=_data(report, results, strips),
        strips=strips,
        plotly=_packed(plotly),
        script=script,
        tables=tables,
        words=words,
        borrowed=borrowed,
        ours=_ours(report),
        methods=methods(),
        label=lambda method: label(method, report.subject),
        outcomes=list(Outcome),
        outcome_colours=OUTCOME_COLOURS,
        five_percent=_five_percent(report),
        forests=forest.forests(report),
        stacks=forest.stacks(report),
        parts={part: name.replace("end points", _ours(report)) for part, name in forest.PARTS.items()},
        part_colours=forest.COLOURS,
        figure=lambda name: uri("image/svg+xml", files[f"figures/{name}.svg"]),
        gallery=small(files["figures/gallery.png"], 0.45) if "figures/gallery.png" in files else None,
        planned=planned,
        basins=basins_section(report.basins, report.model.d, pictures) if report.basins else None,
        semantics=semantics_sentences(report.semantics) if report.semantics else [],
        provenance=_provenance(report),
        config=json.dumps(report.provenance["config"], indent=2, ensure_ascii=False),
    )


def _five_percent(report: Report) -> str:
    """``13 atoms (5 % of d)``."""
    levels = {data.five_percent for data in report.datasets.values()}
    return f"{words.count(levels.pop(), 'atom')} (5 % of d)" if len(levels) == 1 else "5 % of d atoms"


def _ours(report: Report) -> str:
    """What the legends of the page call the atoms that images are coded in."""
    return BORROWED if report.borrowed else "end points"


def _script(path: str) -> Markup:
    return Markup(resources.files("probe.report").joinpath(path).read_text("utf-8"))


def _packed(script: Markup) -> Markup:
    """A script for ``report.js`` to unpack: a third of the bytes, and the page is shown before it is run."""
    return Markup(base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode())  # base64 holds no markup


def _provenance(report: Report) -> list[tuple[str, str]]:
    """Rows of name and value; what is nested becomes ``name: value`` pairs."""
    facts, model = report.provenance, report.model
    rows: dict[str, Any] = {
        "model": f"{model.class_} from {model.source}",
        **({"model's commit on the hub": model.revision} if model.revision else {}),
        "weights sha256": model.weights_sha256 or "none",
        **tables.lender(report),
        "latent": f"{' x '.join(map(str, model.latent_shape))} (d = {model.d})",
        **{key.replace("_", " "): value for key, value in (model.model_extra or {}).items()},
        **{key.replace("_", " "): facts[key] for key in facts if key not in ("config", "data", "command")},
    }
    return [(key, words.as_text(value)) for key, value in rows.items()]


def _data(report: Report, results: Results, strips: Sequence[Strips]) -> dict[str, Any]:
    """What the script draws: methods, metrics, datasets (curves and the pictures that change, in the order of the
    report), atoms, sheet and near (of their thumbnails, and of their nearest images')."""
    data: dict[str, Any] = finite(
        {
            "methods": {
                name: {
                    "label": label(name, report.subject),
                    "colour": one.colour,
                    "dash": "dash" if one.sees_data else "solid",
                }
                for name, one in methods().items()
            },
            "metrics": {
                name: {"label": one.heading, "better": one.better}
                for name, one in metrics().items()
                if any(name in tables.known_metrics(data) for data in report.datasets.values())
            },
            "datasets": [
                {
                    "name": name,
                    **_curves(data),
                    "levels": results.datasets[name].facts["levels"],
                    "pictures": {key: of_it for key, of_it in own.items() if len(of_it) > 1},
                }
                for (name, data), own in zip(report.datasets.items(), strips, strict=True)
            ],
            "atoms": [atom.model_dump(include=ATOM | LABELS, exclude_none=True) for atom in report.gallery],
            "sheet": vars(made) if (made := sheet(results.thumbnails)) else None,
            "near": vars(made) if results.nearest is not None and (made := sheet(results.nearest)) else None,
        }
    )
    return data


def _curves(data: DatasetErrors) -> dict[str, Any]:
    """For each method its atoms, and for each metric means and intervals; lines for rows without atoms."""
    curves: dict[str, Any] = {}
    for method in methods():
        if found := {level.atoms: level.methods[method] for level in data.levels if method in level.methods}:
            errors = found.values()
            points = {metric: [_point(one.of(metric)) for one in errors] for metric in metrics()}
            curves[method] = {"atoms": list(found), **points}
            if bases := [one.bases for one in errors if one.bases]:
                ends = {metric: [[one[metric].min, one[metric].max] for one in bases] for metric in bases[0]}
                curves[method]["bases"] = ends
    flat: dict[str, Errors] = {"autoencoder alone": data.autoencoder_floor}
    flat |= {label(name): row for name, row in data.sanity.items()}
    lines = {metric: {name: row.of(metric).mean for name, row in flat.items()} for metric in metrics()}
    return {"curves": curves, "lines": lines, "five_percent": data.five_percent}


def _point(mean: Mean) -> list[float | None]:
    low, high = mean.ci95 or (mean.mean, mean.mean)
    return [mean.mean, low, high]


def _strips(data: Reconstructions) -> Strips:
    """Strips by name: one for every level of a method; and one for original and autoencoder, which stay."""
    stacks = {name: shown[None] if shown.ndim == 4 else shown for name, shown in data.examples.items()}
    return {name: [strip(images, len(stack) > 1) for images in stack] for name, stack in stacks.items()}
