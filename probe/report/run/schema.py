"""report.json, key by key. What the file holds is what ``Report`` dumps; ``null`` stands where a number does not exist.

| symbol | meaning |
|---|---|
| d | latent dimension |
| n | images of a data set that were used |
| m | atoms of the dictionary |
| z, z' | latent E(x) of an image, and its reconstruction from the dictionary, raw model coordinates, (d,) |
| x, x' | the original image, and D(z') clamped to the valid range, both in [0, 1], (3, H, W) |
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BASELINE = "random_orthogonal"


class Open(BaseModel):
    """Names listed here are relied upon; further keys may come."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


class Mean(Open):
    mean: float | None = Field(description="mean over the n images; null if a value is not finite")
    ci95: tuple[float, float] | None = Field(
        description="95 % percentile bootstrap interval of the mean over images; null for one image or where mean is"
    )


class Contrast(Mean):
    """A difference or a ratio of two means, paired by image."""

    simultaneous: tuple[float, float] | None = Field(
        None,
        description="wider interval that holds for all comparisons of the verdicts at once, by ``verdict_rule``; at"
        " levels other than 5 % of d, for those at that level; null where ci95 is, and for few images",
    )

    def plain(self) -> Mean:
        """Without the simultaneous interval."""
        return Mean(mean=self.mean, ci95=self.ci95)


class Difference(Open):
    """This method against another, paired by image: minus it (negative: this method has the smaller error), and the
    ratio of both means over images (below 1 likewise; null where the other's is 0, at rounding level or not finite)."""

    to: str = Field(description="the other method; random_orthogonal is the mean over its bases, image by image")
    latent_mse: Contrast = Field(description="difference")
    pixel_mse: Contrast = Field(description="difference")
    latent_ratio: Contrast = Field(description="mean latent MSE / the other's")
    pixel_ratio: Contrast = Field(description="mean pixel MSE / the other's")


class Bases(Open):
    """How far the mean errors of several random bases are apart; one basis has no sd."""

    n: int
    min: float | None
    max: float | None
    sd: float | None = Field(description="standard deviation over bases, n - 1 in the denominator")


class MethodErrors(Open):
    atoms_used: int = Field(description="largest number used by an image; below the level for a short dictionary")
    latent_mse: Mean = Field(description="per image: mean over the d coordinates of (z - z')^2")
    pixel_mse: Mean = Field(description="per image: mean over pixels and channels of (x - x')^2")
    psnr: Mean = Field(description="per image: -10 log10 of its pixel MSE, dB")
    ssim: Mean = Field(description="per image: structural similarity; null where pictures are smaller than 11 pixels")
    clip: Mean = Field(description="per image: cosine of the CLIP embeddings of x and x'; null without CLIP")
    floor_ratio: Mean = Field(
        description="mean pixel MSE / that of the autoencoder alone, D(E(x)); null where that is 0"
    )
    difference: Difference | None = Field(
        description="to random_orthogonal; null for random_orthogonal itself and where it has no rows"
    )
    difference_strongest: Difference | None = Field(
        description="to the level's ``strongest`` control; of the method attractors only"
    )
    bases: dict[str, Bases] | None = Field(
        description="of random_orthogonal, by metric: its errors are, per image, means over so many bases"
    )


class LevelReport(Open):
    atoms: int = Field(description="atoms allowed in each image's sparse code")
    fraction: float = Field(description="atoms / d")
    strongest: str | None = Field(
        description="of gaussian, one_step, dct the one with the smallest mean latent MSE here; null without any"
    )
    methods: dict[str, MethodErrors] = Field(description="a method without rows at this level is absent")


class Floor(Open):
    """What the autoencoder alone does: D(E(x)). Its latent error is 0 by definition."""

    pixel_mse: Mean = Field(description="per image: mean over pixels and channels of (x - D(E(x)))^2")
    psnr: Mean = Field(description="per image: -10 log10 of that, dB")
    ssim: Mean = Field(description="per image: structural similarity of x and D(E(x))")
    clip: Mean = Field(description="per image: cosine of the CLIP embeddings of x and D(E(x)); null without CLIP")


class Sanity(Open):
    """What needs neither dictionary nor code: a reconstruction that is no better has reconstructed nothing."""

    explanation: str = Field(description="what stands for z' and x'")
    attractors_ratio: Mean = Field(description="mean pixel MSE of the dictionary at 5 % of d / this")
    autoencoder_ratio: Mean = Field(description="mean pixel MSE of the autoencoder alone / this")
    latent_mse: Mean = Field(description="as of methods")
    pixel_mse: Mean
    psnr: Mean
    ssim: Mean
    clip: Mean


Result = Literal["beats", "loses", "no difference seen", "too few images", "no interval"]


class Comparison(Open):
    """The dictionary's end points (method ``attractors``) against one control at 5 % of d."""

    to: str
    metric: Literal["latent_mse", "pixel_mse"]
    attractors: float | None = Field(description="mean error of the method attractors")
    other: float | None = Field(description="mean error of the control")
    difference: Contrast = Field(description="attractors minus control, paired by image")
    ratio: Contrast = Field(description="attractors / control, of the means")
    result: Result = Field(description="by ``verdict_rule``")
    bases: int | None = Field(
        None, description="random bases that had to be beaten one by one; null for other controls"
    )
    bases_beaten: int | None = Field(None, description="of these, those that were")


class DatasetReport(Open):
    source: dict[str, Any] = Field(description="where the images came from, from the manifest")
    sha256: str | None = Field(description="of the images used; null if it was not recorded")
    n_planned: int = Field(description="images asked for")
    n_used: int = Field(description="images behind every mean")
    n_heldout: int = Field(description="further images, for the PCA oracle only")
    unreadable: list[str] = Field(description="ids of images that could not be read")
    notes: list[str] = Field([], description="what else is odd about the images: repeats, dark ones, skipped folders")
    five_percent: int = Field(description="the level, in atoms, that stands for 5 % of d")
    method_atoms: dict[str, int] = Field(description="size of each method's dictionary")
    absent: dict[str, str] = Field(description="methods without rows, with the reason")
    autoencoder_floor: Floor
    sanity: dict[str, Sanity] = Field(description="zero_code and mean_image")
    verdict: str = Field(description="one sentence, by ``verdict_rule`` from ``comparisons``")
    comparisons: list[Comparison] = Field(
        description="by latent MSE to random_orthogonal, then to the strongest of gaussian, one_step, dct; then by"
        " pixel MSE to random_orthogonal; empty without attractors"
    )
    levels: list[LevelReport] = Field(description="by rising number of atoms")


class ModelFacts(Open):
    source: str
    class_: str = Field(alias="class", description="class name of the autoencoder")
    weights_sha256: str | None = Field(
        description="over names, types, shapes and bytes of all weights in memory, which is not the hash of their file;"
        " null where a user's model holds none"
    )
    latent_shape: tuple[int, ...] = Field(description="(c, h, w) at the run's resolution")
    d: int = Field(description="c * h * w")
    warnings: list[str] = Field([], description="on tensors of the weights that the model does not use; usually empty")


class Spread(Open):
    """Five order statistics of the finite values; all null if there are none."""

    n: int
    non_finite: int
    min: float | None
    q25: float | None
    median: float | None
    q75: float | None
    max: float | None


class Spreads(Spread):
    by_outcome: dict[str, Spread] = Field(description="outcomes that occurred")


class Certificates(Open):
    checked: int = Field(description="atoms with a spectral radius")
    certified: int = Field(
        description="attractors: residual below the tolerance in full precision, spectral radius below 1 by more than"
        " its estimated error"
    )
    not_attractors: int
    undecided: int = Field(description="atoms not examined, without a derivative, or too close to call")
    unexamined: int = Field(0, description="of these, atoms beyond ``solver.certificates``")
    starts: int = Field(description="starts that converged in a certified attractor's basin")
    spectral_radius: Spread
    radius_error: Spread = Field(description="estimated absolute errors of the radii")
    spectral_norm: Spread = Field(description="largest singular value of J_f: below 1, f contracts every small step")
    products: Spread = Field(description="Jacobian products spent on an atom")
    plain_checked: int = Field(
        description="converged starts, drawn at random among those with an extrapolation or a part in lower precision,"
        " that were iterated again, plainly in full precision"
    )
    plain_same: int = Field(description="of these, those that converged to the same end point (by the merging rule)")
    plain_elsewhere: int = Field(description="those that converged to another; the rest reached the step limit")


class Wandering(Open):
    """Starts that reached the step limit. Exponents are largest finite-time Lyapunov exponents, per step."""

    n: int = Field(description="starts at the step limit")
    examined: int = Field(description="of these, those with an exponent")
    without_derivative: int = Field(description="looked at in vain: f has no derivative that differences confirm")
    exponent: float | None = Field(description="mean over starts; null without any")
    error: float | None = Field(description="standard error of that mean; null with fewer than two")
    sensitive: int = Field(
        description="exponent above 0 by two of its standard errors, and by 0.001: neighbours separate"
    )
    neutral: int = Field(description="exponent about 0: a long cycle, a quasi-periodic orbit, or a very slow one")
    slow: int = Field(description="exponent below 0 likewise: it would settle, given more steps")
    spectral_radius: Spread = Field(description="of the Jacobian of f at the end points examined, which are not fixed")


class SolverReport(Open):
    n: int = Field(description="starts")
    outcomes: dict[str, int] = Field(description="starts by outcome, all four names present")
    tolerance: float = Field(description="on residual")
    max_steps: int
    steps: Spreads = Field(description="to the returned point: applications of f, and confirmed extrapolations")
    evaluations: Spread = Field(description="of f for a start, failed extrapolations and the last residual included")
    residual: Spreads = Field(description="||f(z) - z||^2 of the returned point")
    periods: dict[str, int] = Field(description="cycles by period; empty if there are none")
    certificates: Certificates
    wandering: Wandering


class Diversity(Open):
    """Vendi scores by cosine in latent space: effective number of different directions, from 1 to ``n``."""

    n: int = Field(description="atoms of the largest basins")
    atoms: float
    gaussian: float = Field(description="of as many Gaussian directions")


class DictionaryReport(Open):
    label: str = Field(description="what may honestly be said of the atoms")
    atoms: int = Field(description="m")
    rule: str = Field(description="when two end points are one atom")
    components: int = Field(description="atoms if chains of near end points were merged whole")
    index: Literal["exact", "approximate"] = Field(description="how end points were compared under the rule")
    recall: float = Field(description="share of near pairs that were found, from a sample; 1 where index is exact")
    atoms_euclidean: int = Field(description="atoms under the Euclidean rule")
    index_euclidean: Literal["exact", "approximate"] = Field(description="as index, under the Euclidean rule")
    recall_euclidean: float = Field(description="as recall, under the Euclidean rule")
    vendi: Diversity | None = Field(None, description="null without atoms, and in runs of older versions")
    starts_used: int
    largest_basin: float | None = Field(description="share of starts_used in the largest basin; null without atoms")
    outcomes: dict[str, int] = Field(description="atoms by outcome of their leader")


class GalleryAtom(Open):
    """An atom whose end point is decoded in the gallery, largest basins first."""

    atom: int
    leader: int = Field(description="index of the start that gave the atom")
    basin: int = Field(description="starts merged into the atom")
    outcome: str
    steps: int
    residual: float | None
    spectral_radius: float | None = Field(description="of the Jacobian of f at the end point; null if not computed")
    radius_error: float | None = Field(description="its estimated absolute error")
    spectral_norm: float | None = Field(description="of the Jacobian of f at the end point; null if not computed")
    predicted_steps: float | None = Field(description="from the start to the tolerance by Proposition A.9")
    plain_steps: int | None = Field(description="that the start takes plainly; null if not known")
    certificate: Literal["attractor", "not an attractor", "undecided", "not examined"]
    label: str | None = Field(None, description="zero-shot label of the decoded point; null without CLIP")
    label_similarity: float | None = Field(None, description="of label and point: cosine of their CLIP embeddings")
    label_above_noise: bool | None = Field(
        None, description="whether that is above 95 % of decoded noise's similarity to its own label"
    )
    nearest: str | None = Field(None, description="test image with the nearest CLIP embedding, ``data set/id``")
    nearest_similarity: float | None = Field(None, description="cosine of their CLIP embeddings")


class OfThree(Open):
    """A number of the decoded end points, and of what it is held against."""

    end_points: float | None
    noise: float | None = Field(description="of decoded Gaussian noise")
    images: float | None = Field(None, description="of the test images; null where it does not exist")


class Vendi(OfThree):
    n: int = Field(description="members of each set; the score lies between 1 and n")


class CommonLabel(Open):
    label: str
    share: float = Field(description="of the set that bears it")


class Semantics(Open):
    """What CLIP makes of the decoded end points; medians over a set. ``missing`` alone where it could not be asked."""

    missing: str | None = Field(None, description="why there is nothing, in a sentence")
    model: str | None = None
    pretrained: str | None = None
    weights_sha256: str | None = None
    words: int | None = Field(None, description="to choose a label from")
    template: str | None = Field(None, description="sentence that a word is put into")
    label_similarity: OfThree | None = Field(None, description="cosine of a picture and its label")
    above_noise: float | None = Field(
        None, description="share of end points that are nearer to their label than 95 % of decoded noise to its own"
    )
    common_label: dict[str, CommonLabel] | None = Field(None, description="most frequent, of end_points and noise")
    nearest_similarity: OfThree | None = Field(None, description="cosine of a picture and its nearest test image")
    vendi: Vendi | None = Field(None, description="Vendi score: effective number of different pictures")
    words_sha256: str | None = Field(None, description="of the words, a line each")
    unrelated: dict[str, Mean] | None = Field(
        None,
        description="by data set: cosine of two different images of it, what CLIP gives for nothing; mean over all"
        " pairs, interval by the jackknife over images",
    )


class Report(Open):
    schema_version: Literal[3] = 3
    summary: list[str] = Field(description="the run in plain sentences")
    warnings: list[str] = Field(description="what to know before believing a number; empty if nothing")
    model: ModelFacts
    solver: SolverReport
    dictionary: DictionaryReport
    gallery: list[GalleryAtom]
    semantics: Semantics | None = Field(description="null where the configuration does not ask for CLIP")
    verdict_rule: str
    datasets: dict[str, DatasetReport]
    provenance: dict[str, Any] = Field(
        description="command, times, versions, git revision, device, dtype, resolved config, and how intervals are made"
    )
