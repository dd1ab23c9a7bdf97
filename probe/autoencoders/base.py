"""The object that the rest of the tool works on: an encoder, a decoder, and their properties."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.autoencoders.checks import checked_latent_shape
from probe.autoencoders.coordinates import Coordinates
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
        scaling_factor, shift_factor, latents_mean, latents_std: of the configuration, the latter two per channel.
        latents: ``raw`` or ``scaled``: the coordinates of ``encode`` and ``decode``.
        coordinates: the scaled ones, by the rule of the class; None: (raw - shift_factor) * scaling_factor.
        warnings: sentences on unused weights.
        downsampling: H / h if known beforehand, otherwise None.
        kind: ``image`` (n, channels, H, W), ``video`` (n, channels, length, H, W) or ``audio`` (n, channels, length).
        channels: of an input. side: of an image, if the model takes only one. length: frames or samples.
        quantisation: for models with a code book, ``continuous`` (D quantises z) or ``quantised`` (E does); else None.
        bins: of a spectrogram, for audio models that take (n, channels, length, bins).
        code_sha256: of the file with a user's own function; None for other sources.
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
    coordinates: Coordinates | None = None
    warnings: tuple[str, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def encode(self, x: Tensor) -> Tensor:
        """Inputs to latents, in the coordinates named by ``latents``; differentiable."""
        z = self.encoder(x)
        return self._scaling.scaled(z) if self.latents == "scaled" else z

    def decode(self, z: Tensor) -> Tensor:
        """Latents to inputs, not clamped; the inverse coordinates of ``encode``; differentiable."""
        return self.decoder(self._scaling.raw(z) if self.latents == "scaled" else z)

    @property
    def _scaling(self) -> Coordinates:
        return self.coordinates or Coordinates(self.scaling_factor, self.shift_factor)

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

    def latent_shape(self, resolution: int) -> tuple[int, ...]:
        """The shape of the latent of one input, (c, h, w) for images, found by running E and D on two inputs.

        Raises:
            UserError: the resolution does not suit the model, or f(z) = E(D(z)) is not a map of rows of finite latents
                to rows of the same shape (``probe.autoencoders.checks``).
        """
        return checked_latent_shape(self, resolution)

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
