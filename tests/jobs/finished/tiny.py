"""f(z) = tanh(2 m) with m the mean of each latent: two attractors, the constant latents of 0.9575 and -0.9575."""

import torch


class Tiny:
    image_range = (-1.0, 1.0)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        means = torch.tanh(2 * z.mean((1, 2, 3), keepdim=True))
        return means.expand(-1, 3, 4 * z.shape[2], 4 * z.shape[3]).contiguous()

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 4)


def load() -> Tiny:
    return Tiny()
