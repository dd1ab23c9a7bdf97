"""report.json, key by key: the file is what ``Report`` dumps; ``null`` stands for a number that does not exist.

| symbol | meaning |
|---|---|
| d | latent dimension |
| n | images of a data set that were used |
| m | atoms of the dictionary |
| z, z' | latent E(x) of an image, and its reconstruction from the dictionary, raw model coordinates, (d,) |
| x, x' | the original image, and D(z') clamped to the valid range, both in [0, 1], (3, H, W) |
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from probe.kinds import check_is_run
from probe.methods import BORROWED, METHODS, METRICS, subject
from probe.names import shown
from probe.report.model import ReportModel, read_as

CHALLENGERS = ", ".join(one.name for one in METHODS if one.challenges)


class Mean(ReportModel):
    mean: float | None = Field(description="mean over the n images; null if a value is not finite")
    ci95: tuple[float, float] | None = Field(
        description="95 % percentile bootstrap interval of the mean over images; null for one image or if mean is null"
    )


NONE = Mean(mean=None, ci95=None)


class Contrast(Mean):
    """A difference or ratio of two means, paired by image."""

    simultaneous: tuple[float, float] | None = Field(
        None,
        description="wider interval, valid for all comparisons behind the verdicts at once, by ``verdict_rule``; at"
        " other levels than 5 % of d as for those; null where ci95 is, and for few images",
    )

    def plain(self) -> Mean:
        """Without the simultaneous interval."""
        return Mean(mean=self.mean, ci95=self.ci95)


class Errors(ReportModel):
    """Means of metrics, by name. A metric that is not listed (a plug-in's) is one more key of the same form."""

    __pydantic_extra__: dict[str, Annotated[Mean | Any, Field(union_mode="left_to_right")]]

    def of(self, metric: str) -> Mean:
        """The mean of a metric; nulls if there is none."""
        found = getattr(self, metric, None)
        return found if isinstance(found, Mean) else NONE


def _metric(name: str, default: Any = ...) -> Any:
    """A field that the table of metrics describes; with a default where reports of older versions lack it."""
    one = next(one for one in METRICS if one.name == name)
    return Field(default, description=f"per image: {one.explanation}{f', {one.unit}' if one.unit else ''}")


class LatentErrors(Errors):
    latent_mse: Mean = _metric("latent_mse")


class PixelErrors(Errors):
    pixel_mse: Mean = _metric("pixel_mse")
    psnr: Mean = _metric("psnr")
    ssim: Mean = _metric("ssim")
    clip: Mean = _metric("clip")
    lpips: Mean = _metric("lpips", NONE)


class Difference(ReportModel):
    """This method minus another, paired by image (negative: this method has the smaller error), and the ratio of their
    means over images (below 1 likewise; null if the other mean is 0, at rounding level or not finite)."""

    to: str = Field(description="the other method; random_orthogonal is the mean over its bases, image by image")
    latent_mse: Contrast = Field(description="difference")
    pixel_mse: Contrast = Field(description="difference")
    latent_ratio: Contrast = Field(description="mean latent MSE / the other's")
    pixel_ratio: Contrast = Field(description="mean pixel MSE / the other's")


class Bases(ReportModel):
    """The spread of the mean errors of several random bases; one basis has no sd."""

    n: int
    min: float | None
    max: float | None
    sd: float | None = Field(description="standard deviation over bases, n - 1 in the denominator")


class MethodErrors(PixelErrors, LatentErrors):
    atoms_used: int = Field(description="largest number used by an image; below the level for a short dictionary")
    floor_ratio: Mean = Field(description="mean pixel MSE / that of the autoencoder alone, D(E(x)); null if that is 0")
    difference: Difference | None = Field(description="to random_orthogonal; null for itself and if it has no rows")
    difference_strongest: Difference | None = Field(description="attractors only: to the level's ``strongest`` control")
    bases: dict[str, Bases] | None = Field(description="random_orthogonal only, by metric: errors are means over bases")


class LevelReport(ReportModel):
    atoms: int = Field(description="atoms allowed in each image's sparse code")
    fraction: float = Field(description="atoms / d")
    strongest: str | None = Field(description=f"of {CHALLENGERS}: smallest mean latent MSE here; null without any")
    methods: dict[str, MethodErrors] = Field(description="a method without rows at this level is absent")


class Floor(PixelErrors):
    """The autoencoder alone, x' = D(E(x)). Its latent error is 0 by definition."""


class Sanity(PixelErrors, LatentErrors):
    """A reconstruction without dictionary or code: one that is no better has reconstructed nothing."""

    explanation: str = Field(description="what z' and x' are")
    attractors_ratio: Mean = Field(description="mean pixel MSE of the dictionary at 5 % of d / this")
    autoencoder_ratio: Mean = Field(description="mean pixel MSE of the autoencoder alone / this")


Judged = Literal["latent_mse", "pixel_mse"]
Result = Literal["beats", "loses", "no difference seen", "too few images", "no interval"]


class ControlComparison(ReportModel):
    """The dictionary's end points (method ``attractors``) against one control at 5 % of d."""

    to: str = Field(description="the control; an oracle is compared, but does not compete")
    metric: Judged
    attractors: float | None = Field(description="mean error of the method attractors")
    other: float | None = Field(description="mean error of the control")
    difference: Contrast = Field(description="attractors minus control, paired by image")
    ratio: Contrast = Field(description="attractors / control, of the means")
    result: Result = Field(description="by ``verdict_rule``")
    bases: int | None = Field(None, description="random bases that must be beaten one by one; null for other controls")
    bases_beaten: int | None = Field(None, description="of these, those that are")


class Decomposition(ReportModel):
    """Where the end points' advantage over the random orthogonal basis comes from, by mean latent MSE at 5 % of d.

    Four dictionaries, each with one more thing that the end points have: the random basis; the same with the mean
    direction of the end points as its first atom (``random_mean``); Gaussian vectors with the mean and covariance of
    the end points (``matched_gaussian``); the end points. Each part is the step from one to the next, as a share of
    the random basis's error: positive where the error falls. Paired by image. ``total`` is the sum of the other three.
    """

    total: Mean = Field(description="1 - attractors / random_orthogonal")
    mean: Mean = Field(description="(random_orthogonal - random_mean) / random_orthogonal")
    covariance: Mean = Field(description="(random_mean - matched_gaussian) / random_orthogonal")
    atoms: Mean = Field(description="(matched_gaussian - attractors) / random_orthogonal")
    sentence: str = Field(description="the same in words, without a full stop")


class OverDraws(ReportModel):
    """A number by latent MSE at 5 % of d, with 95 % intervals for two reasons why it could have been another."""

    mean: float | None
    over_images: tuple[float, float] | None = Field(description="percentile bootstrap interval, other images")
    over_starts: tuple[float, float] | None = Field(description="jackknife interval, another draw of the starts")
    over_both: tuple[float, float] | None = Field(description="both: half-widths added as squares, side by side")
    sd: float | None = Field(description="standard deviation over draws of as many starts, from the jackknife")


class SizeErrors(ReportModel):
    """The dictionary of the first starts only, with the same number of atoms in the code: 5 % of d."""

    starts: int
    atoms: int = Field(description="atoms that these starts gave; of gaussian, which has no starts, drawn vectors")
    latent_mse: Mean
    ratio: Mean = Field(description="to random_orthogonal, which has d atoms, paired by image")


class Starts(ReportModel):
    """What depends on the starts: how far another draw could move the numbers, and what more starts give."""

    n: int = Field(description="starts of the run")
    blocks: int = Field(description="blocks of starts left out one by one; fewer than 2 give no intervals over starts")
    attractors: OverDraws = Field(description="mean latent MSE")
    one_step: OverDraws | None = Field(description="likewise; null without that control")
    difference: OverDraws = Field(description="attractors minus random_orthogonal")
    ratio: OverDraws = Field(description="attractors / random_orthogonal")
    difference_one_step: OverDraws | None = Field(description="attractors minus one_step, the same blocks left out")
    ratio_one_step: OverDraws | None = Field(description="attractors / one_step, likewise")
    sizes: dict[str, list[SizeErrors]] = Field(
        description="by method, by rising number of starts; the last has all; empty for a dictionary of d atoms"
    )
    sentence: str


class Rfid(Mean):
    """rFID of the autoencoder alone: the Fréchet distance of Inception features of all D(E(x)), clamped and in 8 bits,
    from those of all x. It is too large by a bias that falls with n; the interval, a jackknife over groups of images,
    says nothing of it."""

    n: int = Field(description="images")


class Perception(ReportModel):
    """LPIPS and rFID: what they depend on, and what is missing."""

    rfid: Rfid | None = Field(description="null without Inception's weights, or for one image")
    protocols: dict[str, dict[str, Any]] = Field(description="by metric: network, weights and their checksum, resize")
    missing: list[str] = Field(description="metrics whose weights were not at hand, and what to do about it")


class DatasetErrors(ReportModel):
    source: dict[str, Any] = Field(description="where the images came from, from the manifest")
    sha256: str | None = Field(description="of the images used; null if it was not recorded")
    n_planned: int = Field(description="images asked for")
    n_used: int = Field(description="images behind every mean")
    n_heldout: int = Field(description="further images, for the PCA oracle only")
    unreadable: list[str] = Field(description="ids of images that could not be read")
    notes: list[str] = Field([], description="other oddities of the images: repeats, dark images, skipped folders")
    five_percent: int = Field(description="the level, in atoms, that stands for 5 % of d")
    method_atoms: dict[str, int] = Field(description="size of each method's dictionary")
    absent: dict[str, str] = Field(description="methods without rows, with the reason")
    autoencoder_floor: Floor
    sanity: dict[str, Sanity] = Field(description="zero_code and mean_image")
    verdict: str = Field(description="one sentence, by ``verdict_rule`` from ``comparisons``: by latent MSE")
    verdicts: dict[str, str] = Field(
        {}, description="that sentence and the one by pixel MSE, by metric; other metrics have no verdict"
    )
    comparisons: list[ControlComparison] = Field(description="by latent MSE with every control, then by pixel MSE")
    decomposition: Decomposition | None = Field(
        None, description="null where one of its four dictionaries has no finite error, and in runs of older versions"
    )
    levels: list[LevelReport] = Field(description="by rising number of atoms")
    starts: Starts | None = Field(None, description="null in runs of older versions")
    perception: Perception | None = Field(None, description="null where the configuration has no ``perceptual``")

    @property
    def at_five_percent(self) -> LevelReport | None:
        """The level of 5 % of d."""
        return next((level for level in self.levels if level.atoms == self.five_percent), None)


class ModelFacts(ReportModel):
    source: str
    class_: str = Field(alias="class", description="class name of the autoencoder")
    revision: str | None = Field(None, description="commit on the hub; null for other sources")
    weights_sha256: str | None = Field(description="of names, types, shapes and bytes in memory; null without weights")
    latent_shape: tuple[int, ...] = Field(description="(c, h, w) at the run's resolution")
    d: int = Field(description="c * h * w")
    warnings: list[str] = Field([], description="about tensors in weight files that the model does not use")


class Quantiles(ReportModel):
    """Five order statistics of the finite values; all null if there are none."""

    n: int
    non_finite: int
    min: float | None
    q25: float | None
    median: float | None
    q75: float | None
    max: float | None


class QuantilesByOutcome(Quantiles):
    by_outcome: dict[str, Quantiles] = Field(description="outcomes that occurred")


class Certificates(ReportModel):
    checked: int = Field(description="atoms with a spectral radius")
    certified: int = Field(
        description="plain steps shrink the residual as the radius says, and spectral radius + error or norm + error is"
        " below 1; in runs of older versions, residual below tolerance and radius + error below 1"
    )
    not_attractors: int
    undecided: int = Field(description="atoms not examined, without a derivative, or too close to call")
    unexamined: int = Field(0, description="of these, atoms beyond ``solver.certificates``")
    starts: int = Field(description="starts that converged in a certified attractor's basin")
    spectral_radius: Quantiles
    radius_error: Quantiles = Field(description="estimated absolute errors of the radii")
    spectral_norm: Quantiles = Field(description="largest singular value of J_f: below 1, f contracts every small step")
    products: Quantiles = Field(description="Jacobian products spent on an atom")
    distance: Quantiles | None = Field(
        None,
        description="from a certified end point to its fixed point: a bound where norm + error is below 1, else an"
        " estimate; null in runs of older versions",
    )
    plain_checked: int = Field(
        description="converged starts, drawn from those with an extrapolation or steps in lower precision, that were"
        " iterated again without acceleration, in full precision"
    )
    plain_same: int = Field(description="of these, those that converged to the same end point (by the merging rule)")
    plain_elsewhere: int = Field(description="of these, converged to another; the rest reached the step limit")


class Wandering(ReportModel):
    """Starts that reached the step limit. Exponents are largest finite-time Lyapunov exponents, per step."""

    n: int = Field(description="starts at the step limit")
    examined: int = Field(description="of these, those with an exponent")
    without_derivative: int = Field(description="not examined: f has no derivative that finite differences confirm")
    exponent: float | None = Field(description="mean over starts; null without any")
    error: float | None = Field(description="standard error of that mean; null with fewer than two")
    sensitive: int = Field(
        description="chaotic: exponent above 0 by two standard errors and by 0.001; neighbours separate"
    )
    neutral: int = Field(description="exponent about 0: a long cycle, a quasi-periodic orbit, or a very slow one")
    slow: int = Field(description="exponent below 0 likewise: the start would settle, given more steps")
    spectral_radius: Quantiles = Field(description="of J_f at the end points examined, which are not fixed points")


class SolverReport(ReportModel):
    n: int = Field(description="starts")
    outcomes: dict[str, int] = Field(description="starts by outcome, all four names present")
    tolerance: float = Field(description="on residual")
    max_steps: int
    steps: QuantilesByOutcome = Field(description="to the returned point: f applied, and confirmed extrapolations")
    evaluations: Quantiles = Field(description="of f for a start, failed extrapolations and the last residual included")
    residual: QuantilesByOutcome = Field(description="||f(z) - z||^2 of the returned point")
    periods: dict[str, int] = Field(description="cycles by period; empty if there are none")
    certificates: Certificates
    wandering: Wandering


class Diversity(ReportModel):
    """Vendi scores by cosine in latent space: effective number of distinct directions, from 1 to ``n``."""

    n: int = Field(description="atoms of the largest basins")
    atoms: float
    gaussian: float = Field(description="of as many Gaussian directions")


class DictionaryReport(ReportModel):
    label: str = Field(description="what the atoms are, with the number of certified attractors")
    atoms: int = Field(description="m")
    rule: str = Field(description="when two end points are one atom")
    components: int = Field(description="connected components: atoms if chains of near end points were merged whole")
    index: Literal["exact", "approximate"] = Field(description="search for near end points under the rule")
    recall: float = Field(description="share of near pairs that were found, from a sample; 1 where index is exact")
    recall_sampled: int = Field(
        0, description="end points with near ones that recall is from; 0 where index is exact, and in older versions"
    )
    united: int = Field(
        0, description="atoms merged with another one because their certificates may be about one fixed point"
    )
    at_origin: int = Field(
        0, description="starts that ended at a point which cannot be told from the origin, so has no direction"
    )
    atoms_euclidean: int = Field(description="atoms under the Euclidean rule")
    index_euclidean: Literal["exact", "approximate"] = Field(description="as index, under the Euclidean rule")
    recall_euclidean: float = Field(description="as recall, under the Euclidean rule")
    recall_euclidean_sampled: int = Field(0, description="as recall_sampled, under the Euclidean rule")
    vendi: Diversity | None = Field(None, description="null without atoms, and in runs of older versions")
    starts_used: int
    largest_basin: float | None = Field(description="share of starts_used in the largest basin; null without atoms")
    outcomes: dict[str, int] = Field(description="atoms by outcome of their leader")


class Borrowed(ReportModel):
    """The dictionary of another run, in which the images were coded instead of in this run's own."""

    source: str = Field(description="``dictionary.source``: a folder or a hub id")
    revision: str | None = Field(description="commit on the hub; null for a folder")
    sha256: str = Field(description="of its tensors, as in its config.json")
    atoms: int
    certified: int | None = Field(description="atoms that are certified attractors of its own model")
    model: str | None = Field(description="name of its own model")
    weights_sha256: str | None = Field(description="of its own model; null if it has no weights")
    coordinates: list[str] = Field([], description="coordinates of its latents, where this run's are others")
    resolution: int | None = Field(None, description="pixels of its own run's images, where this run's are others")

    @property
    def place(self) -> str:
        """``owner/name@0123456789ab``, or ``the folder 'name'``."""
        return f"{self.source}@{self.revision[:12]}" if self.revision else f"the folder {shown(self.source)!r}"


class GalleryAtom(ReportModel):
    """An atom whose end point is decoded in the gallery, largest basins first."""

    atom: int
    leader: int = Field(description="index of the start that gave the atom")
    basin: int = Field(description="starts merged into the atom")
    outcome: str
    steps: int
    residual: float | None
    spectral_radius: float | None = Field(description="of J_f at the end point; null if not computed")
    radius_error: float | None = Field(description="its estimated absolute error")
    spectral_norm: float | None = Field(description="of J_f at the end point; null if not computed")
    distance: float | None = Field(None, description="to the fixed point, bound or estimate; null if not certified")
    predicted_steps: float | None = Field(description="steps from the start to the tolerance by Proposition A.9")
    plain_steps: int | None = Field(description="steps that the start takes without acceleration; null if not known")
    certificate: Literal["attractor", "not an attractor", "undecided", "not examined"]
    label: str | None = Field(None, description="zero-shot label of the decoded point; null without CLIP")
    label_similarity: float | None = Field(None, description="of label and point: cosine of their CLIP embeddings")
    label_above_noise: bool | None = Field(None, description="whether it exceeds that of 95 % of decoded noise")
    nearest: str | None = Field(None, description="test image with the nearest CLIP embedding, ``data set/id``")
    nearest_similarity: float | None = Field(None, description="cosine of their CLIP embeddings")


class BasinShare(ReportModel):
    """An attractor, by the starts that converged to it."""

    atom: int
    starts: int
    share: Mean = Field(description="of the starts that converged; Wilson's interval")


class Nearby(ReportModel):
    """Starts (probes) with partners at one distance."""

    separation: float = Field(description="distance, relative to sqrt(d), the typical norm of a start")
    known: int = Field(description="probes of which a partner converged")
    different: Mean = Field(
        description="f(eps): share of pairs in different basins; Wilson's interval, partners of one probe count as one"
    )
    entropy: float | None = Field(description="basin entropy S_b: mean over probes of -sum p log p, p of its group")
    boundary_entropy: float | None = Field(description="S_bb: the same over groups with several basins; null without")
    boundary: int = Field(description="probes whose group has several basins")


class Kicked(ReportModel):
    """An attractor that was kicked in random directions. Distances are relative to sqrt(d)."""

    atom: int
    starts: int = Field(description="in its basin")
    certificate: Literal["attractor", "not an attractor", "undecided", "not examined"]
    nearest: float = Field(description="distance to the nearest other attractor")
    towards: float | None = Field(description="share of the straight way there after which it does not come back")
    smallest: float | None = Field(description="smallest kick that did not come back; null if all did")
    median: float | None = Field(description="median over directions of the same; null if half of them always did")
    left: int = Field(description="directions in which a kick did not come back")
    returned: list[Mean] = Field(description="share of directions that came back, by size of ``kicks``")


class BasinsReport(ReportModel):
    """Basins of attraction; see ``probe.dynamics.basins``. Only ``missing`` where there are fewer than two."""

    missing: str | None = Field(None, description="why there is nothing")
    attractors: int | None = Field(None, description="end points where a start converged, and no certificate says no")
    shared: int | None = Field(None, description="of these, those of several starts")
    starts: int | None = Field(None, description="starts that converged to these")
    effective: float | None = Field(None, description="exp(-sum p log p) of their shares: number of equal basins")
    unseen: Mean | None = Field(
        None, description="share of starts alone in their basin: about the chance that another finds a new attractor"
    )
    largest: list[BasinShare] = Field([], description="at most 10")
    partners: int | None = Field(None, description="partners of a probe at each separation")
    nearby: list[Nearby] = Field([], description="by separation")
    apart: float | None = Field(None, description="share of pairs of different starts in different basins: f at most")
    alpha: float | None = Field(
        None,
        description="uncertainty exponent: f(eps) ~ eps^alpha, fitted where f is at most half of ``apart``; null unless"
        " two separations have 0 < f < 1 there",
    )
    alpha_error: float | None = Field(None, description="standard error, by a jackknife over probes")
    prefactor: float | None = Field(None, description="c of the fitted line c eps^alpha")
    dimension: float | None = Field(None, description="d - alpha: dimension of the boundaries")
    directions: int | None = Field(None, description="random directions of kicks")
    kicks: list[float] = Field([], description="sizes of kicks, relative to sqrt(d)")
    kicked: list[Kicked] = Field([], description="the largest basins")


class OfThree(ReportModel):
    """A number for the decoded end points, and for what they are compared with."""

    end_points: float | None
    noise: float | None = Field(description="of decoded Gaussian noise")
    images: float | None = Field(None, description="of the test images; null where it does not exist")


class Vendi(OfThree):
    n: int = Field(description="members of each set; the score lies between 1 and n")


class CommonLabel(ReportModel):
    label: str
    share: float = Field(description="of the set that has it")


class Semantics(ReportModel):
    """The decoded end points as CLIP sees them; medians over a set. Only ``missing`` if CLIP was unavailable."""

    missing: str | None = Field(None, description="why there is nothing, in one sentence")
    model: str | None = None
    pretrained: str | None = None
    weights_sha256: str | None = None
    words: int | None = Field(None, description="number of words that labels are chosen from")
    template: str | None = Field(None, description="sentence that a word is inserted into")
    label_similarity: OfThree | None = Field(None, description="cosine of a picture and its label")
    above_noise: float | None = Field(None, description="share of end points with ``label_above_noise``")
    common_label: dict[str, CommonLabel] | None = Field(None, description="most frequent, of end_points and noise")
    nearest_similarity: OfThree | None = Field(None, description="cosine of a picture and its nearest test image")
    vendi: Vendi | None = Field(None, description="Vendi score: effective number of distinct pictures")
    words_sha256: str | None = Field(None, description="of the words, one per line")
    unrelated: dict[str, Mean] | None = Field(
        None, description="by data set: cosine of two different images; mean over pairs, jackknife interval over images"
    )


class Report(ReportModel):
    schema_version: Literal[3] = 3
    summary: list[str] = Field(description="the run in plain sentences")
    warnings: list[str] = Field(description="what to know before trusting the numbers; may be empty")
    model: ModelFacts
    solver: SolverReport
    dictionary: DictionaryReport
    borrowed: Borrowed | None = Field(
        None,
        description="the dictionary behind all errors of the method ``attractors``; null where it is the run's own,"
        " which ``dictionary`` describes in any case",
    )
    gallery: list[GalleryAtom]
    basins: BasinsReport | None = Field(None, description="null in reports of older versions")
    semantics: Semantics | None = Field(description="null if the configuration does not ask for CLIP")
    headline: dict[str, str] = Field(
        {}, description="by metric: on how many data sets the dictionary beats the random bases and the hardest control"
    )
    verdict_rule: str
    uncoded: str | None = Field(
        None, description="why no data set was reconstructed although the configuration names some; null if they were"
    )
    datasets: dict[str, DatasetErrors]
    provenance: dict[str, Any] = Field(description="command, times, versions, device, dtype, config, statistics")

    @property
    def subject(self) -> str:
        """What to call the dictionary's atoms; see ``probe.methods.subject``."""
        return BORROWED if self.borrowed else subject(self.solver.certificates.certified, self.dictionary.atoms)

    @property
    def atoms(self) -> int:
        """Atoms of the dictionary that images are coded in."""
        return self.borrowed.atoms if self.borrowed else self.dictionary.atoms


def read_report(run: Path) -> Report:
    """The report that `probe report` wrote into a run directory. Errors as ``read_as``."""
    check_is_run(run)
    return read_as(run, Report, f"probe report {run}")
