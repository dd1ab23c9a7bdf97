"""Autoencoders that are exact in float64, and each break in one way in which models are run: a type, a batch, a size,
tiles. Each function takes no argument, so that the command line can load it:
``probe audit python:tests/studies/audit/fragile.py:overflows``.

The sound one is linear and orthogonal: patches of 4 x 4 pixels as latents of 48 channels, and back.
"""

from typing import Any

import torch
from torch import Tensor, nn

PATCH, CHANNELS = 4, 48


class Sound(nn.Module):
    """D(E(x)) = x."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator, dtype=torch.float64))[0]
        weight = basis.view(CHANNELS, 3, PATCH, PATCH)
        self.down = nn.Conv2d(3, CHANNELS, PATCH, PATCH, bias=False).double()
        self.up = nn.ConvTranspose2d(CHANNELS, 3, PATCH, PATCH, bias=False).double()
        with torch.no_grad():
            self.down.weight.copy_(weight)
            self.up.weight.copy_(weight)

    def encode(self, x: Tensor) -> Tensor:
        return self.down(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z)


class Times(nn.Module):
    """A factor."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Overflows(Sound):
    """Activations of 1e5 and more inside the decoder: beyond float16, and nothing for float32 and bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.loud, self.quiet = Times(2.0**18), Times(2.0**-18)

    def decode(self, z: Tensor) -> Tensor:
        return self.up(self.quiet(self.loud(z)))


class SpoilsWhite(Sound):
    """NaN for a white picture, which is not among the first images."""

    def decode(self, z: Tensor) -> Tensor:
        y = self.up(z)
        return torch.where(y.mean((1, 2, 3), keepdim=True) > 0.95, torch.nan, y)


class NearlyOverflows(Overflows):
    """Activations between half of float16's largest number and all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loud, self.quiet = Times(2.0**13), Times(2.0**-13)


class HeavyWeights(Sound):
    """A weight beyond float16."""

    def __init__(self) -> None:
        super().__init__()
        self.heavy = nn.Parameter(torch.tensor(1e5, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        return self.down(x) * self.heavy / 1e5


class Cancels(Sound):
    """A large number is added and subtracted, which leaves bfloat16 no digits: steps of 4 at 512."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = Offset(512.0)
        self.back = Offset(-512.0)

    def encode(self, x: Tensor) -> Tensor:
        return self.back(self.offset(self.down(x)))


class Offset(nn.Module):
    """A summand."""

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class OneType(Sound):
    """A constant of its own that stays in float64 or float32, so that a half precision does not run."""

    def decode(self, z: Tensor) -> Tensor:
        weight = torch.eye(CHANNELS, dtype=torch.float64 if z.dtype == torch.float64 else torch.float32)
        return self.up(nn.functional.conv2d(z, weight[..., None, None]))


class NoFloat64(OneType):
    """The same, in float32 whatever the type is."""

    def decode(self, z: Tensor) -> Tensor:
        return self.up(nn.functional.conv2d(z, torch.eye(CHANNELS)[..., None, None]))


class AcrossTheBatch(Sound):
    """Latents minus their mean over the batch, as a batch norm in train mode has it."""

    def encode(self, x: Tensor) -> Tensor:
        z = self.down(x)
        return z - 0.5 * z.mean(0, keepdim=True)


class Random(Sound):
    """Noise is added to latents."""

    def encode(self, x: Tensor) -> Tensor:
        z = self.down(x)
        return z + 0.1 * torch.randn(z.shape).to(z)


class Counts(Sound):
    """A state: every picture is darker than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def decode(self, z: Tensor) -> Tensor:
        self.calls += 1
        return self.up(z) * 0.99**self.calls


class Layout(Sound):
    """Reads memory in the order of contiguous images, whatever the order is."""

    def encode(self, x: Tensor) -> Tensor:
        z = self.down(x)
        return torch.as_strided(z, z.shape, torch.empty(z.shape, device="meta").stride())


class OneSize(Sound):
    """Decodes 32 pixels well; beyond, pictures fade."""

    def decode(self, z: Tensor) -> Tensor:
        fading = torch.ones(z.shape[-1]).to(z)
        fading[32 // PATCH :] = 0
        return self.up(z * fading)


class Sliced(Sound):
    """Slices come back in the wrong order."""

    use_slicing = False

    def enable_slicing(self) -> None:
        self.use_slicing = True

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z.flip(0)) if self.use_slicing else self.up(z)


class UnequalSlices(Sliced):
    """Slices have another shape than the batch."""

    def decode(self, z: Tensor) -> Tensor:
        return torch.cat([self.up(z), self.up(z[..., 1:])]) if self.use_slicing else self.up(z)


class OneGrid(Sound):
    """Positions for 32 pixels only, as of a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(32 // PATCH, dtype=torch.float64))

    def encode(self, x: Tensor) -> Tensor:
        return self.down(x) + self.positions


class Tiled(Sound):
    """Tiles side by side, each brighter than the one before: edges of ``step`` where they meet."""

    use_tiling = False
    step = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.tile_sample_min_size, self.tile_latent_min_size = 512, 512 // PATCH

    def enable_tiling(self) -> None:
        self.use_tiling = True

    def decode(self, z: Tensor) -> Tensor:
        if not self.use_tiling:
            return self.up(z)
        side = self.tile_latent_min_size
        tiles = [self.up(tile) + number * self.step for number, tile in enumerate(z.split(side, dim=-1))]
        return torch.cat(tiles, dim=-1)


class Blended(Tiled):
    """A change over the whole picture, without edges."""

    step = 0.3

    def decode(self, z: Tensor) -> Tensor:
        y = self.up(z)
        return y + torch.linspace(0, self.step, y.shape[-1]).to(y) if self.use_tiling else y


class Cropped(Tiled):
    """The last tile is lost, as where tiles are smaller than the steps between them."""

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z)[..., : -PATCH * self.tile_latent_min_size] if self.use_tiling else self.up(z)


def __getattr__(name: str) -> Any:
    """``overflows`` makes an ``Overflows``, and so on."""
    made = {cls.__name__.lower(): cls for cls in (Sound, *_all_below(Sound))}
    if name not in made:
        raise AttributeError(name)
    return lambda: made[name]()


def _all_below(cls: type) -> list[type]:
    return [one for below in cls.__subclasses__() for one in (below, *_all_below(below))]
