"""Pictures of the page: films with a slider, and their printed strips."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray
from PIL import Image

from probe.report.figures.drawing import canvas, mosaic
from probe.report.page.content import Figure, Film, Reel
from probe.report.page.text import number
from probe.report.roundtrip import words
from probe.report.roundtrip.numbers import LOSSLESS
from probe.report.roundtrip.schema import RoundtripReport
from probe.results.roundtrip import RoundtripResults, TripResults

Pictures = NDArray[np.uint8]
LOOKS = ((128, 72), (64, 72), (64, 55), (64, 35), (48, 25))
"""Longest side of a tile, in pixels, and quality of WebP: the first with which the least reels fit into ``ROOM``."""
ROOM = 1_150_000
"""Bytes of all sheets of a page, which holds a third more."""
LEAST = 3
"""Reels of a data set, at least: an image that all cells have, and the worst and the best of each."""
PRINTED = 7
"""Cycles of a strip, at most."""
LETTER = 0.085
"""Inches of a letter in the names of a strip."""
GAINS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Shot:
    """An image in one cell: its frames (f, 3, H, W), and its PSNR after each of these cycles."""

    image: int
    frames: Pictures
    psnr: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A reel before it is drawn: a shot for each cell; ``differ``: not all of them are of the same image."""

    name: str
    shots: list[Shot]
    differ: bool


@dataclass(frozen=True)
class Filmed:
    """A film with its files.

    Attributes:
        sheets: WebP files by path.
        strips: figures by path, without their ending.
    """

    film: Film
    sheets: dict[str, bytes]
    strips: dict[str, Drawing]


def filmed(report: RoundtripReport, results: RoundtripResults) -> Filmed:
    """The film of all data sets, a cell for each model and setting; controls that lose nothing are left out."""
    cells = [(one.model, one.between) for one in report.overall.series if not one.lossless]
    names = [(words.model_label(model), words.between_label(between)) for model, between in cells]
    scenes = {name: _scenes([results.of(*cell, name) for cell in cells]) for name in report.datasets}
    cycles = next(iter(results.trips.values())).tensors["film_cycles"].tolist()
    factor = gain([one for of_set in scenes.values() for one in of_set])
    sheets = sheets_of(scenes, factor)
    strips, reels, figures = dict[str, Drawing](), list[Reel](), list[Figure]()
    for name, of_set in scenes.items():
        for place, scene in enumerate(of_set):
            if (path := _path(name, place)) in sheets:
                reels.append(Reel(f"{name}: {scene.name}", path, [_said(shot, scene.differ) for shot in scene.shots]))
        for word, scene in zip(("worst", "best"), [one for one in of_set if one.differ], strict=True):
            path, title = f"figures/{name}_{word}", f"{name}: {scene.name}"
            strips[path] = strip(title, names, scene.shots, cycles, factor)
            figures.append(Figure(path, f"{title}: the image, its pictures after more and more cycles, the difference"))
    stops = ["original", *(f"after {one} cycle{'s' if one > 1 else ''}" for one in cycles[1:])]
    files = {f"{path}.webp": data for path, data in sheets.items()}
    return Filmed(Film(reels, stops, names, factor, figures), files, strips)


def _path(dataset: str, place: int) -> str:
    return f"figures/{dataset}_film_{place}"


def sheets_of(scenes: Mapping[str, Sequence[Scene]], factor: int) -> dict[str, bytes]:
    """Sheets by path, without their ending: the first of every data set, then as many more as there is room for."""

    def drawn(place: int, side: int, quality: int) -> dict[str, bytes]:
        there = {name: of_set[place] for name, of_set in scenes.items() if place < len(of_set)}
        return {_path(name, place): sheet(one.shots, factor, side, quality) for name, one in there.items()}

    widest = max(shot.frames.shape[-1] for of_set in scenes.values() for shot in of_set[0].shots)
    found = dict[str, bytes]()
    for side, quality in dict.fromkeys((min(side, widest), quality) for side, quality in LOOKS):
        found = drawn(0, side, quality)
        for place in range(1, max(map(len, scenes.values()))):
            if place >= LEAST and _size(found) * (place + 1) / place > ROOM:
                break
            found |= drawn(place, side, quality)
        if _size(found) <= ROOM:
            break
    return found


def _size(sheets: Mapping[str, bytes]) -> int:
    return sum(map(len, sheets.values()))


def _scenes(found: Sequence[TripResults]) -> list[Scene]:
    """An image that all cells have, the worst and the best image of every cell, then more that all have."""
    kept = [_shots(one) for one in found]
    common = [image for image in kept[0] if all(image in of_cell for of_cell in kept)]
    by_end = [sorted(of_cell.values(), key=_end) for of_cell in kept]
    same = [Scene(f"image {image}", [of_cell[image] for of_cell in kept], differ=False) for image in common]
    extremes = [
        Scene("worst image of each cell", [shots[0] for shots in by_end], differ=True),
        Scene("best image of each cell", [shots[-1] for shots in by_end], differ=True),
    ]
    return [*same[:1], *extremes, *same[1:]]


def _shots(found: TripResults) -> dict[int, Shot]:
    psnr, tensors = found.curve("psnr"), found.tensors
    assert psnr is not None  # it is always measured
    levels, frames = psnr.to_numpy(np.float64)[:, tensors["film_cycles"].numpy()], tensors["film"].numpy()
    return {image: Shot(image, frames[row], levels[image]) for row, image in enumerate(tensors["film_images"].tolist())}


def _end(shot: Shot) -> float:
    last = shot.psnr[-1]
    return -np.inf if np.isnan(last) else float(last)


def gain(scenes: Sequence[Scene]) -> int:
    """What makes most differences visible: the largest factor at which three quarters of them are not clipped."""
    finite = [(shot.frames[~np.isnan(shot.psnr)]) for one in scenes for shot in one.shots]
    values = np.concatenate([_apart(frames, 1)[1:].ravel() for frames in finite])
    high = max(float(np.percentile(values, 75)), 1.0) if len(values) else 255.0
    return max((one for one in GAINS if one * high <= 255), default=GAINS[0])


def _apart(frames: Pictures, factor: int) -> Pictures:
    """|frame - first frame| times a factor, clipped to 255."""
    gap = np.abs(frames.astype(np.int16) - frames[0].astype(np.int16)) * factor
    return gap.clip(0, 255).astype(np.uint8)


def _said(shot: Shot, named: bool) -> list[str]:
    """Under each picture: its PSNR, and which image it is where cells differ in it."""
    name = f"image {shot.image}: " if named else ""
    return [f"{name}original", *(f"{name}{_level(one)}" for one in shot.psnr[1:])]


def _level(psnr: float) -> str:
    return "diverged" if np.isnan(psnr) else "equal" if psnr >= LOSSLESS else f"{number(psnr)} dB"


def sheet(shots: Sequence[Shot], factor: int, side: int, quality: int) -> bytes:
    """A WebP: a row of tiles for each shot, then one for each of their differences from the first frame."""
    rows = [shot.frames for shot in shots]
    tiles = np.stack([[_tile(one, side) for one in row] for row in [*rows, *(_apart(row, factor) for row in rows)]])
    r, c, height, width, channels = tiles.shape
    buffer = io.BytesIO()
    whole = Image.fromarray(tiles.swapaxes(1, 2).reshape(r * height, c * width, channels))
    whole.save(buffer, "webp", quality=quality, method=4)
    return buffer.getvalue()


def _tile(image: Pictures, side: int) -> Pictures:
    """An image (3, H, W) as (h, w, 3), sides at most ``side``."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


def strip(
    title: str, cells: Sequence[tuple[str, str]], shots: Sequence[Shot], cycles: Sequence[int], factor: int
) -> Drawing:
    """A row for each cell: the image, its pictures after some cycles, and the last difference."""
    places = _printed(cycles)
    rows = [np.concatenate([shot.frames[places], _apart(shot.frames, factor)[-1:]]) for shot in shots]
    heads = ["original", *(str(cycles[place]) for place in places[1:]), f"difference x {factor}"]
    names = [f"{model}, {between}\nimage {shot.image}" for (model, between), shot in zip(cells, shots, strict=True)]
    left = LETTER * max(len(line) for name in names for line in name.split("\n")) + 0.3
    with canvas(left + 1.05 * len(heads), 0.7 + 1.05 * len(rows)) as figure:
        axes = figure.subplots()
        pitch = mosaic(axes, np.stack(rows).transpose(0, 1, 3, 4, 2))
        axes.set_yticks([(row + 0.5) * pitch for row in range(len(rows))], names, fontsize=8)
        axes.set_xticks([(column + 0.5) * pitch for column in range(len(heads))], heads, fontsize=8)
        axes.xaxis.tick_top()
        axes.set_title(f"{title}, after so many cycles", loc="left", fontsize=9)
    return figure


def _printed(cycles: Sequence[int]) -> list[int]:
    """Places of at most ``PRINTED`` of the cycles: the image, the first, the last, and some between."""
    spread = np.linspace(0, len(cycles) - 1, min(PRINTED, len(cycles))).round().astype(int)
    return sorted({0, min(1, len(cycles) - 1), *spread.tolist()})
