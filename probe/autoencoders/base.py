"""The object that the rest of the tool works on: an encoder, a decoder, and what is known of them."""

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
        encoder: x (n, 3, H, W) in image_range -> z (n, c, h, w) in raw coordinates; the posterior mode.
        decoder: z in raw coordinates -> x.
        modules: the modules that hold the weights.
        image_range: smallest and largest pixel value.
        scaling_factor, shift_factor: scaled = (raw - shift_factor) * scaling_factor, as diffusers uses them.
        latents: ``raw`` or ``scaled``: the coordinates of ``encode`` and ``decode``.
        downsampling: H / h where it is known beforehand, otherwise None.
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
    downsampling: int | None = None
    code_sha256: str | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def encode(self, x: Tensor) -> Tensor:
        """Images (n, 3, H, W) to latents (n, c, h, w), in the coordinates named by ``latents``; differentiable."""
        z = self.encoder(x)
        return (z - self.shift_factor) * self.scaling_factor if self.latents == "scaled" else z

    def decode(self, z: Tensor) -> Tensor:
        """Latents to images, not clamped; the inverse coordinates of ``encode``; differentiable."""
        return self.decoder(z / self.scaling_factor + self.shift_factor if self.latents == "scaled" else z)

    @torch.no_grad()
    def latent_shape(self, resolution: int) -> tuple[int, ...]:
        """The shape (c, h, w) of the latent of a square image, found by encoding one and decoding it again.

        Raises:
            UserError: the resolution does not suit the model, or E(D(z)) has not the shape of z.
        """
        if self.downsampling and resolution % self.downsampling:
            raise UserError(
                f"resolution {resolution} is not divisible by {self.downsampling}, the downsampling of {self.source}; "
                f"use {max(resolution // self.downsampling, 1) * self.downsampling}, for example."
            )
        x = torch.zeros((1, 3, resolution, resolution), dtype=self.dtype, device=self.device)
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
                f"{self.source} decodes the latent {tuple(z.shape)} of an image {tuple(x.shape)} to an image "
                f"{tuple(y.shape)}; a reconstruction needs the same size: try another resolution."
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
