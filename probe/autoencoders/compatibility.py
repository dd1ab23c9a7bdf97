"""Small autoencoders with random weights, and which classes have a latent map: each is saved, loaded and iterated."""

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from probe.autoencoders import load_autoencoder
from probe.autoencoders.adapter import adapted, autoencoder_classes, why_undefined
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.coordinates import RULES
from probe.autoencoders.pipelines import RAW, with_settings
from probe.config import ModelConfig
from probe.dynamics import LatentMap
from probe.errors import UserError

RESOLUTION = 32
STEPS = 5
"""Applications of f whose results must be finite."""


@dataclass(frozen=True)
class Compatibility:
    """A class. status: ``works``; ``undefined`` (no f); ``untested`` (no small configuration); ``fails``.

    input, latent: shapes in the test; empty if nothing was built. scaled: how raw latents z become scaled ones.
    """

    name: str
    status: Literal["works", "undefined", "untested", "fails"]
    kind: str = ""
    input: tuple[int, ...] = ()
    latent: tuple[int, ...] = ()
    reason: str = ""
    scaled: str = ""


@cache
def small_configurations() -> dict[str, dict[str, Any]]:
    """For each class in small.yaml: ``config``, and if needed ``resolution``, ``frames``, ``samples``."""
    return yaml.safe_load((files("probe") / "autoencoders" / "small.yaml").read_text())


def why_untested(name: str) -> str | None:
    """Why a class with a latent map cannot be built small here; None where it can."""
    if name == "AutoencoderRAE" and find_spec("transformers") is None:
        return "needs the package transformers, which is not installed"
    if name not in small_configurations():
        return "its methods follow the conventions, but there is no small configuration to test"
    return None


def small_classes() -> list[str]:
    """Classes with a latent map, a small configuration, and all packages they need; sorted."""
    return sorted(
        name for name, cls in autoencoder_classes().items() if not why_undefined(cls) and not why_untested(name)
    )


def untrained(name: str, config: dict[str, Any], *, seed: int, **lengths: int) -> Autoencoder:
    """A model with the weights that its constructor draws after ``torch.manual_seed(seed)``; on the CPU.

    Args:
        name: a class of diffusers' autoencoders, or ours.
        config: arguments of its constructor.
        lengths: ``frames`` or ``samples``, as in ``ModelConfig``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = autoencoder_classes()[name](**config)
    return adapted(model, ModelConfig(source=name, device="cpu", **lengths))


def compatibility() -> Iterator[Compatibility]:
    """Every autoencoder class of the installed diffusers, and ours, sorted by name."""
    for name, cls in sorted(autoencoder_classes().items()):
        if reason := why_undefined(cls):
            yield Compatibility(name, "undefined", reason=reason)
        elif reason := why_untested(name):
            yield Compatibility(name, "untested", reason=reason)
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield _tried(cls, Path(folder), **small_configurations()[name])


def _tried(
    cls: Any, folder: Path, config: dict[str, Any], resolution: int = RESOLUTION, **lengths: int
) -> Compatibility:
    """Save one with random weights, load it as a user would, and apply f a few times."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")  # about sizes that nobody would train
        try:
            torch.manual_seed(0)
            cls(**config).save_pretrained(folder)
            maps = []
            for quantisation in ("continuous", "quantised"):
                spec = ModelConfig(source=str(folder), device="cpu", quantisation=quantisation, **lengths)
                model = load_autoencoder(spec)
                shape = model.latent_shape(resolution)
                _iterate(model, shape)
                if model.quantisation is None:
                    break
                maps.append(model.quantisation)
            scaled = _scaled(cls, config, folder / "scaled", resolution, shape, lengths)
        except UserError as error:
            return Compatibility(cls.__name__, "fails", reason=str(error).replace(str(folder), "it"))
        except Exception as error:  # any type, from a class whose settings have changed
            return Compatibility(cls.__name__, "fails", reason=f"{type(error).__name__}: {error}".splitlines()[0])
    note = f"maps: {', '.join(maps)}" if maps else ""
    return Compatibility(cls.__name__, "works", model.kind, model.sample_shape(resolution), shape, note, scaled)


def _scaled(
    cls: Any, config: dict[str, Any], folder: Path, resolution: int, shape: tuple[int, ...], lengths: dict[str, int]
) -> str:
    """The rule of scaled latents, once it agrees with the class's pipeline; or why scaled latents are refused."""
    with_settings(cls, config, shape[0]).save_pretrained(folder)
    raw, scaled = (ModelConfig(source=str(folder), device="cpu", latents=name, **lengths) for name in ("raw", "scaled"))
    if cls.__name__ not in RULES:
        try:
            load_autoencoder(scaled)
        except UserError as error:
            return f"refused: {str(error).split(' is not known: ')[1].partition(';')[0]}"
        raise UserError("latents are scaled by no rule.")
    one, other = load_autoencoder(raw), load_autoencoder(scaled)
    x = 0.5 * torch.rand(1, *one.sample_shape(resolution))
    z, s = one.encode(x), other.encode(x)
    for found, expected in ((RAW[cls.__name__](s, one.modules[0]), z), (other.decode(s), one.decode(z))):
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
            raise UserError("scaled latents are not those of the class's pipeline.")
    return str(RULES[cls.__name__])


def _iterate(model: Any, shape: tuple[int, ...]) -> None:
    f, z = LatentMap(model), torch.randn(2, *shape)
    # In a batch of the same size: other kernels compute a batch of one, and random weights can amplify rounding.
    beside_another = f(torch.cat([z[:1], torch.randn_like(z[1:])]))
    if not torch.allclose(f(z)[:1], beside_another[:1], rtol=1e-5, atol=1e-6):
        raise UserError("rows of a batch are not independent: f of one start depends on the others.")
    for _ in range(STEPS):
        z = f(z)
    if not z.isfinite().all() or z.shape[1:] != shape:
        raise UserError(f"after {STEPS} steps the latent is not finite, or has another shape.")


def markdown(rows: Iterable[Compatibility]) -> str:
    """The table as a Markdown page."""
    import diffusers

    lines = [
        "# Autoencoders",
        "",
        f"Written by `probe models --markdown` with diffusers {diffusers.__version__}, and kept up to date by a test.",
        "Each class that works was built small with random weights, saved and loaded as a user would. f was applied 5",
        "times, with finite results and independent rows. Classes of a later diffusers follow the same conventions.",
        "",
        "Scaled latents (`model.latents: scaled`) are what the class's diffusion pipelines compute from z, the latent",
        "that encode returns, with its `scaling_factor`, `shift_factor`, mean and deviation per channel. Each rule was",
        "compared with the pipelines' own arithmetic. Scaled latents without a known rule are refused.",
        "",
        "| class | kind | f | input here | latent here | scaled latents | remarks |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = [" x ".join(map(str, shape)) for shape in (row.input, row.latent)]
        cells = [f"`{row.name}`", row.kind, row.status, *sizes, row.scaled, row.reason]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
