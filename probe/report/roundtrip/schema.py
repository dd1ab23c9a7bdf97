"""report.json of a round trip, key by key; ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| x_0, x_t | an image, and the picture after t cycles of encoding and decoding; values in [0, 1] |
| z_0, z_t | their latents |
| between | what happens to a picture between two cycles, as in the configuration: `none`, `clamp`, `jpeg:75`, ... |
| identity | the control: the same without a model, so that what is lost is lost by `between` alone |

Intervals are 95 % percentile bootstrap intervals over images, for one model; differences are paired by image.
"""

from typing import Any

from pydantic import Field

from probe.report.model import ReportModel
from probe.report.run.schema import Mean, Rfid


class Curve(ReportModel):
    """The mean over images of a measure, at each of ``cycles_drawn``."""

    mean: list[float | None]
    low: list[float | None] = Field(description="lower end of its interval; null for a single image")
    high: list[float | None] = Field(description="upper end")
    n: list[int] | None = Field(None, description="images that the mean is of; absent in older reports")
    lossless: list[int] | None = Field(
        None,
        description="of PSNR: images at 100 dB or more, left out of the mean if there are others; null if none",
    )


class Until(ReportModel):
    """The first cycle at which something is so, over images; an image for which it never is counts as latest."""

    median: int | None = Field(description="the lower median; null if later than the last cycle")
    low: int | None = Field(description="lower end of the median's interval, from order statistics; null likewise")
    high: int | None = Field(description="upper end; null if later than the last cycle, and for fewer than 6 images")
    never: int = Field(description="images for which it is not so within the cycles")


class Settled(ReportModel):
    """Where pictures settle, if they do."""

    outcomes: dict[str, int] = Field(
        description="images by outcome: converged (a fixed point), cycle, max_steps (still changing at the end), "
        "diverged (not finite, or beyond the bound)"
    )
    examined: int = Field(description="converged images whose fixed point was examined (solver.certificates)")
    certified: int = Field(description="of these, images whose fixed point is a certified attractor of the latent map")
    not_attractors: int = Field(description="of these, images whose fixed point does not attract")
    places: int | None = Field(
        description="distinct fixed points and cycles among them; null over several data sets, which are not compared"
    )
    cycle: Until = Field(
        description="the cycle from which a picture stays what it is; `never` counts the others. Above `cycles` "
        "where the latent map was iterated further"
    )
    at_attractors: int | None = Field(
        None, description="images that end at an attractor of the run; null if no run is named, or it has another model"
    )
    attractors: int | None = Field(None, description="distinct attractors of the run that they end at")


class Spectrum(ReportModel):
    """Power against the original by frequency, mean over images."""

    cycle: int
    gain: list[float | None] = Field(description="dB by band, edges in ``bands``; below 0 lost, above 0 gained")


class Extreme(ReportModel):
    """An image with the lowest or the highest PSNR after the last cycle."""

    image: int = Field(description="position in the data set")
    id: str
    dataset: str
    first: float | None = Field(description="PSNR after the first cycle, in dB; null if it has diverged")
    last: float | None = Field(description="PSNR after the last cycle, in dB; null if it has diverged")


class RfidAfter(Rfid):
    """rFID after so many cycles: as ``Rfid``, of the pictures that have not diverged by then, from their images."""

    cycle: int


class Series(ReportModel):
    """A model (or the control), and what happens between cycles."""

    model: str = Field(description="its name in the configuration; `identity` is the control")
    between: str
    n: int = Field(description="images")
    not_finite: int = Field(
        description="images that have diverged by the last cycle; means leave them out from there on"
    )
    lossless: bool = Field(description="whether every picture equals its image after every cycle, as in some controls")
    curves: dict[str, Curve] = Field(
        description="by measure (``measures``); those without numbers are left out. PSNR counts as at most 100 dB"
    )
    until: dict[str, Until] = Field(description="by mark (``marks``)")
    settled: Settled
    spectra: list[Spectrum] = Field(description="at each of ``cycles_shown``")
    worst: Extreme
    best: Extreme
    rfid: list[RfidAfter] | None = Field(
        None, description="at each of ``cycles_shown``; absent where it was not measured, and for several data sets"
    )


class Difference(ReportModel):
    """Two series on the same images: the first minus the second."""

    model: str
    between: str
    against_model: str
    against_between: str
    measures: dict[str, list[Mean]] = Field(description="at each of ``cycles_shown``; by measure")
    lossless: list[int] | None = Field(
        None, description="images that the PSNR difference leaves out, likewise, as a mean does; null if none"
    )


class SetReport(ReportModel):
    """A data set, or all of them together, every image counting the same."""

    n: int
    source: str | None = Field(description="null for all data sets together, and if unknown")
    series: list[Series]
    differences: list[Difference] = Field(
        description="each model against the first one, and each setting of ``between`` against the first one"
    )

    def of(self, model: str, between: str) -> Series:
        """One of the series."""
        return next(one for one in self.series if (one.model, one.between) == (model, between))


class RoundtripReport(ReportModel):
    schema_version: int = 1
    models: dict[str, dict[str, Any]] = Field(description="by name: source, class, weights, latent shape; no control")
    betweens: dict[str, str] = Field(description="what happens between cycles: as configured, and in words")
    cycles: int = Field(description="how often each image is encoded and decoded")
    cycles_shown: list[int] = Field(description="cycles of the tables, spectra and differences")
    cycles_drawn: list[int] = Field(description="cycles of the curves")
    measures: dict[str, str] = Field(description="what each measure is; latent ones are divided by ||z_0||")
    marks: dict[str, str] = Field(description="what ``until`` waits for")
    bands: list[float] = Field(description="edges of the frequency bands, in cycles per pixel")
    overall: SetReport = Field(description="all data sets together; the data set where there is one")
    datasets: dict[str, SetReport]
    headlines: dict[str, str] = Field(description="what is left and what settles, in one sentence or two, by model")
    protocol: dict[str, str] = Field(description="how the numbers were made, in words")
    rules: list[str] = Field(description="how to read them")
    warnings: list[str]
    provenance: dict[str, Any]
