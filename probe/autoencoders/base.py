"""The object that the rest of the tool works on: an encoder, a decoder, their properties, and checks of the map f that
they make, before hours are spent on it."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.autoencoders.coordinates import Coordinates, check_number
from probe.errors import UserError, reason_of
from probe.files import tensors_sha256

SAME = 1e-3
"""Change, relative to the mean size, from which two calls with one input count as random, or a row as dependent on its
neighbour. Batches of one size are computed by the same kernels, so rounding is far below; not bit by bit, since some
CUDA kernels add up in any order."""


@dataclass(frozen=True)
class Autoencoder:
    """A pretrained autoencoder.

    Attributes:
        source: where it came from, as the user named it.
        class_name: its class, for reports.
        encoder: x (n, channels, ...) in image_range -> z (n, ...) in raw coordinates; the posterior mode.
        decoder: z in raw coordinates -> x.
        modules: the modules that hold the weights.
        image_range: smallest and largest pixel value.
        scaling_factor, shift_factor, latents_mean, latents_std: of the configuration, the latter two per channel.
        latents: ``raw`` or ``scaled``: the coordinates of ``encode`` and ``decode``.
        coordinates: the scaled ones, by the rule of the class; None: (raw - shift_factor) * scaling_factor.
        warnings: sentences on unused weights.
        rows: how many rows were encoded and decoded so far; those of compiled code are not counted.
        downsampling: H / h if known beforehand, otherwise None.
        kind: ``image`` (n, channels, H, W), ``video`` (n, channels, length, H, W) or ``audio`` (n, channels, length).
        channels: of an input. side: of an image, if the model takes only one. length: frames or samples.
        quantisation: for models with a code book, ``continuous`` (D quantises z) or ``quantised`` (E does); else None.
        bins: of a spectrogram, for audio models that take (n, channels, length, bins).
        code_sha256: of the file with a user's own function; None for other sources.
        revision: the commit on the hub that the files are of; None for other sources.
    """

    source: str
    class_name: str
    encoder: Callable[[Tensor], Tensor]
    decoder: Callable[[Tensor], Tensor]
    modules: tuple[nn.Module, ...]
    image_range: tuple[float, float] = (-1.0, 1.0)
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    latents: str = "raw"
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    downsampling: int | None = None
    kind: str = "image"
    channels: int = 3
    side: int | None = None
    length: int | None = None
    quantisation: str | None = None
    bins: int | None = None
    code_sha256: str | None = None
    revision: str | None = None
    coordinates: Coordinates | None = None
    warnings: tuple[str, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    rows: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    def encode(self, x: Tensor) -> Tensor:
        """Inputs to latents, in the coordinates named by ``latents``; differentiable."""
        self._count("encode", x)
        z = self.encoder(x)
        return self._scaling.scaled(z) if self.latents == "scaled" else z

    def decode(self, z: Tensor) -> Tensor:
        """Latents to inputs, not clamped; the inverse coordinates of ``encode``; differentiable."""
        self._count("decode", z)
        return self.decoder(self._scaling.raw(z) if self.latents == "scaled" else z)

    def _count(self, verb: str, value: Tensor) -> None:
        if not torch.compiler.is_compiling():  # a counter in compiled code would be compiled again at every value
            self.rows[verb] += len(value)

    @property
    def _scaling(self) -> Coordinates:
        return self.coordinates or Coordinates(self.scaling_factor, self.shift_factor)

    @property
    def sample_size(self) -> int | None:
        """The side of images for which it was made, as its configuration says; None if it says none."""
        for module in self.modules:
            side = getattr(getattr(module, "config", None), "sample_size", None)
            if isinstance(side, int) and side > 0:
                return side
        return None

    def sample_shape(self, resolution: int) -> tuple[int, ...]:
        """The shape of one input: (channels, R, R), (channels, frames, R, R) or (channels, samples).

        Raises:
            UserError: the model takes only another resolution.
        """
        if self.kind == "audio":
            return (self.channels, self.length or 1, *([self.bins] if self.bins else []))
        if self.side not in (None, resolution):
            raise UserError(
                f"{self.source} takes images of side {self.side} only, not {resolution}; set resolution={self.side}."
            )
        size = (resolution, resolution)
        return (self.channels, self.length or 1, *size) if self.kind == "video" else (self.channels, *size)

    def check_resolution(self, resolution: int) -> tuple[int, ...]:
        """``sample_shape``, if the model can halve the resolution as often as it does.

        Raises:
            UserError: the resolution does not suit the model.
        """
        shape = self.sample_shape(resolution)
        if self.downsampling and resolution % self.downsampling:
            raise UserError(
                f"resolution {resolution} is not divisible by {self.downsampling}, the downsampling of {self.source}; "
                f"use {max(resolution // self.downsampling, 1) * self.downsampling}, for example."
            )
        return shape

    def from_pixels(self, images: Tensor) -> Tensor:
        """uint8 images (n, 3, R, R) as inputs in the model's range, type and device; a video repeats the image.

        Raises:
            UserError: the model does not take colour images.
        """
        self.must_take_images()
        low, high = self.image_range
        x = images.to(self.device, self.dtype) / 255 * (high - low) + low
        return x[:, :, None].expand(-1, -1, self.length or 1, -1, -1) if self.kind == "video" else x

    def must_take_images(self) -> None:
        """Refuse a model without colour images, which has no use for image data sets.

        Raises:
            UserError: it is an audio model, or has another number of channels.
        """
        if self.kind == "audio":
            raise UserError(f"{self.source} is an audio model and takes no images; set datasets={{}}.")
        if self.channels != 3:
            raise UserError(
                f"{self.source} takes images of {self.channels} channel{'s' * (self.channels != 1)}, and data sets "
                "have 3; use a model with 3 channels, or set datasets={}."
            )

    def to_pixels(self, x: Tensor) -> Tensor:
        """Inputs as uint8 pictures (n, 3, H, W) on the CPU, clamped. A video gives its first frame, channels other than
        3 the first one in grey, audio its values in grey, line by line in a square."""
        low, high = self.image_range
        picture = x[:, :, 0] if self.kind == "video" else x
        if self.kind == "audio":
            first = x[:, 0].flatten(1)
            side = math.isqrt(first.shape[1])
            picture = first[:, : side**2].reshape(-1, 1, side, side)
        if picture.shape[1] != 3:
            picture = picture[:, :1].expand(-1, 3, -1, -1)
        return ((picture.clamp(low, high) - low) / (high - low) * 255).round().to(torch.uint8).cpu()

    @torch.no_grad()
    def latent_shape(self, resolution: int) -> tuple[int, ...]:
        """The shape of the latent of one input, (c, h, w) for images, found by running E and D on two inputs.

        Raises:
            UserError: the resolution does not suit the model, or f(z) = E(D(z)) is not a deterministic map of rows of
                finite latents to rows of the same shape, each whatever its neighbour is.
        """
        shape = self.check_resolution(resolution)
        x = self._two_inputs(shape)
        z = self._rows("encode", x, "an input")
        if z.ndim < 2:
            raise UserError(f"{self.source}: encode gives one number a row; a latent has at least one dimension.")
        self._check_twice("encode", x, z)
        self._check_row(0, "encode", z, self._called("encode", torch.stack([x[0], x[0]])))
        y = self._rows("decode", z, "the latent of an input")
        if y.shape != x.shape:
            what = "image" if self.kind == "image" else f"input ({self.kind})"
            raise UserError(
                f"{self.source} decodes the latent {_of_one(z)} of an {what} {_of_one(x)} to an {what} {_of_one(y)}; "
                f"{wanted_of_decode(x, y)}: try {self._other_size(y)}."
            )
        self._check_twice("decode", z, y)
        again = self._rows("encode", y, "a reconstruction")
        if again.shape != z.shape:
            raise UserError(
                f"the shapes of {self.source} do not close at resolution {resolution}: encode gives {_of_one(z)}, and "
                f"encode(decode(z)) {_of_one(again)}; f(z) = E(D(z)) needs them equal."
            )
        other = torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(z)
        self._check_row(0, "f", again, self._f(torch.stack([z[0], other])))
        self._check_row(1, "f", again, self._f(torch.stack([other, z[1]])))
        return tuple(z.shape[1:])

    def _two_inputs(self, shape: tuple[int, ...]) -> Tensor:
        """Two plain inputs that rise from the smallest value, to the middle and to the largest."""
        low, high = self.image_range if self.kind != "audio" else (-0.5, 0.5)
        ramp = torch.linspace(low, high, math.prod(shape), dtype=self.dtype).view(shape)
        return torch.stack([low + (ramp - low) / 2, ramp]).to(self.device)

    def _f(self, z: Tensor) -> Tensor:
        return self._called("encode", self._called("decode", z))

    def _called(self, verb: str, value: Tensor) -> Tensor:
        """The output of E or D; whatever a user's code raises or returns instead of a tensor becomes one sentence."""
        try:
            result = getattr(self, verb)(value)
        except UserError:
            raise
        except Exception as error:
            what = f"{self.source} cannot {verb} a tensor of shape {tuple(value.shape)}"
            hint = grey_hint(error)
            raise UserError(f"{what}: {reason_of(error)}{f'; {hint}.' if hint else ''}") from error
        if not isinstance(result, Tensor):
            raise UserError(f"{self.source}: {verb} must return a tensor, not a {type(result).__name__}.")
        if not result.is_floating_point() or result.layout is not torch.strided or result.device != value.device:
            raise UserError(
                f"{self.source}: {verb} must return a dense tensor of floating-point numbers on {value.device}, not "
                f"{_name(result.dtype)}, {_name(result.layout)}, on {result.device}."
            )
        return result

    def _rows(self, verb: str, value: Tensor, what: str) -> Tensor:
        """The output of E or D: finite, of the model's type, with a row for each of the two rows."""
        result = self._called(verb, value)
        if result.ndim < 1 or len(result) != 2:
            raise UserError(
                f"{self.source}: {verb} of a batch of 2 returned the shape {tuple(result.shape)}; return 2 rows."
            )
        if not result.numel():
            raise UserError(f"{self.source}: {verb} returned an empty tensor of shape {tuple(result.shape)}.")
        if not result.isfinite().all():
            advice = "use model.dtype=float64" if self.dtype == torch.float32 else "check the weights"
            raise UserError(f"{self.source}: {verb} of {what} gives NaN or infinity ({_name(result.dtype)}); {advice}.")
        if result.dtype != self.dtype:
            types = f"{_name(self.dtype)} into {_name(result.dtype)}"
            raise UserError(f"{self.source}: {verb} turns {types}; it must keep the type.")
        return result

    def _check_twice(self, verb: str, value: Tensor, found: Tensor) -> None:
        """Refuse E or D that draws random numbers, before that shows as rows that depend on each other."""
        again = self._called(verb, value)
        if _close(found, again, SAME):
            return
        if again.shape != found.shape:
            how = f"have the shapes {_of_one(found)} and {_of_one(again)}"
        else:
            how = f"differ by {float((again - found).abs().max()):.2g}"
        given, advice = {
            "encode": ("image" if self.kind == "image" else "input", "return the mean (latent_dist.mode())"),
            "decode": ("latent", "draw no random numbers"),
        }[verb]
        raise UserError(
            f"{self.source} is not deterministic: two calls of {verb} with one {given} {how}; {advice} and call eval()."
        )

    def _check_row(self, row: int, name: str, found: Tensor, beside_another: Tensor) -> None:
        if not _close(found[row : row + 1], beside_another[row : row + 1], SAME):
            raise UserError(f"{self.source}: the rows of a batch are not independent in {name}; treat each by itself.")

    def _other_size(self, decoded: Tensor) -> str:
        """The setting for which the shapes are likely to agree."""
        if self.kind == "audio":
            return f"model.samples={decoded.shape[2]}" if decoded.ndim >= 3 else "other model.samples"
        if self.kind == "video" and decoded.ndim == 5 and decoded.shape[2] != self.length:
            return f"model.frames={decoded.shape[2]}"
        return "another resolution"

    def parameters(self) -> int:
        """The number of weights."""
        return sum(p.numel() for module in self.modules for p in module.parameters())

    def weights_sha256(self) -> str | None:
        """SHA-256 over names, types, shapes and bytes of all weights and buffers in memory; None if there are none.

        Not a hash of the file: equal weights have equal hashes, whether from one file, shards or another format.
        """
        states = [(str(i), module.state_dict()) for i, module in enumerate(self.modules)]
        if not any(state for _, state in states):
            return None
        return tensors_sha256((f"{i}.{name}", value) for i, state in states for name, value in sorted(state.items()))


def wanted_of_decode(x: Tensor, y: Tensor) -> str:
    """What D(E(x)) = y of another shape than x breaks."""
    if x.ndim == y.ndim == 4 and x.shape[:2] == y.shape[:2]:
        return "decode must return the same height and width"
    return "decode must return the shape that encode took"


def grey_hint(error: BaseException) -> str:
    """What to do if a model of grey images was given three channels, as torch's convolutions complain; else empty."""
    grey = re.search(r"to have 1 channels?, but got 3 channels", str(error))
    return "a model of grey images declares it by the attribute channels = 1" if grey else ""


def device_of(name: str) -> torch.device:
    """The device that ``model.device`` names; ``auto`` is a GPU if there is one.

    Raises:
        UserError: it is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        device = torch.device("meta")
    if device.type == "meta":
        there = " or ".join(["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        raise UserError(f"model.device {name!r} is not available here; use {there}.")
    return device


def check_loaded(model: Autoencoder) -> None:
    """Refuse weights that are not finite, and an invalid scaling or pixel range; UserError names it."""
    for module in model.modules:
        check_finite(module, model.source)
    check_number(model.scaling_factor, "scaling_factor", model.source, positive=True)
    check_number(model.shift_factor, "shift_factor", model.source)
    low, high = model.image_range
    for value in (low, high):
        check_number(value, "each end of image_range", model.source)
    if low >= high:
        raise UserError(f"{model.source}: image_range must go from a smaller to a larger value, not {low:g}, {high:g}.")


def check_finite(module: nn.Module, source: str) -> None:
    """Refuse NaN and infinite weights; UserError names the first. In buffers only NaN, since masks hold -inf."""
    buffers = {name for name, _ in module.named_buffers()}
    bad = [
        name
        for name, value in module.state_dict().items()
        if isinstance(value, Tensor) and (value.isnan() if name in buffers else ~value.isfinite()).any()
    ]
    if bad:
        raise UserError(
            f"{source}: the weights are not finite: {bad[0]} has NaN or infinity ({len(bad)} tensor"
            f"{'s' * (len(bad) > 1)} in all); use an intact copy, or model.dtype=float64 if they exceed float32."
        )


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    size = tolerance * float(one.abs().mean()) + 1e-8
    return one.shape == other.shape and torch.allclose(one, other, rtol=tolerance, atol=size)


def _of_one(batch: Tensor) -> tuple[int, ...]:
    return (1, *batch.shape[1:])


def _name(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")
