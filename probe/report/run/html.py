"""report.html: one file, nothing to load; readable without its script, too."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from probe.dynamics.outcomes import Outcome
from probe.methods import OUTCOME_COLOURS, label, methods
from probe.names import printable
from probe.report.page import text as words
from probe.report.page.pictures import uri
from probe.report.run import semantics
from probe.report.run.page_data import page_data
from probe.report.run.schema import Report
from probe.report.run.tables import (
    BEST,
    CERTIFICATE_HEAD,
    CERTIFICATE_NOTE,
    certificate_rows,
    detail_head,
    detail_note,
    detail_rows,
    five_percent_rows,
    methods_shown,
    report_subject,
)
from probe.results.run import Results


def html(report: Report, results: Results, files: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: what it says.
        results: the pictures that it shows: gallery and examples.
        files: figures by file name, SVG and PNG, which stand where there is no script, and in print.
    """
    subject = report_subject(report)
    data = page_data(report, results)
    scripts = {"plotly": Markup(get_plotlyjs()), "script": script()}
    return (
        environment(*scripts.values())
        .get_template("run/report.html.j2")
        .render(
            report=report,
            data=data,
            **scripts,
            subject=subject,
            rows=five_percent_rows(report),
            shown=methods_shown(report),
            label=lambda method: label(method, subject),
            best=BEST,
            certificate_head=CERTIFICATE_HEAD,
            certificate_note=CERTIFICATE_NOTE,
            certificate_rows=certificate_rows(report),
            detail_head=detail_head,
            detail_rows=lambda one: detail_rows(one, subject),
            detail_note=detail_note,
            words=words,
            outcomes=list(Outcome),
            colours={name: one.colour for name, one in methods().items()},
            outcome_colours=OUTCOME_COLOURS,
            explanations={name: one.explanation for name, one in methods().items()},
            figure=lambda name: uri("image/svg+xml", files[f"{name}.svg"]),
            gallery=uri("image/png", files["gallery.png"]) if "gallery.png" in files else None,
            semantics=semantics.sentences(report.semantics) if report.semantics else [],
            semantics_head=semantics.HEAD,
            semantics_rows=semantics.rows(report.semantics) if report.semantics else [],
            provenance=_provenance(report),
            config=json.dumps(report.provenance["config"], indent=2, ensure_ascii=False),
        )
    )


def environment(*scripts: str) -> jinja2.Environment:
    """What all pages are made with; ``style`` and ``policy`` are known to their templates.

    Names, sources and commands are user text: everything is escaped that is not Markup.

    Args:
        scripts: the contents of the page's <script> elements, character by character; no others will run.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("probe.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    made.globals.update(style=_style(), policy=_policy(scripts))
    return made


def _policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: nothing is fetched, sent or run but what the page holds; pictures are data."""
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    runs = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )


def _style() -> Markup:
    """The style sheet of all reports."""
    return Markup(resources.files("probe.report").joinpath("page/style.css").read_text("utf-8"))


def script() -> Markup:
    """The script of report.html."""
    return Markup(resources.files("probe.report").joinpath("run/report.js").read_text("utf-8"))


def _provenance(report: Report) -> list[tuple[str, str]]:
    """Rows of name and value; what is nested becomes ``name: value`` pairs."""
    facts, model = report.provenance, report.model
    rows: dict[str, Any] = {
        "model": f"{model.class_} from {model.source}",
        "weights sha256": model.weights_sha256 or "none",
        "latent": f"{' x '.join(map(str, model.latent_shape))} (d = {model.d})",
        **{key.replace("_", " "): value for key, value in (model.model_extra or {}).items()},
        **{key.replace("_", " "): facts[key] for key in facts if key not in ("config", "data", "command")},
    }
    return [(key, flat(value)) for key, value in rows.items()]


def flat(value: Any) -> str:
    """A value of the manifest as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(flat, value))
    if value is None:
        return "unknown"
    return words.number(value) if isinstance(value, float) else str(value)
