"""The whole configuration of a run: defaults here, over them the YAML file, over that the command line."""

import difflib
import math
import re
import types
import typing
import unicodedata
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from probe.errors import UserError
from probe.names import shortened

Control = Literal["random_orthogonal", "gaussian", "one_step", "dct", "pca_oracle"]
CONTROLS: tuple[Control, ...] = typing.get_args(Control)


M = typing.TypeVar("M", bound=BaseModel)
T = typing.TypeVar("T")


class Strict(BaseModel):
    """Unknown keys are mistakes, and a validated configuration never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class ModelConfig(Strict):
    """Which autoencoder, and in which coordinates its latents are taken.

    source: ``embedded:NAME``; a hub id, local folder or .safetensors file (diffusers; ViT-MAE of transformers);
    ``python:module:function`` or ``python:path/to/file.py:function``.
    config: for a source that is one .safetensors file, the folder or hub id with its config.json (default: beside it).
    variant: of the weight files, such as ``fp16`` for diffusion_pytorch_model.fp16.safetensors.
    latents: ``raw`` (what the encoder returns) or ``scaled`` (shifted, scaled as in diffusers); N(0, I) is drawn there.
    frames, samples: length of the input of a video and of an audio model (of a spectrogram: its columns).
    quantisation: for models with a code book, z is ``continuous`` (before it; D quantises: f = E(D(Q(z)))) or
    ``quantised`` (code vectors; E quantises: f = Q(E(D(z)))).
    clamp: clamp decoded images to the image range before they are encoded again (the paper does not).
    tiling, slicing: split large inputs, and batches into rows, as diffusers does; tiling changes f slightly.
    trust_remote_code: run the class that a repository brings as a Python file of its own.
    channels_last: keep weights in that memory format, which can be faster (10 % on TAEF2 on a CPU) or slower.
    """

    source: str = "embedded:cifar-kl"
    subfolder: str | None = None
    revision: str | None = None
    variant: str | None = None
    config: str | None = None
    latents: Literal["raw", "scaled"] = "raw"
    frames: int = Field(9, ge=1)
    samples: int = Field(16384, ge=1)
    quantisation: Literal["continuous", "quantised"] = "continuous"
    clamp: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"
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

    count: int = Field(256, ge=1)
    seed: int = Field(0, ge=0)
    shard_size: int = Field(32, ge=1, description="starts in a file; a stopped run loses the files that were begun")


class SolverConfig(Strict):
    """The iteration z <- f(z). tolerance is on the squared norm of f(z) - z (paper, Section 4.1)."""

    max_steps: int = Field(500, ge=1)
    tolerance: float = Field(1e-5, gt=0)
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="rows that are iterated together; auto: by the latent's size on a CPU, what fits on a GPU"
    )
    max_norm: float = Field(1e6, gt=0, description="a row whose latent norm exceeds this has diverged")
    accelerate: bool = Field(True, description="extrapolate where a row is in its linear regime")
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = Field(
        "auto", description="for the first part of the way; auto: tf32 on a GPU. bfloat16 can change where a start ends"
    )
    compile: bool = Field(False, description="torch.compile the map: a minute at the start, faster steps")
    certificates: int = Field(256, ge=0, description="how many atoms (largest basins first) get a certificate")
    products: int = Field(300, ge=24, description="Jacobian products that a spectral radius may take")
    certificate_dtype: Literal["run", "float64"] = Field("run", description="the type in which points are certified")
    exponents: int = Field(
        32, ge=0, description="how many starts that do not settle are examined: Lyapunov exponent, spectral radius"
    )
    plain_checks: int = Field(16, ge=0, description="starts that are iterated again, plainly, to see where they end")


class DictionaryConfig(Strict):
    """Which end points become atoms. euclidean: relative to the root mean square norm of the end points."""

    cosine: float = Field(0.99, gt=0, lt=1)
    euclidean: float = Field(0.05, gt=0)
    outcomes: tuple[Literal["converged", "cycle", "max_steps"], ...] = ("converged", "cycle", "max_steps")

    @field_validator("outcomes")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one outcome")
        return value


def _exact_number(value: Any) -> Any:
    """Keep 64 (atoms) and 0.05 (fraction) apart, and refuse what only looks like a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a level is a number of atoms (an integer) or a fraction of the dimension (below 1)")
    if not math.isfinite(value) or value <= 0 or (isinstance(value, float) and value > 1):
        raise ValueError("a level is a positive number of atoms or a fraction in (0, 1]")
    return value


Level = Annotated[int | float, BeforeValidator(_exact_number)]


class SparseConfig(Strict):
    """Levels of sparsity: integers are atoms, fractions are of the latent dimension d; 5 % is always added."""

    levels: tuple[Level, ...] = (4, 8, 16, 32, 64, 128, 256)
    controls: tuple[Control, ...] = CONTROLS
    random_bases: int = Field(5, ge=1, description="random orthogonal bases drawn, so that their spread is known")
    dtype: Literal["auto", "float32", "float64"] = Field(
        "float64",
        description="of the pursuit; auto: float32 where its greedy paths hold, see probe.sparse.working_dtype",
    )
    batch_size: int = Field(64, ge=1, description="images encoded or decoded at once")

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

    source: str | None = None
    config: str | None = None
    split: str = "test"
    column: str | None = None
    revision: str | None = None
    n: int = Field(500, ge=1, description="test images, drawn with the seed")
    holdout: int = Field(500, ge=0, description="further images, for the PCA oracle only")
    seed: int = Field(0, ge=0)

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

    log_with: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    project: str = "probe"
    name: str | None = None


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

    model: str = "ViT-B-32"
    pretrained: str | None = "laion2b_s34b_b79k"
    labels: str | tuple[str, ...] | None = None
    batch_size: int = Field(64, ge=1, description="images that CLIP sees at once")


class Config(Tracked):
    model: ModelConfig = ModelConfig()
    resolution: int = Field(32, ge=1)
    seeds: SeedConfig = SeedConfig()
    solver: SolverConfig = SolverConfig()
    dictionary: DictionaryConfig = DictionaryConfig()
    sparse: SparseConfig = SparseConfig()
    datasets: dict[str, DatasetConfig] = Field(default_factory=dict)
    clip: ClipConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_names(cls, data: Any) -> Any:
        """``imagenet:`` with nothing behind it means the preset of that name."""
        if isinstance(data, dict) and isinstance(data.get("datasets"), dict):
            named = {name: {} if spec is None else spec for name, spec in data["datasets"].items()}
            return {**data, "datasets": named}
        return data

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
            raise ValueError(f"data set name {name!r} becomes a file name: use letters, digits, '-', '_' and '.'")
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
    """The mapping in a YAML file, with ``dotted.key=value`` overrides; see ``load_config`` for the errors."""
    data: Any = {}
    try:
        if path is not None:
            data = yaml.load(Path(path).read_text(), _Loader) or {}
    except OSError as error:
        raise UserError(f"config {path}: {error.strerror or error}; give the path of a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(data, dict):
        raise UserError(f"config {path} must be a mapping of keys to values, not a {type(data).__name__}.")
    for override in overrides:
        _assign(data, override)
    return data


class _Loader(yaml.SafeLoader):
    """Plain YAML, except that a key given twice is a mistake, and 1e-5 is a number (YAML 1.1 wants a dot in it)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1 and name != "<<":
                raise yaml.YAMLError(f"key {name!r} stands twice in one place")
        return super().construct_mapping(node, deep)


# A sign in the exponent tells 1e-5 from a git revision such as 12e4567.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+][0-9]+$"), list("-+0123456789")
)


def validated(model: type[M], data: dict[str, Any]) -> M:
    """Validate a mapping against a pydantic model; a mistake is a UserError of one sentence."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(_sentence(error, model)) from None


def _assign(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override!r} must read dotted.key=value, for example --set solver.max_steps=100.")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: the value is not YAML.") from None
    for part in parts[:-1]:
        if data.get(part) is None:
            data[part] = {}
        data = data[part]
        if not isinstance(data, dict):
            raise UserError(f"--set {override!r}: {part!r} holds a value, not keys.")
    data[parts[-1]] = value


def _sentence(error: ValidationError, model: type[BaseModel]) -> str:
    first, *rest = error.errors()
    path = [str(part) for part in first["loc"]]
    more = f" ({len(rest)} more {'mistake follows' if len(rest) == 1 else 'mistakes follow'}.)" if rest else ""
    if first["type"] == "extra_forbidden":
        valid = _keys_beside(model, first["loc"])
        near = difflib.get_close_matches(path[-1], valid, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(sorted(valid))}."
        return f"config key {'.'.join(path)!r} is unknown: {hint}{more}"
    if first["type"] == "missing":
        return f"config key {'.'.join(path)!r} is missing: set it in the file or with --set.{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not path:  # about several keys, which the message names
        return f"config: {message}.{more}"
    return f"config key {'.'.join(path)!r}: {message} (got {first['input']!r}).{more}"


def _keys_beside(model: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The names of the fields that stand where the unknown key at ``loc`` was put."""
    for part in loc[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        else:  # dict[str, M]: the key is free, the value is M
            model = typing.get_args(model)[-1]
        if typing.get_origin(model) in (typing.Union, types.UnionType):
            model = next(a for a in typing.get_args(model) if isinstance(a, type) and issubclass(a, BaseModel))
    return list(model.model_fields)
