"""Tiles: what changes when a large picture is encoded and decoded in parts, and whether the seams are seen."""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import reason_of
from probe.precision import full_float32
from probe.results.audit import Finding, judged, skipped, told
from probe.studies.audit.differences import difference, psnr
from probe.studies.audit.subject import Subject, decode, encode
from probe.studies.audit.thresholds import THRESHOLDS
from probe.studies.audit.ways import switched_on
from probe.studies.inputs import inputs

FEW = 2
"""Images that are cut into tiles."""
SIZES = re.compile(r"tile_(sample|latent)_(min|stride|min_overlap)_(size|height|width)")
"""Attributes of diffusers' classes, in pixels and in places of the latent."""
OVERLAP = 2
"""Places of the latent that neighbouring tiles share at least, as they would blend over one or divide by 0."""


@dataclass(frozen=True)
class Tiles:
    """The tiles of a class of diffusers.

    Attributes:
        sizes: its attributes in pixels and places, by name.
        overlap: the share of a tile that its neighbour has too.
    """

    sizes: dict[str, int]
    overlap: float

    @property
    def side(self) -> int:
        """The smaller side of a tile, in pixels."""
        return min(value for name, value in self.sizes.items() if name.startswith("tile_sample_min_") and value)

    def scaled(self, side: int) -> dict[str, int]:
        """The sizes of smaller tiles in the same proportions."""
        return {name: round(value * side / self.side) for name, value in self.sizes.items()}

    def seams(self, side: int, width: int) -> list[int]:
        """Columns of a picture where tiles of a side begin, and where their blending with the one before ends."""
        step, shared = side - int(side * self.overlap), int(side * self.overlap)
        begin = range(step, width, max(step, 1))
        return sorted({place for one in begin for place in (one, one + shared) if place < width})


@torch.no_grad()
def tiling(subject: Subject) -> list[Finding]:
    """``enable_tiling`` of diffusers against no tiles, in tiles smaller than the image."""
    model = subject.again()
    if model.kind == "audio" or not switched_on(model.modules, "enable_tiling"):
        return [skipped("tiling", f"A {model.class_name} has no enable_tiling().")]
    module = next(one for one in model.modules if hasattr(one, "enable_tiling"))
    if (tiles := tiles_of(module)) is None:
        return [skipped("tiling", f"The audit cannot set the size of the tiles of a {model.class_name}.")]
    images, side = _fitting(subject, tiles)
    if images is None:
        return [
            skipped(
                "tiling",
                f"Up to its tile size of {tiles.side} px tiling does nothing, and smaller tiles that overlap by "
                f"{OVERLAP} places of the latent need --resolution {side} or more.",
            )
        ]
    for name, value in tiles.scaled(side).items():
        setattr(module, name, value)
    x = inputs(subject.model, images[:FEW])
    forced = f"in tiles of {side} px (by default {tiles.side} px)" if side != tiles.side else f"in tiles of {side} px"
    with full_float32():
        z = encode(subject.model, x, 1)
        y = decode(subject.model, z, 1)
        try:
            found = encode(model, x, 1), decode(model, z, 1)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of any type
            says = f"The model does not run {forced}: {reason_of(error)}"
            return [told("tiling", "runs", says, verdict="FAIL")]
    where = f"At {images.shape[-1]} px {forced}"
    seams = tiles.seams(side, images.shape[-1])
    return _findings(where, found, (z, y), subject.model.image_range, seams)


def tiles_of(module: nn.Module) -> Tiles | None:
    """The tiles of a module with ``enable_tiling``; None if it names their sizes in another way."""
    sizes = {name: value for name, value in vars(module).items() if SIZES.fullmatch(name) and isinstance(value, int)}
    side = min((value for name, value in sizes.items() if name.startswith("tile_sample_min_")), default=0)
    if not side:
        return None

    def first(pattern: str) -> Any:
        return next((value for name, value in vars(module).items() if re.fullmatch(pattern, name) and value), None)

    stride, shared = first("tile_sample_stride_(height|width)"), first("tile_sample_min_overlap_(height|width)")
    overlap = (
        1 - stride / side if stride else shared / side if shared else first("tile_overlap_factor(_height|_width)?")
    )
    return Tiles(sizes, max(float(overlap or 0.0), 0.0))


def seam(found: Tensor, expected: Tensor, image_range: tuple[float, float], at: list[int]) -> tuple[float, str]:
    """The strongest jump at a seam in what tiling changes, relative to the usual one elsewhere; and where it is.

    The difference of two pictures (n, c, ..., h, w) is taken in levels of 255. A jump is its mean absolute change from
    one column or row to the next. The strongest at most one place from a seam is divided by the median elsewhere, to
    which one level is added.

    Args:
        at: columns, and rows, at which a tile begins or its blending with the one before ends.
    """
    low, high = image_range
    off = (found.clamp(low, high) - expected.clamp(low, high)).double().nan_to_num() * 255 / (high - low)
    worst = (0.0, "at no seam")
    for what, along in (("columns", off), ("rows", off.transpose(-1, -2))):
        jumps = along.diff(dim=-1).abs().flatten(0, -2).mean(0)  # entry i: from i to i + 1
        near = torch.zeros(len(jumps), dtype=torch.bool)
        for place in at:
            near[max(place - 2, 0) : place + 1] = True
        if not near.any() or near.all():
            continue
        strongest = int(torch.where(near, jumps, -1.0).argmax())
        ratio = float(jumps[strongest] / (jumps[~near].median() + 1))
        worst = max(
            worst, (ratio, f"{float(jumps[strongest]):.2g} levels between {what} {strongest} and {strongest + 1}")
        )
    return worst


def _fitting(subject: Subject, tiles: Tiles) -> tuple[Tensor | None, int]:
    """Images of the least size with tiles that fit into them, and the side of the tiles; or None, and the least
    resolution that would do."""
    down = max(subject.resolution // subject.encoded.shape[-1], 1)
    least = down * math.ceil(OVERLAP / tiles.overlap) if tiles.overlap else down
    for images in (subject.images, subject.larger):
        if images is None:
            continue
        side = min(tiles.side, images.shape[-1] // 2 // down * down)
        if side >= least:
            return images, side
    return None, least


def _findings(
    where: str, found: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], span: tuple[float, float], seams: list[int]
) -> list[Finding]:
    for what, one, other in zip(("latent", "picture"), found, right, strict=True):
        if one.shape != other.shape:
            lacking = abs(1 - one.numel() / other.numel())
            says = f"{where}, the {what} is {tuple(one.shape)} instead of {tuple(other.shape)}."
            return [judged("tiling", "shape", lacking, THRESHOLDS["shape"], says)]
    off = difference(found[0].double(), right[0].double())
    bad = 1 - float(torch.cat([one.flatten() for one in found]).isfinite().double().mean())
    least, (ratio, place) = (
        float(psnr(found[1], right[1], span).min()),
        seam(found[1].cpu(), right[1].cpu(), span, seams),
    )
    said = [
        judged("tiling", "encode", off.rms, THRESHOLDS["tiled latent"], f"{where}, latents differ by {off.rms:.2g}."),
        judged(
            "tiling",
            "decode",
            least,
            THRESHOLDS["tiled picture"],
            f"{where}, pictures agree to {least:.1f} dB at least.",
        ),
        judged("tiling", "seam", ratio, THRESHOLDS["seam"], f"The strongest jump at a seam is {place}."),
    ]
    if bad:
        said.append(judged("tiling", "not finite", bad, THRESHOLDS["not finite"], f"{100 * bad:.3g} % of all values."))
    return said
