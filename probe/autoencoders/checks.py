"""Checks of a loaded autoencoder, before hours are spent on it."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from probe.autoencoders.coordinates import check_number
from probe.errors import UserError

if TYPE_CHECKING:
    from probe.autoencoders.base import Autoencoder

ROWS = 2
"""Inputs that E and D are tried on: the fewest that can disturb each other."""
SAME_TWICE = 1e-2
SAME_ROW = 1e-3
"""Changes, relative to the latents' mean size, from which f counts as random, or a row as dependent on its neighbour.
Batches of one size are computed by the same kernels, so rounding is far below."""


def check_loaded(model: "Autoencoder") -> None:
    """Refuse weights that are not finite, and an invalid scaling or pixel range; UserError names it."""
    for module in model.modules:
        check_finite(module, model.source)
    check_number(model.scaling_factor, "scaling_factor", model.source, positive=True)
    check_number(model.shift_factor, "shift_factor", model.source, positive=False)
    low, high = model.image_range
    for value in (low, high):
        check_number(value, "each end of image_range", model.source, positive=False)
    if low >= high:
        raise UserError(
            f"{model.source}: image_range must go from a smaller to a larger pixel value, not from {low:g} to {high:g}."
        )


def check_finite(module: nn.Module, source: str) -> None:
    """Refuse weights with NaN or infinity; UserError names the first such tensor."""
    buffers = {name for name, _ in module.named_buffers()}
    bad = [name for name, value in module.state_dict().items() if _is_bad(value, mask=name in buffers)]
    if bad:
        raise UserError(
            f"{source}: the weights are not finite: {bad[0]} has NaN or infinity ({len(bad)} tensor"
            f"{'s' * (len(bad) > 1)} in all); use an intact copy, or model.dtype=float64 if they exceed float32."
        )


def _is_bad(value: Any, *, mask: bool) -> bool:
    """NaN or infinity; in a buffer only NaN, since masks hold -inf."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return bool(value.isnan().any() if mask else not value.isfinite().all())


@torch.no_grad()
def checked_latent_shape(model: "Autoencoder", resolution: int) -> tuple[int, ...]:
    """The shape of one latent; UserError unless f maps finite latents to finite latents of that shape, row by row."""
    shape = model.sample_shape(resolution)
    if model.downsampling and resolution % model.downsampling:
        raise UserError(
            f"resolution {resolution} is not divisible by {model.downsampling}, the downsampling of {model.source}; "
            f"use {max(resolution // model.downsampling, 1) * model.downsampling}, for example."
        )
    x = _inputs(model, shape)
    z = _rows(model, "encode", x, "an input")
    if z.ndim < 2:
        raise UserError(
            f"{model.source}: encode of a batch of {ROWS} returned the shape {tuple(z.shape)}; a latent has at least "
            "one dimension beside that of the batch."
        )
    _check_type(model, x, z, z)
    _check_same(model, "encode", z, _called(model, "encode", torch.stack([x[0], x[0]])), row=0)
    y = _rows(model, "decode", z, "the latent of an input")
    _check_type(model, x, z, y)
    if y.shape != x.shape:
        what = "image" if model.kind == "image" else f"input ({model.kind})"
        raise UserError(
            f"{model.source} decodes the latent {_of_one(z)} of an {what} {_of_one(x)} to an {what} {_of_one(y)}; a "
            f"reconstruction needs the same size: try {_other_size(model, y)}."
        )
    again = _rows(model, "encode", y, "a reconstruction")
    if again.shape != z.shape:
        raise UserError(
            f"the shapes of {model.source} do not close at resolution {resolution}: encode gives {_of_one(z)}, and "
            f"encode(decode(z)) {_of_one(again)}; f(z) = E(D(z)) needs them equal."
        )
    _check_map(model, z, again)
    return tuple(z.shape[1:])


def _inputs(model: "Autoencoder", shape: tuple[int, ...]) -> Tensor:
    """Two plain inputs that rise from the smallest value, to the middle and to the largest."""
    low, high = model.image_range if model.kind != "audio" else (-0.5, 0.5)
    ramp = torch.linspace(low, high, torch.Size(shape).numel(), dtype=model.dtype).view(shape)
    return torch.stack([low + (ramp - low) / 2, ramp]).to(model.device)


def _called(model: "Autoencoder", verb: str, value: Tensor) -> Tensor:
    """The output of E or D; whatever a user's code raises or returns instead of a tensor becomes one sentence."""
    try:
        result = getattr(model, verb)(value)
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{model.source} cannot {verb} a tensor of shape {tuple(value.shape)}: {reason}") from error
    if not isinstance(result, Tensor):
        raise UserError(f"{model.source}: {verb} must return a tensor, not a {type(result).__name__}.")
    if not result.is_floating_point() or result.layout is not torch.strided or result.device != value.device:
        raise UserError(
            f"{model.source}: {verb} must return a dense tensor of floating-point numbers on {value.device}, not "
            f"{_name(result.dtype)}, {_name(result.layout)}, on {result.device}."
        )
    return result


def _rows(model: "Autoencoder", verb: str, value: Tensor, what: str) -> Tensor:
    """The output of E or D: finite, with a row for each row."""
    result = _called(model, verb, value)
    if result.ndim < 1 or len(result) != ROWS:
        raise UserError(
            f"{model.source}: {verb} of a batch of {ROWS} returned the shape {tuple(result.shape)}; the first "
            f"dimension must be that of the batch, {ROWS}."
        )
    if not result.numel():
        raise UserError(f"{model.source}: {verb} returned an empty tensor of shape {tuple(result.shape)}.")
    if not result.isfinite().all():
        advice = "use model.dtype=float64" if model.dtype == torch.float32 else "check the weights"
        raise UserError(f"{model.source}: {verb} of {what} gives NaN or infinity ({_name(result.dtype)}); {advice}.")
    return result


def _check_type(model: "Autoencoder", x: Tensor, z: Tensor, found: Tensor) -> None:
    if found.dtype != model.dtype:
        raise UserError(
            f"{model.source} turns {x.dtype} images into {z.dtype} latents and {found.dtype} images; it must keep the "
            "type, since fixed points of a coarser type are rounding."
        )


def _check_map(model: "Autoencoder", z: Tensor, again: Tensor) -> None:
    """f returns the same twice, and for each row whatever its neighbour is."""
    # Not bit by bit: some CUDA kernels add up in any order.
    if not _close(again, _f(model, z), SAME_TWICE):
        raise UserError(
            f"{model.source} maps one latent to two different ones; encode and decode must be deterministic (the "
            "mode of a posterior, not a sample; dropout off), or f has no fixed points."
        )
    other = torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(z)
    for row in range(ROWS):
        beside = torch.stack([z[i] if i == row else other for i in range(ROWS)])
        _check_same(model, "f", again, _f(model, beside), row)


def _check_same(model: "Autoencoder", name: str, found: Tensor, beside_another: Tensor, row: int) -> None:
    if not _close(found[row : row + 1], beside_another[row : row + 1], SAME_ROW):
        raise UserError(
            f"{model.source}: the rows of a batch are not independent: {name} of one row depends on the row beside it; "
            "encode and decode must treat each row by itself, in order."
        )


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    size = tolerance * float(one.abs().mean()) + 1e-8
    return one.shape == other.shape and torch.allclose(one, other, rtol=tolerance, atol=size)


def _f(model: "Autoencoder", z: Tensor) -> Tensor:
    return _called(model, "encode", _called(model, "decode", z))


def _of_one(batch: Tensor) -> tuple[int, ...]:
    return (1, *batch.shape[1:])


def _name(dtype: torch.dtype | torch.layout) -> str:
    return str(dtype).removeprefix("torch.")


def _other_size(model: "Autoencoder", decoded: Tensor) -> str:
    """The setting for which the shapes are likely to agree."""
    if model.kind == "audio":
        return f"model.samples={decoded.shape[2]}" if decoded.ndim >= 3 else "other model.samples"
    if model.kind == "video" and decoded.ndim == 5 and decoded.shape[2] != model.length:
        return f"model.frames={decoded.shape[2]}"
    return "another resolution"
