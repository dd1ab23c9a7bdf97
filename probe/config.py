"""The whole configuration of a run: defaults here, over them the YAML file, over that the command line."""

import math
import typing
import unicodedata
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from probe.errors import UserError
from probe.mistakes import sentence
from probe.names import shortened
from probe.reading import parse_yaml, read_yaml_file, short

Control = Literal["random_orthogonal", "gaussian", "one_step", "dct", "pca_oracle"]
CONTROLS: tuple[Control, ...] = typing.get_args(Control)


M = typing.TypeVar("M", bound=BaseModel)
T = typing.TypeVar("T")

Text = Annotated[str, Field(max_length=8192)]
Name = Annotated[str, Field(max_length=200)]
"""Of a data set, which becomes a file name."""
MOST = 10**9
"""Of what is counted, where nothing smaller is said: an upper bound that tells a slip from a wish."""
LARGEST_SEED = 2**63 - 1
LARGEST_SIDE = 8192
"""Of images, in pixels."""


class Strict(BaseModel):
    """Unknown keys are mistakes, and a validated configuration never changes.

    Every number has a lower and an upper bound, every text and list a largest length. A section, list or mapping with
    nothing behind its key has its default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name, field in cls.model_fields.items():
            kind, given = field.annotation, data.get(name)
            if name in data and given is None and _is_section(kind):
                data[name] = {}
            elif name in data and given is None and isinstance(field.get_default(call_default_factory=True), tuple):
                del data[name]
            elif isinstance(given, dict) and typing.get_origin(kind) is dict and _is_section(typing.get_args(kind)[1]):
                data[name] = {key: {} if value is None else value for key, value in given.items()}
        return data


def _is_section(kind: Any) -> bool:
    return typing.get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel))


class ModelConfig(Strict):
    """Which autoencoder, and in which coordinates its latents are taken.

    source: ``embedded:NAME``; a hub id, local folder or .safetensors file (diffusers; ViT-MAE of transformers);
    ``python:module:function`` or ``python:path/to/file.py:function``.
    config: for a source that is one .safetensors file, the folder or hub id with its config.json (default: beside it).
    variant: of the weight files, such as ``fp16`` for diffusion_pytorch_model.fp16.safetensors.
    latents: ``raw`` (what the encoder returns) or ``scaled`` (as the class's diffusion pipelines scale them, by the
    table in docs/models.md; refused where it has no rule); N(0, I) is drawn there.
    frames, samples: length of the input of a video and of an audio model (of a spectrogram: its columns).
    quantisation: for models with a code book, z is ``continuous`` (before it; D quantises: f = E(D(Q(z)))) or
    ``quantised`` (code vectors; E quantises: f = Q(E(D(z)))).
    clamp: clamp decoded images to the image range before they are encoded again (the paper does not).
    tiling, slicing: split large inputs, and batches into rows, as diffusers does; tiling changes f slightly.
    trust_remote_code: run the class that a repository brings as a Python file of its own.
    channels_last: keep weights in that memory format, which can be faster (10 % on TAEF2 on a CPU) or slower.
    """

    source: Text = "embedded:cifar-kl"
    subfolder: Text | None = None
    revision: Text | None = None
    variant: Text | None = None
    config: Text | None = None
    latents: Literal["raw", "scaled"] = "raw"
    frames: int = Field(9, ge=1, le=100_000)
    samples: int = Field(16384, ge=1, le=MOST)
    quantisation: Literal["continuous", "quantised"] = "continuous"
    clamp: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    device: Text = "auto"
    tiling: bool = False
    slicing: bool = False
    trust_remote_code: bool = False
    channels_last: bool = False

    @field_validator("subfolder")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is not None and (PurePath(value).is_absolute() or ".." in PurePath(value).parts):
            raise ValueError("a subfolder lies inside of the model's folder")
        return value


class SeedConfig(Strict):
    """How many Gaussian starts; start i is a function of (seed, i) alone."""

    count: int = Field(256, ge=1, le=10**8)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    shard_size: int = Field(
        32, ge=1, le=10**8, description="starts in a file; a stopped run loses the files that were begun"
    )


class SolverConfig(Strict):
    """The iteration z <- f(z). tolerance is on the squared norm of f(z) - z (paper, Section 4.1)."""

    max_steps: int = Field(500, ge=1, le=MOST)
    tolerance: float = Field(1e-5, gt=0, le=1e6)
    batch_size: Annotated[int, Field(ge=1, le=10**8)] | Literal["auto"] = Field(
        "auto", description="rows that are iterated together; auto: by the latent's size on a CPU, what fits on a GPU"
    )
    max_norm: float = Field(1e6, gt=0, le=1e18, description="a row whose latent norm exceeds this has diverged")
    accelerate: bool = Field(True, description="extrapolate where a row is in its linear regime")
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = Field(
        "auto", description="for the first part of the way; auto: tf32 on a GPU. bfloat16 can change where a start ends"
    )
    compile: bool = Field(False, description="torch.compile the map: a minute at the start, faster steps")
    certificates: int = Field(256, ge=0, le=10**8, description="atoms (largest basins first) that get a certificate")
    products: int = Field(300, ge=24, le=10**6, description="Jacobian products that a spectral radius may take")
    certificate_dtype: Literal["run", "float64"] = Field("run", description="the type in which points are certified")
    exponents: int = Field(
        32,
        ge=0,
        le=10**8,
        description="starts that do not settle and are examined: Lyapunov exponent, spectral radius",
    )
    plain_checks: int = Field(16, ge=0, le=10**8, description="starts iterated again, plainly, to see where they end")


class DictionaryConfig(Strict):
    """Which end points become atoms. euclidean: relative to the root mean square norm of the end points."""

    cosine: float = Field(0.99, gt=0, lt=1)
    euclidean: float = Field(0.05, gt=0, le=1e6)
    outcomes: tuple[Literal["converged", "cycle", "max_steps"], ...] = Field(
        ("converged", "cycle", "max_steps"), max_length=100
    )

    @field_validator("outcomes")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one outcome")
        return value


def _exact_number(value: Any) -> Any:
    """Keep 64 (atoms) and 0.05 (fraction) apart, and refuse what only looks like a number."""
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a level is a number of atoms (an integer) or a fraction of the dimension (below 1)")
    if not math.isfinite(value) or value <= 0 or value > (1 if isinstance(value, float) else MOST):
        raise ValueError("a level is a positive number of atoms or a fraction in (0, 1]")
    return value


def _number(text: str) -> int | float | str:
    """An integer where there are digits only, a number where it is one; else the text."""
    if text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


Level = Annotated[int | float, BeforeValidator(_exact_number), Field(gt=0, le=MOST)]


class SparseConfig(Strict):
    """Levels of sparsity: integers are atoms, fractions are of the latent dimension d; 5 % is always added."""

    levels: tuple[Level, ...] = Field((4, 8, 16, 32, 64, 128, 256), max_length=1000)
    controls: tuple[Control, ...] = Field(CONTROLS, max_length=100)
    random_bases: int = Field(5, ge=1, le=1000, description="random orthogonal bases, to know their spread")
    dtype: Literal["auto", "float32", "float64"] = Field(
        "float64",
        description="of the pursuit; auto: float32 where its greedy paths hold, see probe.sparse.working_dtype",
    )
    batch_size: int = Field(64, ge=1, le=10**6, description="images encoded or decoded at once")

    def atoms(self, d: int) -> list[int]:
        """The levels as sorted, distinct numbers of atoms in 1..d, with 5 % of d among them."""
        counts = [round(level * d) if isinstance(level, float) else level for level in self.levels]
        return sorted({min(max(count, 1), d) for count in counts} | {self.five_percent(d)})

    @staticmethod
    def five_percent(d: int) -> int:
        """5 % of the latent dimension, in atoms: the level of the paper's pictures."""
        return max(round(0.05 * d), 1)


class DatasetConfig(Strict):
    """Where images come from; a data set that bears a preset's name takes from it what is not set here.

    source: ``hub:ID``, ``parquet:PATH`` (a file, a folder, or a pattern), ``folder:PATH``, ``bundled:NAME``,
    ``urls:ID-or-parquet`` (a column of image addresses), or the path of a folder of images or of parquet.
    """

    source: Text | None = None
    config: Text | None = None
    split: Text = "test"
    column: Text | None = None
    revision: Text | None = None
    n: int = Field(500, ge=1, le=MOST, description="test images, drawn with the seed")
    holdout: int = Field(500, ge=0, le=MOST, description="further images, for the PCA oracle only")
    seed: int = Field(0, ge=0, le=LARGEST_SEED)

    @model_validator(mode="before")
    @classmethod
    def _bare_source(cls, data: Any) -> Any:
        """``cats: folder:imgs/cats`` means that source."""
        return {"source": data} if isinstance(data, str) else data


class TrackersConfig(Strict):
    """Experiment trackers that follow the work, through Accelerate; results do not depend on them.

    log_with: which; their packages are extras.
    project: for Weights & Biases and trackio; TensorBoard's files are in the run's folder.
    name: of the run in a tracker; absent: that of its folder.
    """

    log_with: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field((), max_length=100)
    project: Text = "probe"
    name: Text | None = None


class Tracked(Strict):
    """What all kinds of work have."""

    trackers: TrackersConfig = TrackersConfig()

    def settings(self) -> dict[str, Any]:
        """All that results depend on, as JSON: everything but the trackers."""
        return self.model_dump(mode="json", exclude={"trackers"})


class ClipConfig(Strict):
    """Semantics by open_clip (the extra ``clip``): similarity of reconstructions, labels of end points.

    model: a name of open_clip's, ``hf-hub:owner/name``, or ``local-dir:FOLDER`` (open_clip_config.json, *.safetensors).
    pretrained: weights that open_clip knows for the name (``openai``, ``laion2b_s34b_b79k``), or a .safetensors file.
    labels: words, or a text file with a word a line, that decoded end points are labelled from; default: bundled ones.
    """

    model: Text = "ViT-B-32"
    pretrained: Text | None = "laion2b_s34b_b79k"
    labels: Text | Annotated[tuple[Text, ...], Field(max_length=100_000)] | None = None
    batch_size: int = Field(64, ge=1, le=10**6, description="images that CLIP sees at once")


class Config(Tracked):
    model: ModelConfig = ModelConfig()
    resolution: int = Field(32, ge=1, le=LARGEST_SIDE)
    seeds: SeedConfig = SeedConfig()
    solver: SolverConfig = SolverConfig()
    dictionary: DictionaryConfig = DictionaryConfig()
    sparse: SparseConfig = SparseConfig()
    datasets: dict[Name, DatasetConfig] = Field(default_factory=dict, max_length=1000)
    clip: ClipConfig | None = None

    @field_validator("datasets")
    @classmethod
    def _file_names(cls, value: dict[str, DatasetConfig]) -> dict[str, DatasetConfig]:
        return file_names(value)


LONGEST_NAME = 120
"""Bytes of a data set's name: a file name holds 255, of which suffixes take some."""


def file_names(value: dict[str, T]) -> dict[str, T]:
    """Data sets, whose names become file names; ValueError where one cannot, or two are one to some file systems."""
    files: dict[str, str] = {}
    for name in value:
        other = files.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise ValueError(f"data set names {other!r} and {name!r} are one file name on some systems: rename one")
        if len(name.encode(errors="replace")) > LONGEST_NAME:
            raise ValueError(f"data set name {shortened(name, 40)!r} becomes a file name: at most {LONGEST_NAME} bytes")
        if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
            raise ValueError(f"data set name {short(name)} becomes a file name: use letters, digits, '-', '_' and '.'")
    return value


def load_config(path: str | Path | None, overrides: typing.Iterable[str] = ()) -> Config:
    """Read a YAML file and apply ``dotted.key=value`` overrides.

    Raises:
        UserError: the file is absent or no YAML mapping, a key is unknown (the nearest is named), a value is wrong.
    """
    return parse_config(read_yaml(path, overrides))


def parse_config(data: dict[str, Any]) -> Config:
    """Validate a mapping; see ``load_config``."""
    return validated(Config, data)


def read_yaml(path: str | Path | None, overrides: typing.Iterable[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with ``dotted.key=value`` overrides; see ``load_config`` for the errors.

    Scalars are texts (see ``probe.reading.parse_yaml``): the fields of a configuration say what they are.
    """
    data: Any = {} if path is None else read_yaml_file(Path(path))
    if data is None:
        raise UserError(f"config {path} is empty; write at least one key, or {{}} to take every default.")
    if not isinstance(data, dict):
        raise UserError(f"config {path} must be a mapping of keys to values, not {short(data)}.")
    for override in overrides:
        _assign(data, override)
    return data


def validated(model: type[M], data: dict[str, Any]) -> M:
    """Validate a mapping against a pydantic model; a mistake is a UserError of one sentence."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(sentence(error, model)) from None


def _assign(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts, shown = key.strip().split("."), f"--set {short(override)}"
    if not equals or not all(parts):
        raise UserError(f"{shown} must read dotted.key=value, for example --set solver.max_steps=100.")
    value = parse_yaml(text, shown)
    for part in parts[:-1]:
        if data.get(part) is None:
            data[part] = {}
        data = data[part]
        if not isinstance(data, dict):
            raise UserError(f"{shown}: {short(part)} holds a value, not keys.")
    data[parts[-1]] = value
