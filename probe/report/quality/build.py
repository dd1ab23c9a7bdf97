"""The report of ``probe quality``: numbers with their protocols, as JSON and as a table."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.data.load import ImageSet
from probe.methods import metrics
from probe.metrics.images import LOSSLESS, for_means
from probe.metrics.interval import Interval, mean_interval
from probe.report.fid import JACKKNIFE, PIXELS, biased
from probe.report.model import dump
from probe.report.page.text import count, interval, number, of_images
from probe.report.quality.schema import Images, Number, Protocol, QualityReport, SetQuality
from probe.studies.quality import OnePass

if TYPE_CHECKING:
    from rich.table import Table

BOOTSTRAP = "percentile bootstrap over images"
CROP, RESIZE = "central square", "Pillow bicubic with antialiasing"
RFID = "Fréchet distance of Inception features of all y from those of all x (Heusel et al., 2017), 0 for equal sets"
CAPPED = f"; counts as at most {LOSSLESS:g} dB; images at that are left out of the mean if there are others"
DIGITS = 12
"""Of a checksum, in the table."""


def set_quality(
    images: ImageSet, found: OnePass, protocols: Mapping[str, Mapping[str, Any]], *, eight_bits: bool
) -> SetQuality:
    """The numbers of one set; ``protocols`` is ``Perceptual.protocols``."""
    n, table = len(images.images), metrics()
    pixels = PIXELS if eight_bits else "clamped, not rounded"
    numbers = {}
    for name, values in found.errors.items():
        protocol = Protocol(pixels=pixels, interval=BOOTSTRAP, **protocols.get(name, {}))
        one = table[name]
        explanation = one.explanation + (CAPPED if name == "psnr" else "")
        about = (one.label, one.unit, one.better, explanation)
        counted, lossless = for_means(values.numpy()) if name == "psnr" else (values.numpy(), 0)
        known = counted[~np.isnan(counted)]
        mean = mean_interval(known) if len(known) else Interval(math.nan, None, None)
        numbers[name] = _number(about, mean, len(known), protocol)
        numbers[name].lossless = int(lossless) or None
    if found.rfid is not None:
        protocol = Protocol(pixels=PIXELS, interval=JACKKNIFE, **protocols["rfid"])
        numbers["rfid"] = _number(("rFID", "", "low", RFID), found.rfid, n, protocol)
    return SetQuality(
        images=Images(
            source=images.source,
            sha256=images.sha256,
            n_planned=images.n_planned,
            n=n,
            resolution=images.images.shape[-1],
            crop=CROP,
            resize=RESIZE,
            unreadable=[str(one) for one in images.unreadable],
            repeated=images.repeated,
            notes=list(images.notes),
        ),
        metrics=numbers,
        not_finite=int((~found.finite).sum()),
    )


def _number(about: tuple[str, str, str, str], found: Interval, n: int, protocol: Protocol) -> Number:
    label, unit, better, explanation = about
    return Number(
        label=label,
        unit=unit,
        better=better,
        explanation=explanation,
        mean=found.mean,
        ci95=found.ci95,
        n=n,
        protocol=protocol,
    )


def quality_report(
    model: dict[str, Any], sets: dict[str, SetQuality], missing: tuple[str, ...], provenance: dict[str, Any]
) -> QualityReport:
    """The whole report, with its warnings."""
    report = QualityReport(
        model=model, sets=sets, missing=list(missing), warnings=_warnings(sets), provenance=provenance
    )
    return QualityReport.model_validate(dump(report))


def _warnings(sets: Mapping[str, SetQuality]) -> list[str]:
    said = []
    for name, one in sets.items():
        said += of_images(name, one.images.n, one.images.n_planned, one.images.unreadable, one.images.notes)
        if one.not_finite:
            said.append(f"{name}: {count(one.not_finite, 'reconstruction')} not finite: no rFID, and means of the rest")
        if left_out := _left_out(one.metrics.get("psnr")):
            said.append(f"{name}: {left_out}; mean PSNR is of the others.")
        if "rfid" in one.metrics:
            said += biased(name, one.images.n)
    return said


def _left_out(metric: Number | None) -> str:
    """``1 of 4 lossless``: what the mean leaves out; empty if that is nothing."""
    if metric is None or not metric.lossless or metric.mean is None or metric.mean >= LOSSLESS:
        return ""
    return f"{metric.lossless} of {metric.lossless + metric.n} lossless"


def shown(name: str, one: SetQuality) -> "Table":
    """The numbers of a set, each with its protocol."""
    from rich.table import Table

    images = one.images
    title = f"{name}: {count(images.n, 'image')} (sha256 {images.sha256[:DIGITS]}), {images.resolution} px, "
    said = dict.fromkeys(metric.protocol.interval for metric in one.metrics.values())
    table = Table(
        title=title + f"{images.crop}, {images.resize}",
        title_justify="left",
        caption=f"95 % intervals: {'; rFID: '.join(said)}",
        caption_justify="left",
    )
    table.add_column("metric")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("n", justify="right")
    table.add_column("protocol", overflow="fold")
    for metric in one.metrics.values():
        heading = f"{metric.label} ({metric.unit})" if metric.unit else metric.label
        beside = f" ({left_out})" if (left_out := _left_out(metric)) else ""
        table.add_row(
            heading, number(metric.mean) + beside, interval(metric), str(metric.n), _in_words(metric.protocol)
        )
    return table


def _in_words(protocol: Protocol) -> str:
    more = protocol.model_extra or {}
    parts = [protocol.pixels]
    if protocol.weights and protocol.sha256:
        network = " ".join(str(more[key]) for key in ("network", "layer") if key in more)
        parts.append(f"{network} in {more.get('dtype')}, {protocol.weights} (sha256 {protocol.sha256[:DIGITS]})")
        parts.append(f"resize: {protocol.resize}")
    return "; ".join(parts)
