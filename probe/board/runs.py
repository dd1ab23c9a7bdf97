"""The run directories that a command line names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from probe.errors import UserError
from probe.results import layout


def find_runs(folders: Sequence[Path]) -> dict[str, Path]:
    """Run directories by id: the name of the folder, or the path where two have the same name.

    A folder that is no run directory stands for those directly in it, in the order of their names.

    Raises:
        UserError: a folder does not exist, or holds no directory of a run.
    """
    found = list({path.resolve(): path for folder in folders for path in _runs(folder)}.values())
    names = [path.resolve().name for path in found]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, found, strict=True)}


def _runs(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give directories of finished runs, or a folder that holds them.")
    if (folder / layout.CONFIG).is_file():
        yield folder
        return
    inside = [path for path in sorted(folder.iterdir()) if (path / layout.CONFIG).is_file()]
    if not inside:
        raise UserError(f"{folder} holds no directory of a run: give the folders that `probe run` wrote.")
    yield from inside
