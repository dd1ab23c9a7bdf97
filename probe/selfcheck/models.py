"""A small convolutional autoencoder, of torch alone, whose latent map has many fixed points that attract."""

import torch
from torch import Tensor, nn

LATENT = (4, 4, 4)


class Convolutional:
    """Latents (n, 4, 4, 4), images (n, 3, 16, 16); what ``LatentMap`` asks of an autoencoder.

    The encoder has the decoder's weights, transposed, so that f is much like a gradient descent: it settles. Weights
    are random, from a generator of their own, and the latents are scaled by ``gain``: at 0.7 all starts end in one
    fixed point, at 1.5 in many.
    """

    image_range = (-1.0, 1.0)

    def __init__(self, gain: float = 1.0, channels: int = 16):
        generator = torch.Generator().manual_seed(0)
        self.gain = gain
        first, last = nn.ConvTranspose2d(4, channels, 4, 2, 1), nn.ConvTranspose2d(channels, 3, 4, 2, 1)
        back, out = nn.Conv2d(3, channels, 4, 2, 1), nn.Conv2d(channels, 4, 4, 2, 1)
        self.decoder = nn.Sequential(first, nn.Tanh(), last, nn.Tanh())
        self.encoder = nn.Sequential(back, nn.Tanh(), out)
        self.modules = (self.decoder, self.encoder)
        with torch.no_grad():
            for one, other in ((first, out), (last, back)):
                one.weight.normal_(generator=generator).mul_(one.weight[0].numel() ** -0.5)
                other.weight.copy_(one.weight)
            for layer in (first, last, back, out):
                layer.bias.normal_(generator=generator).mul_(0.05)  # type: ignore[union-attr]
        for module in self.modules:
            module.requires_grad_(False)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Convolutional":
        """Move the weights; the same object."""
        for module in self.modules:
            module.to(device, dtype)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        weight: Tensor = next(self.encoder.parameters())
        return weight.dtype

    def decode(self, z: Tensor) -> Tensor:
        """Images of latents."""
        images: Tensor = self.decoder(z)
        return images

    def encode(self, x: Tensor) -> Tensor:
        """Latents of images."""
        latents: Tensor = self.gain * self.encoder(x)
        return latents
