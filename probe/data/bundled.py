"""Six data sets that need no network: tiles of the pictures inside scikit-image's wheel, and scikit-learn's digits.

Tiles of one picture never overlap, so a test tile and a held-out tile share no pixel; they may share a picture. Tiles
are cut from the top left corner. Dropped are incomplete ones at the right and bottom, and those with a standard
deviation of the grey level below 2 of 255 (mostly the black surround of the retina).
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from PIL import Image

from probe.config import DatasetConfig
from probe.data.balance import drawn_order
from probe.data.columns import absent
from probe.data.source import Candidate, Opened
from probe.errors import UserError

# name -> (side of a tile, names of functions of skimage.data). Side 32 where 64 would leave too few tiles.
TILED: dict[str, tuple[int, tuple[str, ...]]] = {
    "photographs": (64, ("astronaut", "camera", "chelsea", "coffee", "rocket", "stereo_motorcycle")),
    "histology": (32, ("immunohistochemistry",)),
    "retina": (64, ("retina",)),
    "astronomy": (64, ("hubble_deep_field",)),
    "textures": (64, ("brick", "grass", "gravel")),
}
NAMES = (*TILED, "digits")
FLAT = 2.0
CLASS = "label"  # what ``balance`` calls the digit


def open_bundled(where: str, spec: DatasetConfig, name: str) -> Opened:
    """The tiles (id: picture, row and column of the tile) or digits (id: row number) of a bundled set.

    UserError if there is no such set, or the installed scikit-image lacks its pictures.
    """
    if name not in NAMES:
        raise UserError(f"{where}: there is no bundled set {name!r}; choose one of {', '.join(NAMES)}.")
    pictures = _digits() if name == "digits" else _tiles(where, *TILED[name])
    packages = {package: version(package) for package in ("scikit-image", "scikit-learn", "pillow")}
    facts: dict[str, Any] = {"available": len(pictures), "sample": "exact", "packages": packages}
    if name in TILED:
        facts["pictures"] = len(TILED[name][1])
    if spec.balance not in (None, CLASS):
        raise absent(where, [CLASS], spec.balance, "balance")
    order, classes = drawn_order(where, spec, [one[2] for one in pictures] if spec.balance else len(pictures))
    candidates = (
        Candidate(id_, partial(Image.fromarray, pixels), label)
        for id_, pixels, label in map(pictures.__getitem__, order)
    )
    return Opened(candidates, facts, classes=classes)


def _tiles(where: str, side: int, pictures: tuple[str, ...]) -> list[tuple[str, np.ndarray, str | None]]:
    tiles: list[tuple[str, np.ndarray, str | None]] = []
    for picture in pictures:
        pixels = _picture(where, picture)
        for top in range(0, pixels.shape[0] - side + 1, side):
            for left in range(0, pixels.shape[1] - side + 1, side):
                tile = np.ascontiguousarray(pixels[top : top + side, left : left + side])
                grey = tile if tile.ndim == 2 else tile.mean(axis=2)
                if grey.std() >= FLAT:
                    tiles.append((f"{picture}/{top}/{left}", tile, None))
    return tiles


def _picture(where: str, picture: str) -> np.ndarray:
    import skimage.data

    load: Callable[[], np.ndarray | tuple[np.ndarray, ...]] = getattr(skimage.data, picture)
    try:
        pixels = load()
    except (OSError, ImportError) as error:  # other versions may download a picture instead
        lacking = f"the installed scikit-image does not carry the picture {picture!r}"
        raise UserError(f"{where}: {lacking}; install scikit-image 0.26.") from error
    return pixels[0] if isinstance(pixels, tuple) else pixels  # the left one of a stereo pair


def _digits() -> list[tuple[str, np.ndarray, str | None]]:
    """The 8x8 digits, 0..16, as bytes 0..255 (smooth once enlarged), and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return [(str(row), digit, str(label)) for row, (digit, label) in enumerate(zip(values, digits.target, strict=True))]
