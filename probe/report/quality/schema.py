"""quality.json, key by key: D(E(x)) against x, each number with its protocol; ``null`` where a number does not exist.

x is an image, and y = D(E(x)) clamped to the valid range, both in [0, 1]; n is the number of images of a set.
"""

from typing import Any

from pydantic import Field

from probe.report.model import ReportModel


class Protocol(ReportModel):
    """What a number depends on, besides the model and the images. Further keys describe the network of a metric."""

    pixels: str = Field(description="whether y was clamped and rounded to 8 bits before the metric")
    interval: str = Field(description="how ``ci95`` was made")
    weights: str | None = Field(None, description="file with the weights of the metric's network")
    sha256: str | None = Field(None, description="of these weights: over names, types, shapes and bytes of the tensors")
    resize: str | None = Field(None, description="how that network's input is resized")


class Number(ReportModel):
    """One metric of one set."""

    label: str
    unit: str
    better: str = Field(description="low or high")
    explanation: str
    mean: float | None = Field(description="over images; rFID is one number for the set")
    ci95: tuple[float, float] | None = Field(description="95 % interval over images")
    n: int = Field(description="images that have such a number, which the mean is of")
    lossless: int | None = Field(
        None,
        description="of PSNR: images at 100 dB or more, left out of the mean if there are others; null if none",
    )
    protocol: Protocol


class Images(ReportModel):
    """What was drawn from a source. Crop and resize are those of all images of this tool."""

    source: dict[str, Any] = Field(description="source, split, revision, seed of the draw")
    sha256: str = Field(description="of pixels and ids")
    n_planned: int
    n: int
    resolution: int = Field(description="side in pixels, after crop and resize")
    crop: str
    resize: str = Field(description="of images that are not of this size already")
    unreadable: list[str] = Field(description="ids of images that could not be read")
    repeated: int = Field(description="images left out because their pixels equal those of another")
    notes: list[str]


class SetQuality(ReportModel):
    images: Images
    metrics: dict[str, Number] = Field(description="psnr, ssim, lpips, rfid, ...: those that could be computed")
    not_finite: int = Field(description="images whose D(E(x)) is not finite; means are of the others")


class QualityReport(ReportModel):
    schema_version: int = 1
    model: dict[str, Any] = Field(description="source, class, checksum of the weights, dtype, device, settings")
    sets: dict[str, SetQuality]
    missing: list[str] = Field(description="metrics that could not be computed, and what to do about it")
    warnings: list[str]
    provenance: dict[str, Any]
