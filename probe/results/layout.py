"""The files of a run, study, OOD experiment and round trip: names, columns or tensors, and entries of their metadata.

Writers, readers, ``probe status`` and the docs page "Run directory" all take them from here. Nothing heavy is imported.

    layout.DICTIONARY.name                             dictionary.safetensors
    layout.SHARD.at(range(0, 32))                      attractors/00000000-00000031.safetensors
    layout.TABLE.at(dataset="digits")                  reconstructions/digits.parquet
    run / layout.MANIFEST                              a ``Path``
    run.glob(layout.CELL.glob)                         all cells

N starts, m atoms; n images, M dictionaries, L levels, e example images; d latent dimension with latent shape (c, h, w);
H and W height and width of an image; T cycles, b frequency bands. k, g, e and f are other counts, D is the length of a
CLIP embedding.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from probe.measures import MARKS, MEASURES
from probe.methods import METRICS
from probe.scores import SCORES as OOD_SCORES

WORK = "work"
"""Folder of intermediate results, removed once the results made from them exist."""
REPLACED = "replaced"
"""Folder of result files that were damaged or outdated when a stage made them again."""
ATTRACTORS, RECONSTRUCTIONS, CELLS, MODELS, SCORES = "attractors", "reconstructions", "cells", "models", "scores"
TRIPS = "roundtrips"
THEORY, LOGS, TRACKERS, SLURM = "theory", "logs", "trackers", "slurm"
WIDTHS = {"bool": 1, "uint8": 1, "int8": 1, "float32": 4, "float64": 8, "int64": 8}
"""Bytes of a number by type."""
DRAWN = ("images", "data")
"""Folders in ``WORK`` that hold images read from their sources, and nothing computed."""


@dataclass(frozen=True)
class Column:
    """A column of a table, a tensor, or an entry of a file's metadata.

    Attributes:
        name: with ``{fields}`` where there are several alike.
        form: dtype and shape.
        says: meaning, unit and range.
        optional: absent in some files, as ``says`` explains.
    """

    name: str
    form: str
    says: str
    optional: bool = False


@dataclass(frozen=True)
class File:
    """A file, or a family of files.

    Attributes:
        pattern: path below the folder, with ``{fields}`` where there are several alike.
        says: what it holds.
        columns: of a parquet table, or tensors of a safetensors file.
        about: entries of the metadata besides those of ``STAMP``.
    """

    pattern: str
    says: str
    columns: tuple[Column, ...] = ()
    about: tuple[Column, ...] = ()

    @property
    def name(self) -> str:
        """The path of a file that exists once. Raises KeyError where there are several: use ``at``."""
        return self.pattern.format()

    def at(self, span: range | None = None, **fields: object) -> str:
        """The path with its fields filled in; ``span`` gives ``first`` and ``last``, the ends of a range of indices."""
        ends = {} if span is None else {"first": span.start, "last": span.stop - 1}
        return self.pattern.format(**ends, **fields)

    def __fspath__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.pattern  # so a sentence can name it

    def bytes(self, sizes: Mapping[str, int], number: int = 4, copies: Mapping[str, int] | None = None) -> int:
        """The size of a safetensors file, to some percent.

        Args:
            sizes: the counts that its columns name, such as m, d, c; a column that names another is left out.
            number: bytes of a ``float``.
            copies: how many there are of each column with ``{fields}``, by its name; default: none.
        """
        many = {one: 1 if "{" not in one.name else (copies or {}).get(one.name, 0) for one in self.columns}
        held = [times * size for one, times in many.items() if times and (size := _bytes(one.form, sizes, number))]
        return sum(held) + HEADER + ENTRY * sum(many.values())

    @cached_property
    def glob(self) -> str:
        """A pattern for ``Path.glob``."""
        return re.sub(r"\{.*?\}", "*", self.pattern)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns that every such file has, those with fields excluded."""
        return tuple(one.name for one in self.columns if not one.optional and "{" not in one.name)


HEADER, ENTRY = 2600, 90
"""Bytes of a file of tensors beside these: of its metadata, mostly ``made_with``, and of a tensor's line."""


def _bytes(form: str, sizes: Mapping[str, int], number: int) -> int:
    """Of a tensor of this form; a count is a number, a name, a sum of both, or at most so many of the m atoms."""
    kind, _, shape = form.partition(" (")
    width = number if kind == "float" else WIDTHS.get(kind, 0)
    for part in shape.rstrip(")").split(","):
        most = re.fullmatch(r"at most (\d+)", part.strip())
        known = [sizes.get(one, int(one) if one.isdecimal() else 0) for one in part.replace(" ", "").split("+") if one]
        width *= min(int(most[1]), sizes.get("m", 0)) if most else sum(known)
    return width


def _file(pattern: str, says: str, *columns: Column, about: tuple[Column, ...] = ()) -> File:
    return File(pattern, says, columns, about)


STAMP = (
    Column("sha256", "str", "checksum of the content and of all other entries"),
    Column("file", "str", "path below the folder under which the file was written"),
    Column(
        "{kind}",
        "str",
        "`run`, `study`, `ood` or `roundtrip`: fingerprint of the settings and models that results depend on",
    ),
    Column("made_with", "object", "these settings and checksums; absent in folders of early versions", optional=True),
)
"""Metadata of every safetensors file (one JSON text an entry) and table (one JSON object under the key ``probe``)."""

# Every folder
CONFIG = File("config.yaml", "the configuration, complete: defaults and presets are written out")
MANIFEST = File(
    "manifest.json",
    "how the results were made: versions, git revision, checksums of weights and images, device, dtype, ranks, times",
)
ERROR = File("error.json", "the last error: time, rank, exit status, message; absent after a good end")
PROGRESS = File("progress.json", "the stage at work, units done and planned, rate, seconds left; written every 5 s")
PLAN = File(
    "plan.json",
    "what `probe plan` expected of the stages on the machine where the first of them began; absent where nothing was"
    " planned, as in folders of early versions",
)
SPENT = File(
    "spent.jsonl",
    "what the stages took: a line per process and planned stage that had something to do, with `stage`, `ended`,"
    " `seconds`, `cpu_seconds` of `threads`, `ranks`, `rows` encoded and decoded, `memory_bytes` and `gpu_bytes`"
    " (largest); of several ranks those of rank 0",
)
OWNER = File(".owner.json", "host, process id and time of the process at work")
LOCK = File(".lock", "lock file of the process at work")
LOCK_HELD = File(".lock.held", "the same where the file system has no locks; it exists while the folder is held")
LOG = File("logs/rank-{rank:04d}.log", "messages of one rank, appended by every process")
SLURM_LOG = File("logs/slurm-{job}-{stage}.log", "what a Slurm job printed")
SLURM_SCRIPT = File("slurm/{number}-{stage}.sbatch", "a submitted batch script")
SLURM_JOBS = File("slurm/jobs.json", "job ids by stage, and when they were submitted")
CLAIM = File(
    "work/claims/{stage}/{part}/{file}", "held by the process that makes a part, where processes share a stage"
)
TRACKER_NOTE = File("trackers/{run}.json", "what experiment trackers know: their id, and the last step of each tag")
REPORT_JSON = File("report/report.json", "all numbers of the report; see the page on report.json")
REPORT_MD = File("report/report.md", "the report as Markdown")
REPORT_HTML = File("report/report.html", "the report as one web page, with its figures inside")
FIGURE = File("report/figures/{name}", "figures of the report, as PNG and SVG")
_STATE = (
    CONFIG,
    MANIFEST,
    PLAN,
    SPENT,
    ERROR,
    PROGRESS,
    OWNER,
    LOCK,
    LOCK_HELD,
    LOG,
    SLURM_LOG,
    SLURM_SCRIPT,
    SLURM_JOBS,
    CLAIM,
)
COMMON = (*_STATE, TRACKER_NOTE, REPORT_JSON, REPORT_MD, REPORT_HTML, FIGURE)

# A run
_RANK = Column("rank", "int", "the rank that wrote it")
_ENDS = Column("ends", "str", "checksum over the end points it was made from")
_DICTIONARY = Column("dictionary", "str", "checksum of the dictionary it was made with")
_DATA = Column("data", "str", "checksum of the images it was made from")
_IMAGES = Column("images", "str", "checksum of the images it was made from")
_CLIP = Column("clip", "str", "checksum of CLIP's weights; empty without CLIP", optional=True)
_LPIPS = Column("lpips", "str", "checksum of LPIPS' weights; empty without them", optional=True)
_INCEPTION = Column("inception", "str", "checksum of the weights of FID's Inception; empty without them", optional=True)
_SEEN = (_CLIP, _LPIPS, _INCEPTION)
_BORROWED = Column(
    "borrowed", "str", "checksum of borrowed.safetensors; absent where the run borrows no dictionary", optional=True
)
_METHOD_ATOMS = Column("method_atoms", "object", "number of atoms in each dictionary")
_FACTS = Column("data", "object", "facts about the images, as under `data` in manifest.json")
_IDS = Column("ids", "list of str", "names of the images")
_STARTS = (
    Column("index", "int64 (n,)", "which starts: z0 of start i depends only on seeds.seed and i"),
    Column("end", "float (n, c, h, w)", "returned point, in model.dtype; if diverged, the last within the bound"),
    Column("first", "float (n, c, h, w)", "f(z0), in model.dtype; for the one-step control"),
    Column("outcome", "uint8 (n,)", "0 converged, 1 cycle, 2 max_steps, 3 diverged"),
    Column("steps", "int64 (n,)", "steps from the start to the returned point, confirmed extrapolations included"),
    Column("guesses", "int64 (n,)", "extrapolations among the steps"),
    Column("evaluations", "int64 (n,)", "evaluations of f, failed extrapolations and the last residual included"),
    Column("residual", "float64 (n,)", "||f(z) - z||² at the returned point; infinite if diverged"),
    Column("period", "int64 (n,)", "period of a cycle, else 0"),
)
SHARD = _file(
    "attractors/{first:08d}-{last:08d}.safetensors",
    "where starts ended; a range of starts by its first and last index. The files of a run cover 0..N-1 exactly once",
    *_STARTS,
    about=(_RANK,),
)
SHARD_PART = _file(
    "work/attractors/{first:08d}-{last:08d}.safetensors",
    "the starts of an unfinished range that had ended when the run was stopped",
    *_STARTS,
    about=(_RANK,),
)
DICTIONARY = _file(
    "dictionary.safetensors",
    "distinct end points, largest basin first, and their certificates",
    Column("atoms", "float32 (m, d)", "end points divided by their norm; 0 for an attractor at the origin"),
    Column(
        "ends",
        "float (m, c, h, w)",
        "end points, where there is a certificate after its plain steps; absent in folders of early versions: there"
        " they are those of the leaders",
        optional=True,
    ),
    Column("leader", "int64 (m,)", "index of the start that ended there"),
    Column("basin", "int64 (m,)", "starts merged into the atom, the leader included"),
    Column("settled", "int64 (m,)", "those of them that converged"),
    Column("outcome", "uint8 (m,)", "of the leader, as in attractors/"),
    Column("steps", "int64 (m,)", "of the leader"),
    Column("residual", "float64 (m,)", "of the leader; where there is a certificate, of `ends`"),
    Column("spectral_radius", "float64 (m,)", "largest |eigenvalue| of J_f; NaN without a certificate"),
    Column("radius_error", "float64 (m,)", "estimated error of the spectral radius"),
    Column("spectral_norm", "float64 (m,)", "largest singular value of J_f; NaN without a certificate"),
    Column("norm_error", "float64 (m,)", "estimated error of the spectral norm"),
    Column(
        "distance",
        "float64 (m,)",
        "from `ends` to the fixed point: a bound where spectral norm + error is below 1, else an estimate; NaN if not"
        " certified; absent in folders of early versions",
        optional=True,
    ),
    Column(
        "from_one",
        "float64 (m,)",
        "|1 - lambda| of the leading eigenvalue of J_f; NaN without a certificate; absent in folders of early versions",
        optional=True,
    ),
    Column("products", "int64 (m,)", "products with J_f that this took; 0 without a certificate"),
    Column("certificate", "int8 (m,)", "1 attractor, 0 not an attractor, -1 undecided"),
    Column("predicted_steps", "float64 (m,)", "steps by Proposition A.9 of the paper; NaN without a certificate"),
    Column("plain_steps", "int64 (m,)", "steps without extrapolation in full precision; -1 if not measured"),
    Column("member", "int64 (N,)", "atom of every start, -1 for a start outside; absent in old files", optional=True),
    about=(
        _ENDS,
        Column("summary", "object", "counts and rules, as under `dictionary` in report.json"),
        Column("basins", "bool", "whether basins.safetensors belongs to it; absent in old files", optional=True),
        Column(
            "uncoded",
            "str",
            "why no image is reconstructed; empty where images are; absent in old files",
            optional=True,
        ),
    ),
)
BORROWED = _file(
    "borrowed.safetensors",
    "the dictionary of another run in which images are coded, if `dictionary.source` names one; its columns are those"
    " of dictionary.safetensors",
    *DICTIONARY.columns,
    about=(Column("borrowed", "object", "where it is from, as under `borrowed` in report.json"),),
)
GALLERY = _file(
    "gallery.safetensors",
    "decoded end points of the largest basins",
    Column("images", "uint8 (at most 64, 3, H, W)", "in full size"),
    Column("thumbnails", "uint8 (at most 4096, 3, h, w)", "reduced in size"),
    about=(_DICTIONARY,),
)
WANDERING = _file(
    "wandering.safetensors",
    "starts that did not converge within the step limit",
    Column("index", "float64 (n,)", "which starts"),
    Column("exponent", "float64 (n,)", "largest Lyapunov exponent, per step"),
    Column("error", "float64 (n,)", "its estimated error"),
    Column("spectral_radius", "float64 (n,)", "largest |eigenvalue| of J_f at the returned point"),
    Column("radius_error", "float64 (n,)", "its estimated error"),
    about=(_DICTIONARY,),
)
BASINS = _file(
    "basins.safetensors",
    "basins of attraction: where partners of starts and kicked attractors end; absent in runs of older versions",
    Column("probe", "int64 (k,)", "which starts are probes"),
    Column("centre", "int64 (k,)", "the atom where each ended; -1 for none, as in `around`"),
    Column(
        "around",
        "int64 (k, s, p)",
        "the same of its p partners at each of s separations: an atom; m or more for an end point like none of them "
        "(told apart within a probe); -1 where the partner did not converge",
    ),
    Column("attractor", "int64 (a,)", "atoms that were kicked"),
    Column("nearest", "float64 (a,)", "distance to the nearest other attractor, relative to sqrt(d)"),
    Column("towards", "float64 (a,)", "share of the straight way there after which it does not come back"),
    Column("returned", "bool (a, r, g)", "whether it came back, by random direction and size of the kick"),
    Column("smallest", "float64 (a, r)", "smallest kick that did not come back, relative to sqrt(d); infinite: none"),
    about=(_DICTIONARY, Column("missing", "str", "why nothing was measured; empty if it was")),
)
BASIN_PART = _file(
    "work/basins/{kind}-{first:08d}-{last:08d}.safetensors",
    "the same for a range of probes (kind `pairs`) or of atoms (kind `kicks`), by its first and last index",
    about=(_DICTIONARY, _RANK),
)
MERGED = _file(
    "work/merged.safetensors",
    "distinct end points before they are certified",
    Column("leader", "int64 (m,)", "as in dictionary.safetensors"),
    Column("basin", "int64 (m,)", "as in dictionary.safetensors"),
    Column("settled", "int64 (m,)", "as in dictionary.safetensors"),
    Column("member", "int64 (N,)", "as in dictionary.safetensors", optional=True),
    Column("certify", "int64 (k,)", "rows to certify"),
    Column("check", "int64 (k,)", "starts to iterate again without extrapolation"),
    Column("wandering", "int64 (k,)", "starts whose Lyapunov exponent to estimate"),
    Column("{kind}_starts", "int64 (k,)", "starts of a kind of work: certificates, checks, exponents"),
    Column("{kind}_points", "float (k, c, h, w)", "their end points"),
    about=(
        _ENDS,
        Column("counts", "object", "points for each kind of work"),
        Column("summary", "object", "as in dictionary.safetensors"),
        Column("sampled", "int", "starts in `check` that were drawn at random; leaders follow them"),
    ),
)
CERTIFICATES = _file(
    "work/certificates/{kind}-{first:08d}-{last:08d}.safetensors",
    "results of one kind of work (certificates, checks, exponents); a range of points by its first and last index",
    about=(_ENDS, _RANK, Column("rule", "int", "version of what is computed; other ones are computed again")),
)
FIRST_STEPS = _file(
    "work/first.safetensors",
    "of several ranks: one file that all read, instead of every shard",
    Column("first", "float32 (N, c, h, w)", "as in the shards"),
)
IMAGES = _file(
    "work/images/{dataset}.safetensors",
    "images of a data set",
    Column("images", "uint8 (n, 3, H, W)", "test images"),
    Column("heldout", "uint8 (n, 3, H, W)", "images for the PCA oracle and the mean image; there may be none"),
    about=(_IDS, _FACTS),
)
TABLE = _file(
    "reconstructions/{dataset}.parquet",
    "errors of every image of a data set: a row per image, dictionary and level",
    Column("image", "int64", "position in the data set, 0..n-1"),
    Column("id", "str", "name of the image"),
    Column("method", "str", "dictionary; or `autoencoder` (D(E(x))), `zero_code`, `mean_image`"),
    Column("basis", "int64", "which of several random bases, from 0"),
    Column("atoms", "int64", "atoms allowed in the code; 0 for `zero_code` and `mean_image`"),
    Column("fraction", "float64", "`atoms` divided by d"),
    Column("atoms_used", "int64", "atoms in the code"),
    *(Column(one.name, "float64", one.explanation, one.optional) for one in METRICS),
    about=(
        _DICTIONARY,
        _BORROWED,
        _IMAGES,
        *_SEEN,
        Column(
            "perception",
            "object",
            "`rfid` (mean, ci95, n) of D(E(x)), `protocols` by metric, `missing`; only with `perceptual` configured",
            optional=True,
        ),
        _METHOD_ATOMS,
        Column("levels", "list of int", "numbers of atoms in the codes"),
        Column("absent", "object", "controls that do not exist here, with the reason"),
        Column("five_percent", "int", "the level at 5 % of d"),
        Column("dtype", "str", "precision of the sparse codes"),
    ),
)
PICTURES = _file(
    "reconstructions/{dataset}.safetensors",
    "example images of a data set and their reconstructions",
    Column("original", "uint8 (e, 3, H, W)", "the first test images"),
    Column("autoencoder", "uint8 (e, 3, H, W)", "their D(E(x))"),
    Column("{method}", "uint8 (L, e, 3, H, W)", "their reconstructions at every level"),
    Column("originals/picture", "uint8 (n, 3, h, w)", "the test images, reduced in size; CLIP only", optional=True),
    Column("originals/embedding", "float (n, D)", "CLIP embeddings of these; CLIP only", optional=True),
    Column("originals/whole", "float (n, D)", "CLIP embeddings of the full images; CLIP only", optional=True),
    about=(
        _DICTIONARY,
        _BORROWED,
        _IMAGES,
        *_SEEN,
        Column("ids", "list of str", "names of the test images; absent in old files", optional=True),
    ),
)
_SUBSETS = (
    Column("blocks", "int", "B; start i is in block i mod B"),
    Column("starts", "object", "by method, how many first starts `size/` stands for"),
    Column("atoms", "object", "by method, how many atoms these gave"),
)
SUBSETS = _file(
    "subsets/{dataset}.safetensors",
    "latent MSE of every image at 5 % of d in parts of the dictionaries; absent in folders of older versions",
    Column("left_out/{method}", "float64 (B, k)", "without each block of starts; the first k images", optional=True),
    Column("size/{method}", "float64 (sizes, n)", "with the first starts only, the last row with all"),
    about=(_DICTIONARY, _BORROWED, _IMAGES, *_SEEN, *_SUBSETS),
)
RECONSTRUCTION = _file(
    "work/reconstructions/{dataset}/{first:08d}-{last:08d}.safetensors",
    "errors before they are joined; a range of images by its first and last index",
    Column("used", "int64 (M, L, n)", "atoms in the code"),
    Column("errors/{metric}", "float64 (M, L, n)", "by dictionary and level"),
    Column("floor/{metric}", "float64 (n,)", "of D(E(x))"),
    Column("sanity/{metric}", "float64 (2, n)", "of the zero code and the mean image"),
    Column("examples/{name}", "uint8", "as in reconstructions/"),
    Column("originals/{name}", "uint8 or float", "as in reconstructions/", optional=True),
    Column("subsets/{name}", "float64", "as in subsets/", optional=True),
    Column("features/{name}", "float32 (n, D)", "of Inception, of the images and of D(E(x)); for rFID", optional=True),
    about=(
        _DICTIONARY,
        _BORROWED,
        _IMAGES,
        *_SEEN,
        Column("methods", "list of str", "names of the M dictionaries"),
        Column("levels", "list of int", "the L numbers of atoms"),
        Column("d", "int", "latent dimension"),
        _METHOD_ATOMS,
        Column("subsets", "object", "`blocks`, `starts` and `atoms` as in subsets/", optional=True),
        _RANK,
    ),
)
SEMANTICS = _file(
    "semantics.safetensors",
    "what CLIP sees in the decoded end points; with `clip` in the configuration only",
    Column("label_similarity", "float32 (m,)", "cosine with the nearest word"),
    Column("above_noise", "bool (m,)", "whether that exceeds what decoded noise gets"),
    Column("nearest_similarity", "float32 (m,)", "cosine with the nearest test image"),
    Column("nearest_images", "uint8 (m, 3, h, w)", "these images; absent without test images", optional=True),
    about=(
        _DICTIONARY,
        Column("clip", "str", "checksum of CLIP's weights"),
        Column("words", "str", "checksum of the list of words"),
        Column("tables", "list of str", "checksums of the example files that it was made from"),
        Column("labels", "list of str", "nearest word of each end point"),
        Column("nearest", "list of str", "`dataset/id` of the nearest test image"),
        Column("summary", "object", "counts and null levels, as under `semantics` in report.json"),
    ),
)
THEORY_JSON = File("theory/theory.json", "all numbers of `probe theory`")
THEORY_MD = File("theory/theory.md", "the same as Markdown")
THEORY_HTML = File("theory/theory.html", "the same as one web page, with its figures inside")
THEORY_FIGURE = File("theory/figures/{name}", "figures of `probe theory`, as PNG and SVG")
_RESULTS = (SHARD, DICTIONARY, BORROWED, GALLERY, WANDERING, BASINS, TABLE, PICTURES, SUBSETS, SEMANTICS)
_THEORY = (THEORY_JSON, THEORY_MD, THEORY_HTML, THEORY_FIGURE)
RUN = (*_RESULTS, *_THEORY, SHARD_PART, MERGED, CERTIFICATES, BASIN_PART, FIRST_STEPS, IMAGES, RECONSTRUCTION)

# A study
CELL = _file(
    "cells/{shard}.safetensors",
    "what was measured of one model; its tensors depend on the kind of study",
    about=(
        Column("model", "object", "its numbers, as under `models` in report.json"),
        Column("data", "str", "checksum of the images; absent where nothing is trained", optional=True),
        _RANK,
    ),
)
_MEMORIZATION = (
    Column("mem", "float32 (m,)", "largest cosine of a decoded end point and a training image"),
    Column("null_test", "float32 (n,)", "the same of test images"),
    Column("null_reconstructed", "float32 (n,)", "the same of reconstructed test images"),
    Column("null_mean", "float32 (1,)", "the same of the mean training image"),
    Column("null_noise", "float32 (n,)", "the same of noise images"),
    Column("null_untrained", "float32 (m,)", "the same of decoded end points of the untrained network"),
    Column("test_error", "float32 (n,)", "squared error of D(E(x)) of each test image, mean over pixels"),
    Column("basin", "int64 (m,)", "starts that ended there"),
    Column("certificate", "int8 (m,)", "1 attractor, 0 not an attractor, -1 undecided, -2 not examined"),
    Column("gallery", "uint8 (g, c, H, W)", "decoded end points, largest basin first"),
)
CELL_COLUMNS: dict[str, tuple[Column, ...]] = {
    "bottleneck": _MEMORIZATION,
    "training_size": _MEMORIZATION,
    "across_training": (
        Column("images", "uint8 (g, c, H, W)", "training images whose end points are shown"),
        Column("{epoch}.film", "uint8 (g, c, H, W)", "decoded end points of these at a checkpoint"),
        Column("{epoch}.mem", "float64 (m,)", "largest cosine of a decoded end point and a training image"),
        Column("{epoch}.null_{of}", "float64 (n,)", "the same of unseen images and of noise"),
        Column("{epoch}.{split}_error", "float64 (n,)", "squared error of D(E(x)), training and test images"),
        Column("{epoch}.share_{starts}", "float64 (n,)", "1 / number of starts that end at the same point"),
        Column("{epoch}.score_{starts}", "float64 (n,)", "mean distance of a trajectory to training attractors"),
        Column("{epoch}.norm_{starts}", "float64 (n,)", "spectral norm of J_f at starts"),
        Column("{epoch}.to_{starts}", "float64 (n,)", "largest cosine of a training attractor with others"),
        Column("{epoch}.from_{starts}", "float64 (n,)", "the same in the other direction"),
    ),
    "convergence": (
        Column("predicted", "float64 (n,)", "steps by Proposition A.9 of the paper"),
        Column("actual", "int64 (n,)", "steps taken"),
        Column("radius", "float64 (n,)", "spectral radius at the attractor"),
        Column("attractor", "int64 (n,)", "which attractor"),
        Column("error", "float64 (n,)", "log error of the prediction"),
        Column("null_error", "float64 (n,)", "log error of the best constant"),
    ),
    "contraction": (),
}
"""Tensors of a cell by kind of study."""
TRAINED = File("models/{shard}/epoch-{epoch:04d}/{file}", "a trained model in the save format of diffusers")
TRAINING_STATE = File("models/{shard}/training.safetensors", "state from which a stopped training resumes")
STUDY_IMAGES = _file(
    "work/data/{dataset}.safetensors",
    "images of a data set",
    Column("train", "uint8 (n, c, H, W)", "training images"),
    Column("test", "uint8 (n, c, H, W)", "test images"),
    about=(_FACTS,),
)
CELL_LOCK = File("work/locks/{shard}/{file}", "held by the process that trains and measures a model")
STUDY = (CELL, TRAINED, TRAINING_STATE, STUDY_IMAGES, CELL_LOCK)

# An OOD experiment
OOD_MODEL = "model"
OOD_TRAINED = File("model/epoch-{epoch:04d}/{file}", "the trained model in the save format of diffusers")
OOD_TRAINING_STATE = File("model/training.safetensors", "state from which a stopped training resumes")
REFERENCES = _file(
    "references.safetensors",
    "training attractors",
    Column("latents", "float32 (n, ...)", "latents of training images"),
    Column("attractors", "float32 (m, ...)", "end points of those that did not diverge, not merged"),
    Column(
        "noise_attractors", "float32 (k, ...)", "end points of noise, for the score trajectory_noise", optional=True
    ),
    about=(_DATA, Column("facts", "object", "counts, as under `attractors` in report.json")),
)
_SCORE_COLUMNS = (
    Column("set", "str", "name of the set"),
    Column("image", "int64", "position in the set, 0..n-1"),
    Column("id", "str", "name of the image"),
    Column("outcome", "str", "how the trajectory ended: converged, cycle, max_steps, diverged"),
    *(Column(one.column or one.name, "float64", one.meaning, optional=True) for one in OOD_SCORES),
)
SCORE = _file(
    "scores/{set}.parquet",
    "scores of one set: a row per image, the configured scores only; higher means more out-of-distribution",
    *_SCORE_COLUMNS,
    about=(_DATA, Column("references", "str", "checksum of references.safetensors")),
)
SCORE_TABLE = _file(
    "scores.parquet",
    "scores of all sets: the tables of scores/ joined",
    *_SCORE_COLUMNS,
)
OOD_IMAGES = File(
    "work/data/{set}.safetensors",
    "images of a set",
    (Column("images", "uint8 (n, 3, H, W)", "the images"),),
    (_FACTS, _IDS),
)
OOD = (OOD_TRAINED, OOD_TRAINING_STATE, REFERENCES, SCORE, SCORE_TABLE, SHARD_PART, OOD_IMAGES)

# Round trips
_TRIP_ABOUT = (
    _DATA,
    Column("model", "str", "name of the model in the configuration; `identity` for the control without a model"),
    Column("between", "str", "what happens between cycles, as in the configuration, such as `jpeg:75`"),
    Column("dataset", "str", "name of the data set"),
    Column("weights", "str or null", "checksum of the model's weights; null for the control and without weights"),
    Column("run", "str or null", "checksum of the dictionary of the run whose attractors are compared; null: none"),
    Column("lpips", "str or null", "checksum of the weights of LPIPS; null without them"),
)
TRIP = _file(
    "roundtrips/{model}/{between}/{dataset}.parquet",
    "measures of every image after every cycle: a row per image and cycle, by image, then cycle. In the path, `-`"
    " stands for the colon of `between`. Where a picture is not finite, every measure is NaN, from that cycle on",
    Column("image", "int64", "position in the data set, 0..n-1"),
    Column("id", "str", "name of the image"),
    Column("cycle", "int64", "t = 0..T; 0 is the image itself"),
    *(Column(one.name, "float64", one.explanation, one.optional) for one in MEASURES),
    about=_TRIP_ABOUT,
)
TRIP_TENSORS = _file(
    "roundtrips/{model}/{between}/{dataset}.safetensors",
    "spectra, outcomes and pictures of the same images",
    Column("bands", "float64 (b + 1,)", "edges of the frequency bands, in cycles per pixel, 0 to 0.5"),
    Column(
        "spectrum",
        "float32 (n, T + 1, b)",
        "power of x_t in a band over that of x_0, in dB: below 0 lost, above 0 gained; sums over directions and"
        " channels of squared DCT coefficients, to which the power of rounding to 8 bits is added; the mean is left"
        " out, and frequencies above 0.5 count in the last band",
    ),
    Column("outcome", "uint8 (n,)", "0 converged, 1 cycle, 2 max_steps, 3 diverged"),
    Column(
        "settled",
        "int64 (n,)",
        "first cycle at which the picture is where it stays: what repeats begins there, or ||z_{t+1} - z_t||² stays"
        " below the tolerance; above T where the latent map was iterated further. If it diverged, the first cycle"
        " without a picture; -1 if it did not settle",
    ),
    Column("period", "int64 (n,)", "period of a cycle, 1 for a fixed point, else 0"),
    Column("place", "int64 (n,)", "which of the distinct fixed points or cycles, most images first; -1: none"),
    Column(
        "residual",
        "float64 (n,)",
        "||f(z) - z||² where the iteration of the latent map ended (`none` and `clamp` only); else NaN",
    ),
    Column("certificate", "int8 (n,)", "of its fixed point: 1 attractor, 0 not, -1 undecided, -2 not examined"),
    Column("spectral_radius", "float64 (n,)", "largest |eigenvalue| of J_f there; NaN without a certificate"),
    Column("radius_error", "float64 (n,)", "its estimated error"),
    Column("attractor", "int64 (n,)", "certified atom of the run at which it ends; -1: at none", optional=True),
    Column(
        "nearest", "int64 (n,)", "the certified atom that is nearest to its last latent; -1: diverged", optional=True
    ),
    Column("distance", "float64 (n,)", "its distance, in the model's own coordinates", optional=True),
    *(Column(f"until/{m.name}", "int64 (n,)", f"first cycle at: {m.label}; -1: not within T cycles") for m in MARKS),
    Column("film_images", "int64 (e,)", "images whose pictures are kept: the first, the worst and the best at the end"),
    Column("film_cycles", "int64 (f,)", "cycles at which they are kept, with 0, 1 and T"),
    Column(
        "film", "uint8 (e, f, 3, H, W)", "these pictures, reduced to `film.side`; black where a picture is not finite"
    ),
    about=(
        *_TRIP_ABOUT,
        Column("cycles", "int", "T"),
        Column("places", "int", "number of distinct fixed points and cycles"),
        Column("inception", "str", "checksum of the weights of rFID's Inception; absent without it", optional=True),
        Column(
            "rfid",
            "list of objects",
            "rFID after each of the cycles of the report's tables: `cycle`, `mean` and `ci95`, and `n`, the images that"
            " have not diverged by then, which alone are compared (`mean` is null for fewer than 2); absent without"
            " Inception",
            optional=True,
        ),
        Column("latent_shape", "list of int or null", "shape of a latent; null for the control"),
        Column("no_attractors", "str", "why no attractors are compared; empty if they are, or no run is named"),
    ),
)
TRIP_IMAGES = File(
    "work/images/{dataset}.safetensors",
    "images of a data set",
    (Column("images", "uint8 (n, 3, H, W)", "the images"),),
    (_FACTS, _IDS),
)
CYCLES_CSV = File(
    "report/cycles.csv", "the curves of the report: a row per data set, model, setting, cycle and measure"
)
ROUNDTRIP = (TRIP, TRIP_TENSORS, CYCLES_CSV, TRIP_IMAGES)

FILES = {
    "run": (*COMMON, *RUN),
    "study": (*COMMON, *STUDY),
    "ood": (*COMMON, *OOD),
    "roundtrip": (*COMMON, *ROUNDTRIP),
}
"""Every file of each kind of folder."""
