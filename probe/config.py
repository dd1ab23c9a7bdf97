"""The configuration of a run: the command line overrides the YAML file, which overrides the defaults here."""

import math
import typing
import unicodedata
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from probe.errors import UserError
from probe.methods import controls, default_controls
from probe.mistakes import mistaken
from probe.names import shortened
from probe.reading import YAML_BYTES, parse_yaml, read_text, short

M = typing.TypeVar("M", bound=BaseModel)
T = typing.TypeVar("T")

Text = Annotated[str, Field(max_length=8192)]


def _joined(given: Any) -> Any:
    several = isinstance(given, list | tuple) and given and all(isinstance(one, str) and one for one in given)
    return "+".join(given) if several else given


Split = Annotated[Text, BeforeValidator(_joined)]
"""A split, or several: ``train+test``, or a list of them."""
Name = Annotated[str, Field(max_length=200)]
"""The name of a data set, which becomes a file name, or of a method."""
MOST = 10**9
"""Upper bound of counts that have no smaller one: it catches typing errors."""
LARGEST_SEED = 2**63 - 1
LARGEST_SIDE = 8192
"""Largest side of an image, in pixels."""
LONGEST_NAME = 120
"""Bytes of a data set's name: a file name holds 255, and suffixes take some."""


class ConfigModel(BaseModel):
    """A section of a configuration: unknown keys are refused, and a validated section never changes.

    Every number has a lower and an upper bound, every text and list a maximum length. A section, list or mapping with
    nothing after its key takes its default.
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


class ModelConfig(ConfigModel):
    """The autoencoder, and the coordinates of its latents."""

    source: Text = Field(
        "embedded:cifar-attractors",
        description="the model: ``embedded:NAME``; a hub id, local folder or .safetensors file (diffusers, or a ViT-MAE"
        " of transformers); ``python:module:function`` or ``python:path/to/file.py:function``",
    )
    subfolder: Text | None = Field(None, description="folder inside the model's repository or folder")
    revision: Text | None = Field(None, description="branch, tag or commit on the hub")
    variant: Text | None = Field(
        None, description="variant of the weight files, such as fp16 for diffusion_pytorch_model.fp16.safetensors"
    )
    config: Text | None = Field(
        None,
        description="for a source that is one .safetensors file: the folder or hub id with its config.json; default:"
        " beside the file",
    )
    latents: Literal["raw", "scaled"] = Field(
        "raw",
        description="coordinates in which N(0, I) is drawn: raw, as the encoder returns them, or scaled, as the class's"
        " diffusion pipelines scale them (table in docs/models.md; refused for classes without a rule)",
    )
    frames: int = Field(9, ge=1, le=100_000, description="frames of the input of a video model")
    samples: int = Field(
        16384, ge=1, le=MOST, description="samples of the input of an audio model (of a spectrogram: its columns)"
    )
    quantisation: Literal["continuous", "quantised"] = Field(
        "continuous",
        description="for models with a code book: z before it (continuous, f = E(D(Q(z)))), or z made of code vectors"
        " (quantised, f = Q(E(D(z))))",
    )
    clamp: bool = Field(
        False, description="clamp decoded images to the image range before encoding them again (the paper does not)"
    )
    dtype: Literal["float32", "float64"] = Field("float32", description="type of weights and latents")
    device: Text = Field("auto", description="torch device; auto: the GPU if there is one, else the CPU")
    tiling: bool = Field(False, description="split large inputs into tiles, as diffusers does; changes f slightly")
    slicing: bool = Field(False, description="split batches into single rows, as diffusers does")
    trust_remote_code: bool = Field(
        False, description="run the Python file in which a model repository brings its own class"
    )
    channels_last: bool = Field(
        False, description="keep weights in this memory format: faster for some models (TAEF2: 10 % on a CPU), not all"
    )

    @field_validator("subfolder")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is not None and (PurePath(value).is_absolute() or ".." in PurePath(value).parts):
            raise ValueError("a subfolder must lie inside the model's folder")
        return value


class SeedConfig(ConfigModel):
    """The Gaussian starts; start i is a function of (seed, i) alone."""

    count: int = Field(256, ge=1, le=10**8, description="number of starts")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the starts and of the control dictionaries")
    shard_size: int = Field(
        32, ge=1, le=10**8, description="starts per result file; a stopped run repeats at most the files in progress"
    )


class SolverConfig(ConfigModel):
    """The iteration z <- f(z)."""

    max_steps: int = Field(500, ge=1, le=MOST, description="steps after which a start is left as it is")
    tolerance: float = Field(
        1e-5, gt=0, le=1e6, description="a start has converged when ||f(z) - z||^2 is below this (paper, Section 4.1)"
    )
    batch_size: Annotated[int, Field(ge=1, le=10**8)] | Literal["auto"] = Field(
        "auto", description="rows iterated together; auto: by the size of the latent on a CPU, what fits on a GPU"
    )
    max_norm: float = Field(1e6, gt=0, le=1e18, description="a row with a larger latent norm has diverged")
    accelerate: bool = Field(True, description="extrapolate rows that converge linearly")
    far_precision: Literal["auto", "float32", "tf32", "bfloat16"] = Field(
        "auto",
        description="precision far from an end point; auto: tf32 on a GPU. bfloat16 can change where a start ends",
    )
    compile: bool = Field(False, description="torch.compile the map: takes a minute once, then steps are faster")
    certificates: int = Field(
        256, ge=0, le=10**8, description="atoms to certify, largest basins first (spectral radius of the Jacobian)"
    )
    products: int = Field(300, ge=24, le=10**6, description="Jacobian products that one spectral radius may take")
    certificate_dtype: Literal["run", "float64"] = Field(
        "run", description="type in which points are certified; run: that of the iteration"
    )
    exponents: int = Field(
        32, ge=0, le=10**8, description="starts at the step limit to examine: Lyapunov exponent and spectral radius"
    )
    plain_checks: int = Field(
        16, ge=0, le=10**8, description="converged starts to iterate again without acceleration, in full precision"
    )


class DictionaryConfig(ConfigModel):
    """Which end points become atoms."""

    cosine: float = Field(0.99, gt=0, lt=1, description="end points with a larger cosine are one atom")
    euclidean: float = Field(
        0.05,
        gt=0,
        le=1e6,
        description="distance of the second count of atoms, relative to the root mean square norm of the end points",
    )
    outcomes: tuple[Literal["converged", "cycle", "max_steps"], ...] = Field(
        ("converged", "cycle", "max_steps"), max_length=100, description="outcomes of starts that may become atoms"
    )

    @field_validator("outcomes")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one outcome")
        return value


class RunDictionaryConfig(DictionaryConfig):
    """Which end points become atoms, and whose atoms images are coded in."""

    source: Text | None = Field(
        None,
        description="code images in the dictionary of another run instead of this one's: a folder of"
        " ``AttractorDictionary.save_pretrained``, or a hub id of ``probe push``; its latents must have the same shape."
        " The run still finds its own end points",
    )
    revision: Text | None = Field(None, description="branch, tag or commit of that dictionary on the hub")


Distance = Annotated[float, Field(gt=0, le=1e6)]
"""Relative to the square root of d, the typical norm of a start."""


class BasinConfig(ConfigModel):
    """Basins of attraction: how near points must be to end together, and which kick leaves an attractor's basin.

    Distances are relative to sqrt(d), the typical norm of a start.
    """

    probes: int = Field(
        24, ge=0, le=10**7, description="converged starts, the first ones, that get partners nearby; 0: none"
    )
    partners: int = Field(2, ge=1, le=10**4, description="partners of a probe at each separation")
    separations: tuple[Distance, ...] = Field(
        (0.01, 0.03, 0.1, 0.3),
        min_length=1,
        max_length=1000,
        description="distances of partners, relative to sqrt(d), the typical norm of a start",
    )
    attractors: int = Field(
        3, ge=0, le=10**6, description="attractors to kick out of their basins, largest basins first; 0: none"
    )
    directions: int = Field(6, ge=1, le=10**5, description="random directions in which each of them is kicked")
    kicks: tuple[Distance, ...] = Field(
        (0.3, 1.0, 3.0), min_length=1, max_length=1000, description="sizes of kicks, relative to sqrt(d)"
    )
    bisections: int = Field(
        2, ge=0, le=60, description="bisections between the last kick that comes back and the next larger one"
    )

    @field_validator("separations", "kicks")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(value)))


def _exact_number(value: Any) -> Any:
    """Tell 64 (atoms) from 0.05 (a fraction), and refuse what only looks like a number."""
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a level is a number of atoms (an integer) or a fraction of the dimension (below 1)")
    if not math.isfinite(value) or value <= 0 or value > (1 if isinstance(value, float) else MOST):
        raise ValueError("a level is a positive number of atoms or a fraction in (0, 1]")
    return value


def _number(text: str) -> int | float | str:
    """An int for digits alone, a float for another number, else the text."""
    if text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _known_control(name: str) -> str:
    if name not in (known := controls()):
        raise ValueError(f"unknown control; controls are {', '.join(known)}, and those of installed plug-ins")
    return name


Level = Annotated[int | float, BeforeValidator(_exact_number), Field(gt=0, le=MOST)]
Control = Annotated[Name, AfterValidator(_known_control)]
"""The name of a method in ``probe.methods``, attractors apart."""


class SparseConfig(ConfigModel):
    """The sparse reconstructions of images."""

    levels: tuple[Level, ...] = Field(
        (4, 8, 16, 32, 64, 128, 256),
        max_length=1000,
        description="levels of sparsity: integers are atoms, fractions are of the latent dimension d; 5 % of d is"
        " always added",
    )
    controls: tuple[Control, ...] = Field(
        default_factory=default_controls,
        max_length=100,
        description="dictionaries to compare with, by name; default: all but those of plug-ins",
    )
    centre: Literal["none", "end_points", "heldout"] = Field(
        "none",
        description="a mean that is subtracted from the latents before they are coded, and added again to decode them:"
        " of the dictionary's end points, or of the latents of each data set's held-out images; it counts as no atom."
        " Points that dictionaries are made of then lose their own mean. none: the paper",
    )
    random_bases: int = Field(5, ge=1, le=1000, description="random orthogonal bases to draw; their spread is reported")
    dtype: Literal["auto", "float32", "float64"] = Field(
        "float64",
        description="type of the pursuit; auto: float32 if every greedy path is short enough for it"
        " (probe.sparse.working_dtype)",
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


class DatasetConfig(ConfigModel):
    """A set of images. A data set named like a preset takes from the preset what is not set here."""

    source: Text | None = Field(
        None,
        description="``hub:ID`` or ``hub:ID/FILES``, ``parquet:PATH`` (a file, folder or pattern), ``folder:PATH``,"
        " ``saved:PATH`` (of save_to_disk), ``webdataset:PATH`` (a .tar file, a folder or a pattern), ``bundled:NAME``,"
        " ``urls:ID-or-parquet`` (a column of image addresses), or a path alone",
    )
    config: Text | None = Field(None, description="configuration (subset) of a hub data set")
    split: Split = Field("test", description="split of a hub or saved data set, or several: ``train+test`` or a list")
    column: Text | None = Field(
        None, description="column that holds the images, or their suffix in shards; default: found"
    )
    revision: Text | None = Field(None, description="branch, tag or commit on the hub")
    balance: Text | None = Field(
        None,
        description="column of classes, to draw the same number of images of each; ``label`` for a folder's subfolders",
    )
    n: int = Field(500, ge=1, le=MOST, description="test images, drawn with the seed")
    holdout: int = Field(500, ge=0, le=MOST, description="further images, for the PCA oracle and the mean image")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the draw")

    @model_validator(mode="before")
    @classmethod
    def _bare_source(cls, data: Any) -> Any:
        """``cats: folder:imgs/cats`` means that source."""
        return {"source": data} if isinstance(data, str) else data


class TrackersConfig(ConfigModel):
    """Experiment trackers that follow the work, through Accelerate; results do not depend on them."""

    log_with: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        (), max_length=100, description="trackers to log to; each needs its package, an extra of this one"
    )
    project: Text = Field(
        "probe", description="project in Weights & Biases or trackio (TensorBoard writes into the run's folder)"
    )
    name: Text | None = Field(None, description="name of the run in a tracker; default: that of its folder")


def file_names(value: dict[str, T], what: str = "data set") -> dict[str, T]:
    """The same data sets (``what`` is named); ValueError if a name cannot be a file name, or two names are one file on
    some systems."""
    files: dict[str, str] = {}
    for name in value:
        other = files.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise ValueError(f"{what} names {other!r} and {name!r} are one file name on some systems: rename one")
        if len(name.encode(errors="replace")) > LONGEST_NAME:
            raise ValueError(f"{what} name {shortened(name, 40)!r} becomes a file name: at most {LONGEST_NAME} bytes")
        if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
            raise ValueError(f"{what} name {short(name)} becomes a file name: use letters, digits, '-', '_' and '.'")
    return value


class Tracked(ConfigModel):
    """What all kinds of work have."""

    trackers: TrackersConfig = Field(TrackersConfig(), description="experiment trackers")

    def settings(self) -> dict[str, Any]:
        """Everything that results depend on, as JSON: all but the trackers."""
        return self.model_dump(mode="json", exclude={"trackers"})


class ClipConfig(ConfigModel):
    """Semantics by open_clip (the extra ``clip``): similarity of reconstructions, labels of end points."""

    model: Text = Field(
        "ViT-B-32",
        description="a model name of open_clip, ``hf-hub:owner/name``, or ``local-dir:FOLDER`` (open_clip_config.json"
        " and *.safetensors)",
    )
    pretrained: Text | None = Field(
        "laion2b_s34b_b79k",
        description="weights that open_clip knows for the model (openai, laion2b_s34b_b79k), or a .safetensors file",
    )
    labels: Text | Annotated[tuple[Text, ...], Field(max_length=100_000)] | None = Field(
        None, description="words, or a text file with one word per line, to label end points with; default: bundled"
    )
    batch_size: int = Field(64, ge=1, le=10**6, description="images that CLIP embeds at once")


class PerceptualConfig(ConfigModel):
    """Perceptual metrics (the extra ``perceptual``): LPIPS of image pairs, and rFID of whole sets.

    Where weights are absent, the metric is left out and the rest is reported. Nothing is downloaded.
    """

    network: Literal["alex", "vgg"] = Field("alex", description="network of LPIPS: AlexNet or VGG16")
    lpips: Text | None = Field(
        None,
        description="file with the weights of LPIPS' network, .safetensors or .pth, with torchvision's names; default:"
        " torch's cache (TORCH_HOME)",
    )
    inception: Text | None = Field(
        None,
        description="file with the weights of FID's Inception, .safetensors or .pth, as torch-fidelity names them;"
        " default: torch's cache",
    )


class Config(Tracked):
    """The configuration of a run (``probe run``)."""

    model: ModelConfig = Field(ModelConfig(), description="the autoencoder")
    resolution: int = Field(32, ge=1, le=LARGEST_SIDE, description="side of the images, in pixels")
    seeds: SeedConfig = Field(SeedConfig(), description="the Gaussian starts")
    solver: SolverConfig = Field(SolverConfig(), description="the iteration z <- f(z)")
    dictionary: RunDictionaryConfig = Field(
        RunDictionaryConfig(), description="which end points become atoms, and whose atoms images are coded in"
    )
    basins: BasinConfig = Field(BasinConfig(), description="basins of attraction, from two attractors on")
    sparse: SparseConfig = Field(default_factory=SparseConfig, description="the sparse reconstructions")
    datasets: Annotated[dict[Name, DatasetConfig], AfterValidator(file_names)] = Field(
        default_factory=dict, max_length=1000, description="image sets by name; a preset's name is enough"
    )
    clip: ClipConfig | None = Field(None, description="semantics by CLIP; default: none")
    perceptual: PerceptualConfig | None = Field(
        None, description="LPIPS and rFID; default: none (`probe quality`: both)"
    )

    @model_validator(mode="after")
    def _heldout_to_centre_on(self) -> Self:
        bare = [name for name, one in self.datasets.items() if one.holdout == 0]
        if self.sparse.centre == "heldout" and bare:
            raise ValueError(f"sparse.centre is heldout: set datasets.{bare[0]}.holdout above 0")
        return self


def load_config(path: str | Path | None, overrides: typing.Iterable[str] = ()) -> Config:
    """Read a YAML file and apply ``dotted.key=value`` overrides.

    Raises:
        UserError: the file is missing or no YAML mapping, a key is unknown (the nearest is named), a value is wrong.
    """
    return parse_config(read_yaml(path, overrides))


def parse_config(data: dict[str, Any]) -> Config:
    """Validate a mapping; see ``load_config``."""
    return validated(Config, data)


def read_yaml(path: str | Path | None, overrides: typing.Iterable[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with ``dotted.key=value`` overrides; see ``load_config`` for the errors.

    Scalars are text (see ``probe.reading.parse_yaml``): the fields of the configuration give them their types.
    """
    data: Any = {} if path is None else parse_yaml(read_text(Path(path), YAML_BYTES), path)
    if data is None:
        raise UserError(f"config {path} is empty; write at least one key, or {{}} to take every default.")
    if not isinstance(data, dict):
        raise UserError(f"config {path} must be a mapping of keys to values, not {short(data)}.")
    for override in overrides:
        key, equals, text = override.partition("=")
        shown = f"--set {short(override)}"
        if not equals or not all(key.strip().split(".")):
            raise UserError(f"{shown} must read dotted.key=value, for example --set solver.max_steps=100.")
        assign(data, key.strip(), parse_yaml(text, shown), shown)
    return data


def validated(model: type[M], data: dict[str, Any]) -> M:
    """Validate a mapping against a pydantic model; a mistake is a UserError of one sentence."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise mistaken(error, model) from None


def assign(data: dict[str, Any], key: str, value: Any, shown: str) -> None:
    """Set a dotted key of a mapping; ``shown`` names it in the UserError for a key below a value."""
    *parents, last = key.split(".")
    for parent in parents:
        if data.get(parent) is None:
            data[parent] = {}
        data = data[parent]
        if not isinstance(data, dict):
            raise UserError(f"{shown}: {short(parent)} holds a value, not keys.")
    data[last] = value
