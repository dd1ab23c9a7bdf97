"""Scaled latents: the coordinates in which the diffusion pipelines of each class work, and their inverse."""

import sys
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from probe.errors import UserError


@dataclass(frozen=True, eq=False)
class Coordinates:
    """scaled = (raw - offset) * factor / std, and raw = scaled * std / factor + offset.

    Attributes:
        factor: a positive number.
        offset, std: numbers, or tensors (1, c, 1, ...) that broadcast over a batch of latents: (1, c, 1, bins) for
            spectrograms; (c, 2, 2), repeated over h and w, for a class with statistics per patch.
    """

    factor: float = 1.0
    offset: Tensor | float = 0.0
    std: Tensor | float = 1.0

    def scaled(self, z: Tensor) -> Tensor:
        """Raw latents (n, c, ...) in scaled coordinates."""
        z = (z - _over(self.offset, z)) * self.factor
        return z / _over(self.std, z) if isinstance(self.std, Tensor) else z

    def raw(self, z: Tensor) -> Tensor:
        """The inverse of ``scaled``."""
        z = z * _over(self.std, z) if isinstance(self.std, Tensor) else z
        return z / self.factor + _over(self.offset, z)


def _over(value: Tensor | float, z: Tensor) -> Tensor | float:
    """The value, broadcastable over latents, with z's type and device; patches are repeated."""
    if not isinstance(value, Tensor):
        return value
    given, value = value, value.to(z)
    if value.ndim == 3:  # (c, 2, 2): a statistic for each place of a patch
        value = value.repeat(1, z.shape[-2] // value.shape[1], z.shape[-1] // value.shape[2])[None]
    elif value.ndim == 2 and z.ndim >= 2:
        value = value.view(1, -1, *(1,) * (z.ndim - 2))
    if value.ndim != z.ndim or any(a not in (1, b) for a, b in zip(value.shape, z.shape, strict=True)):
        raise UserError(
            f"the mean and deviation of the model's latents have {given.numel()} values, which do not fit latents of "
            f"shape {tuple(z.shape[1:])}; use model.latents=raw."
        )
    return value


@dataclass(frozen=True)
class Rule:
    """What the pipelines of a class do to its latents.

    Attributes:
        factor, shift: whether they use ``scaling_factor`` and ``shift_factor``.
        statistics: where the mean and deviation are: in ``config`` (latents_mean, latents_std), in ``buffers`` of these
            names (``bins``: per channel and bin), in the batch norm ``bn`` over patches of 2 x 2; None: nowhere.
        optional: whether the statistics may be absent.
        remark: for the table.
    """

    factor: bool = False
    shift: bool = False
    statistics: Literal["config", "buffers", "bins", "bn"] | None = None
    optional: bool = False
    remark: str = ""

    def __str__(self) -> str:
        factor = " * factor" if self.factor else ""
        standardised = f"(z - mean){factor} / std"
        if self.statistics and not self.optional:
            text = standardised
        else:
            text = f"{'(z - shift)' if self.shift else 'z'}{factor}"
        more = f"; with statistics {standardised}" if self.optional else ""
        return f"{text}{more}{'; ' + self.remark if self.remark else ''}"


SCALED = (
    "AsymmetricAutoencoderKL", "AutoencoderDC", "AutoencoderKLAllegro", "AutoencoderKLCogVideoX",
    "AutoencoderKLHunyuanImage", "AutoencoderKLHunyuanImageRefiner", "AutoencoderKLHunyuanVideo",
    "AutoencoderKLHunyuanVideo15", "AutoencoderKLMagvit", "AutoencoderKLTemporalDecoder", "Kandinsky6SRVAE", "VQModel",
)  # fmt: skip
STANDARDISED = (
    "AutoencoderKLMiniMaxH3", "AutoencoderKLMiniMaxH3Audio", "AutoencoderKLQwenImage", "AutoencoderKLQwenImage21",
    "AutoencoderKLWan",
)  # fmt: skip
AS_IT_IS = ("AutoencoderOobleck", "AutoencoderSAME", "Cosmos3AVAEAudioTokenizer")
RULES: dict[str, Rule] = {
    **dict.fromkeys(SCALED, Rule(factor=True)),
    **dict.fromkeys(STANDARDISED, Rule(statistics="config")),
    **dict.fromkeys(AS_IT_IS, Rule(remark="pipelines take it as it is")),
    "AutoencoderKL": Rule(factor=True, shift=True, statistics="config", optional=True),
    "AutoencoderKLFlux2": Rule(statistics="bn", remark="per channel of 2 x 2 patches"),
    "AutoencoderKLLTX2Audio": Rule(statistics="bins", remark="per channel and bin"),
    "AutoencoderKLLTX2Video": Rule(factor=True, statistics="buffers"),
    "AutoencoderKLLTXVideo": Rule(factor=True, statistics="buffers"),
    "AutoencoderKLMochi": Rule(factor=True, statistics="config", optional=True),
    "AutoencoderRAE": Rule(remark="encode normalises"),
    "AutoencoderTiny": Rule(factor=True, shift=True),
    "LongCatAudioDiTVae": Rule(remark="encode divides by its scale"),
}
"""Scaled latents from raw ones, z, as the pipelines of diffusers 0.42 compute them for each class."""
NO_RULE = {
    "AutoencoderKLCosmos": "its pipelines multiply by sigma_data, which is a setting of their scheduler",
}
"""Classes with a rule in a pipeline that the autoencoder's own files do not determine: the reason."""
LACKING = "config.json has no {}, which scaled latents need; use model.latents=raw."


def coordinates_of(model: Any, there: str) -> Coordinates:
    """The scaled coordinates of a model of diffusers.

    Raises:
        UserError: no rule is known for its class, or its configuration lacks a setting that the rule needs, or has one
            that the rule does not use.
    """
    name = type(model).__name__
    rule = RULES.get(name)
    if rule is None:
        reason = NO_RULE.get(name, "no pipeline of diffusers uses it")
        raise UserError(f"{there}: the scaling of latents of {name} is not known: {reason}; use model.latents=raw.")
    factor, shift = (number(model.config, key, there) for key in ("scaling_factor", "shift_factor"))
    if rule.factor and factor is None:
        raise UserError(f"{there}: {LACKING.format('scaling_factor')}")
    mean, std = _statistics(model, rule, there)
    own = name == "AutoencoderRAE"  # its encode uses these settings
    needless = ["scaling_factor"] if factor not in (None, 1.0) and not (rule.factor or own) else []
    if shift and not rule.shift:
        needless.append("shift_factor")
    if not (rule.statistics or own):
        needless += [key for key in ("latents_mean", "latents_std") if model.config.get(key) is not None]
    if mean is not None and shift:
        needless.append("shift_factor beside latents_mean")
    if needless:
        raise UserError(f"{there}: config.json has {needless[0]}, which no pipeline uses here; use model.latents=raw.")
    scale = factor if rule.factor and factor is not None else 1.0
    if mean is None or std is None:
        return Coordinates(scale, shift or 0.0)
    return Coordinates(scale, mean, std)


def _statistics(model: Any, rule: Rule, there: str) -> tuple[Tensor | None, Tensor | None]:
    """Mean and deviation by the rule, broadcastable."""
    if rule.statistics is None:
        return None, None
    if rule.statistics == "bn":
        mean, std = model.bn.running_mean, torch.sqrt(model.bn.running_var + model.config.batch_norm_eps)
        mean, std = (value.view(-1, 2, 2) for value in (mean, std))
    elif rule.statistics == "config":
        found = [statistics(model.config, key, there) for key in ("latents_mean", "latents_std")]
        if None in found:
            if rule.optional and found == [None, None]:
                return None, None
            key = "latents_mean" if found[0] is None else "latents_std"
            raise UserError(f"{there}: {LACKING.format(key)}")
        mean, std = (torch.tensor(value).view(1, -1) for value in found)
    else:
        mean, std = model.latents_mean, model.latents_std
        shape: tuple[int, ...] = (1, -1)
        if rule.statistics == "bins" and mean.numel() % model.config.latent_channels == 0:
            shape = (1, model.config.latent_channels, 1, -1)  # pipelines pack a column as (channel, bin)
        mean, std = (value.view(*shape) for value in (mean, std))
    if not (mean.isfinite().all() and std.isfinite().all() and (std > 0).all()):
        raise UserError(f"{there}: the mean and deviation of its latents must be finite, and the deviation above 0.")
    return mean, std


def number(settings: Any, key: str, there: str) -> float | None:
    """``scaling_factor`` (above 0) or ``shift_factor`` of a configuration, or None; UserError if not finite."""
    value = settings.get(key)
    if value is None:
        return None
    check_number(value, key, there, positive=key == "scaling_factor")
    return float(value)


def check_number(value: Any, key: str, there: str, *, positive: bool = False) -> None:
    """UserError for a value that is not a finite number (above 0 if ``positive``)."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) <= sys.float_info.max or (positive and value <= 0):
        kind = "a finite number above 0" if positive else "a finite number"
        raise UserError(f"{there}: {key} must be {kind}, not {repr(value)[:40]}; correct it in the configuration.")


def statistics(settings: Any, key: str, there: str) -> tuple[float, ...] | None:
    """``latents_mean`` or ``latents_std`` per channel, or None; UserError unless finite (and a deviation above 0)."""
    value = settings.get(key)
    if value is None:
        return None
    try:
        found = torch.as_tensor(value, dtype=torch.float32).flatten()  # as pipelines have them
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UserError(f"{there}: {key} must be a list of numbers; correct it in config.json.") from None
    if not len(found) or not found.isfinite().all() or (key == "latents_std" and (found <= 0).any()):
        kind = "finite numbers above 0" if key == "latents_std" else "finite numbers"
        raise UserError(f"{there}: {key} must hold {kind} only; correct it in config.json.")
    return tuple(found.tolist())
