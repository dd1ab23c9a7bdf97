"""A folder of image files."""

from collections.abc import Generator
from pathlib import Path

from probe.config import DatasetConfig
from probe.data.candidates import Candidate, Opened, UnreadableImage, seeded_order
from probe.errors import UserError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def open_folder(where: str, spec: DatasetConfig, place: str) -> Opened:
    """All image files below a folder; an id is the path below it, with slashes, its first folder the class.

    Raises:
        UserError: the folder does not exist or holds no file with an image's suffix.
    """
    root = Path(place).expanduser()
    if not root.is_dir():
        raise UserError(f"{where}: there is no folder {str(root)!r}; give the path of a folder of images.")
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    names = sorted(path.relative_to(root).as_posix() for path in found)
    if not names:
        raise UserError(f"{where}: the folder holds no image files; looked for {', '.join(sorted(SUFFIXES))}.")
    return Opened(_candidates(root, names, spec.seed), {"available": len(names), "sample": "exact"})


def _candidates(root: Path, names: list[str], seed: int) -> Generator[Candidate, None, None]:
    for index in seeded_order(len(names), seed):
        path = root / names[index]
        inside, slash, _ = names[index].partition("/")
        yield Candidate(names[index], lambda path=path: _read(path), inside if slash else None)  # type: ignore[misc]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(str(error)) from error
