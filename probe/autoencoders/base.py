"""The object that the rest of the tool works on: an encoder, a decoder, and what is known of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.files import tensors_sha256


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
        scaling_factor, shift_factor, latents_mean, latents_std: as diffusers uses them, the latter two per channel:
            scaled = (raw - shift_factor - latents_mean) * scaling_factor / latents_std.
        latents: ``raw`` or ``scaled``: the coordinates of ``encode`` and ``decode``.
        downsampling: H / h where it is known beforehand, otherwise None.
        kind: ``image`` (n, channels, H, W), ``video`` (n, channels, length, H, W) or ``audio`` (n, channels, length).
        channels: of an input. side: of an image, where the model takes one only. length: frames or samples.
        quantisation: for models with a code book, ``continuous`` (D quantises z) or ``quantised`` (E does); else None.
        bins: of a spectrogram, for audio models that take those, (n, channels, length, bins).
        code_sha256: of the file that a user's own function is in; None for other sources.
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
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def encode(self, x: Tensor) -> Tensor:
        """Inputs to latents, in the coordinates named by ``latents``; differentiable."""
        z = self.encoder(x)
        if self.latents != "scaled":
            return z
        z = (z - self.shift_factor) * self.scaling_factor
        if self.latents_mean is not None:
            z = z - self._per_channel(self.latents_mean, z) * self.scaling_factor
        return z if self.latents_std is None else z / self._per_channel(self.latents_std, z)

    def decode(self, z: Tensor) -> Tensor:
        """Latents to inputs, not clamped; the inverse coordinates of ``encode``; differentiable."""
        if self.latents != "scaled":
            return self.decoder(z)
        if self.latents_std is not None:
            z = z * self._per_channel(self.latents_std, z)
        z = z / self.scaling_factor + self.shift_factor
        return self.decoder(z if self.latents_mean is None else z + self._per_channel(self.latents_mean, z))

    def _per_channel(self, values: tuple[float, ...], z: Tensor) -> Tensor:
        if z.ndim < 2 or len(values) not in (1, z.shape[1]):
            raise UserError(
                f"{self.source} has latents_mean or latents_std of {len(values)} channels and latents of shape "
                f"{tuple(z.shape[1:])}; use model.latents: raw."
            )
        return torch.tensor(values, dtype=z.dtype, device=z.device).view(1, -1, *(1,) * (z.ndim - 2))

    def sample_shape(self, resolution: int) -> tuple[int, ...]:
        """The shape of one input: (channels, R, R), (channels, frames, R, R) or (channels, samples).

        Raises:
            UserError: the model takes another resolution only.
        """
        if self.kind == "audio":
            return (self.channels, self.length or 1, *([self.bins] if self.bins else []))
        if self.side not in (None, resolution):
            raise UserError(
                f"{self.source} takes images of side {self.side} only, not {resolution}; set resolution={self.side}."
            )
        size = (resolution, resolution)
        return (self.channels, self.length or 1, *size) if self.kind == "video" else (self.channels, *size)

    def from_pixels(self, images: Tensor) -> Tensor:
        """uint8 images (n, 3, R, R) as inputs, in the model's range, type and place; a video is a still image.

        Raises:
            UserError: the model does not take colour images.
        """
        self.must_take_images()
        low, high = self.image_range
        x = images.to(self.device, self.dtype) / 255 * (high - low) + low
        return x[:, :, None].expand(-1, -1, self.length or 1, -1, -1) if self.kind == "video" else x

    def must_take_images(self) -> None:
        """Refuse to be used with image data sets where the model has no colour images.

        Raises:
            UserError: it is an audio model, or has another number of channels.
        """
        if self.kind == "audio":
            raise UserError(f"{self.source} is an audio model, which takes no images; set datasets={{}}.")
        if self.channels != 3:
            raise UserError(
                f"{self.source} takes images of {self.channels} channel{'s' * (self.channels != 1)}, and data sets "
                "have 3; take a model of 3 channels, or set datasets={}."
            )

    def to_pixels(self, x: Tensor) -> Tensor:
        """Inputs as uint8 pictures (n, 3, H, W) on the CPU, clamped: of a video the first frame, of channels other
        than 3 the first in grey, of audio its values in grey, line by line in a square."""
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
        """The shape of the latent of one input, (c, h, w) for images, found by encoding one and decoding it again.

        Raises:
            UserError: the resolution does not suit the model, or E(D(z)) has not the shape of z.
        """
        shape = self.sample_shape(resolution)
        if self.downsampling and resolution % self.downsampling:
            raise UserError(
                f"resolution {resolution} is not divisible by {self.downsampling}, the downsampling of {self.source}; "
                f"use {max(resolution // self.downsampling, 1) * self.downsampling}, for example."
            )
        x = torch.zeros((1, *shape), dtype=self.dtype, device=self.device)
        z = self._checked("encode", self.encode, x)
        y = self._checked("decode", self.decode, z)
        again = self._checked("encode", self.encode, y)
        if not z.dtype == y.dtype == self.dtype:
            raise UserError(
                f"{self.source} turns {self.dtype} images into {z.dtype} latents and {y.dtype} images; it must keep "
                "the type, since fixed points of a coarser type are rounding."
            )
        if y.shape != x.shape:
            raise UserError(
                f"{self.source} decodes the latent {tuple(z.shape)} of an {self._input} {tuple(x.shape)} to an "
                f"{self._input} {tuple(y.shape)}; a reconstruction needs the same size: try {self._other_size(y)}."
            )
        if again.shape != z.shape:
            raise UserError(
                f"the shapes of {self.source} do not close at resolution {resolution}: encode gives {tuple(z.shape)}, "
                f"and encode(decode(z)) {tuple(again.shape)}; f(z) = E(D(z)) needs them equal."
            )
        once_more = self.encode(self.decode(z))
        # Not equal to the bit: some CUDA kernels add up in any order.
        if not torch.allclose(again, once_more, rtol=1e-2, atol=1e-2 * float(again.abs().mean()), equal_nan=True):
            raise UserError(
                f"{self.source} maps one latent to two different ones; encode and decode must be deterministic (the "
                "mode of a posterior, not a sample; dropout off), or f has no fixed points."
            )
        return tuple(z.shape[1:])

    @property
    def _input(self) -> str:
        return "image" if self.kind == "image" else f"input ({self.kind})"

    def _other_size(self, decoded: Tensor) -> str:
        """The setting under which the shapes are likely to close."""
        if self.kind == "audio":
            return f"model.samples={decoded.shape[2]}" if decoded.ndim >= 3 else "other model.samples"
        if self.kind == "video" and decoded.ndim == 5 and decoded.shape[2] != self.length:
            return f"model.frames={decoded.shape[2]}"
        return "another resolution"

    def _checked(self, verb: str, function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        """Call a user's code: whatever it raises or returns becomes one sentence."""
        try:
            result = function(value)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{self.source} cannot {verb} a tensor of shape {tuple(value.shape)}: {reason}") from error
        if not isinstance(result, Tensor):
            raise UserError(f"{self.source}: {verb} must return a tensor, not a {type(result).__name__}.")
        return result

    def parameters(self) -> int:
        """How many weights."""
        return sum(p.numel() for module in self.modules for p in module.parameters())

    def weights_sha256(self) -> str | None:
        """SHA-256 over names, types, shapes and bytes of all weights and buffers in memory; None where there are none.

        Not that of the file: the same weights hash alike whether they came from one file, shards or another format.
        """
        states = [(str(i), module.state_dict()) for i, module in enumerate(self.modules)]
        if not any(state for _, state in states):
            return None
        return tensors_sha256((f"{i}.{name}", value) for i, state in states for name, value in sorted(state.items()))
