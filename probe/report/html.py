"""report.html: one file, nothing to load, no script."""

import base64
import io
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from probe.dynamics.outcomes import Outcome
from probe.report import words
from probe.report.methods import COLOURS, EXPLANATIONS, OUTCOME_COLOURS, label
from probe.report.read import Results
from probe.report.schema import Report
from probe.report.tables import (
    BEST,
    CERTIFICATE_HEAD,
    CERTIFICATE_NOTE,
    best_control,
    certificate_rows,
    five_percent_rows,
    level_at_five,
    methods_shown,
    report_subject,
)


def html(report: Report, results: Results, files: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        report: what it says.
        results: the pictures that it shows: gallery and examples.
        files: figures by file name, SVG and PNG; the SVG are embedded.
    """
    # Names, sources and commands are user text: everything is escaped unless it says otherwise here.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources.files("probe.report").joinpath("report.html.j2").read_text("utf-8"))
    subject = report_subject(report)
    return template.render(
        report=report,
        style=style(),
        subject=subject,
        rows=five_percent_rows(report),
        shown=methods_shown(report),
        label=lambda method: label(method, subject),
        best=BEST,
        best_control=best_control,
        certificate_head=CERTIFICATE_HEAD,
        certificate_note=CERTIFICATE_NOTE,
        certificate_rows=certificate_rows(report),
        level_at_five=level_at_five,
        words=words,
        outcomes=list(Outcome),
        colours=COLOURS,
        outcome_colours=OUTCOME_COLOURS,
        explanations=EXPLANATIONS,
        figure=lambda name: uri("image/svg+xml", files[f"{name}.svg"]),
        gallery=[png(image[None]) for image in results.gallery],
        examples={
            name: {key: png(batch) for key, batch in data.examples_at(data.facts["five_percent"]).items()}
            for name, data in results.datasets.items()
        },
        provenance=_provenance(report),
        config=json.dumps(report.provenance["config"], indent=2, ensure_ascii=False),
    )


def png(images: NDArray[np.uint8]) -> Markup:
    """Images (n, 3, H, W) side by side, a gap between them, as a PNG in a data address."""
    n, _, height, width = images.shape
    gap = max(1, width // 16)
    strip = np.zeros((height, n * (width + gap) - gap, 4), np.uint8)  # the gaps stay transparent: right on any ground
    for i, image in enumerate(images):
        left = i * (width + gap)
        strip[:, left : left + width, :3] = image.transpose(1, 2, 0)
        strip[:, left : left + width, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "png")
    return uri("image/png", buffer.getvalue())


def style() -> Markup:
    """The style sheet of all reports."""
    return Markup(resources.files("probe.report").joinpath("style.css").read_text("utf-8"))


def uri(kind: str, data: bytes) -> Markup:
    """Data as an address of itself."""
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")  # base64 holds no markup


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
