"""The configurations in the package, by name: ``quickstart``, ``leaderboard/sd15``; and what a CONFIG stands for."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from probe.errors import UserError
from probe.names import did_you_mean, given_path, shown

FOLDER = Path(__file__).parent / "configs"
COMMANDS = {"bench_conv": "bench dynamics", "embedded": "train-embedded"}
"""Of configurations that are for no kind of work."""
CLONE = "the repository's folder"
"""In the comment of a configuration that reads files beside it, which are not in the package."""


@dataclass(frozen=True)
class Packaged:
    """A configuration in the package.

    Attributes:
        name: what stands for it on a command line.
        command: that of ``probe`` which takes it.
        about: the first sentence of its comment.
        clone: whether it works only in the repository's folder.
    """

    name: str
    command: str
    about: str
    clone: bool


@cache
def files() -> dict[str, Path]:
    """The file of every packaged configuration by its name; those of subfolders last."""
    found = sorted(FOLDER.rglob("*.yaml"), key=lambda file: (file.parent, file.name))
    return {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in found}


def packaged() -> list[Packaged]:
    """All configurations in the package."""
    from probe.kinds import kind_of

    found = []
    for name, file in files().items():
        text = " ".join(line.removeprefix("#").strip() for line in _comment(file))
        about = re.split(r"(?<=\.) ", text)[0]
        found.append(Packaged(name, COMMANDS.get(name) or kind_of(file), about, CLONE in text))
    return found


def is_packaged(name: str, kind: str) -> bool:
    """Whether a word that may be something else, too, names a configuration of that kind of work, and no path."""
    from probe.kinds import kind_of

    return name in files() and kind_of(files()[name]) == kind and not os.path.exists(name)


def text_of(name: str) -> str:
    """A packaged configuration as it is written.

    Raises:
        UserError: there is none of this name; the nearest one is named.
    """
    if name not in files():
        raise UserError(f"there is no configuration '{shown(name)}' in the package{_hint(name)}")
    return files()[name].read_text("utf-8")


def given_config(given: str | Path) -> Path:
    """The file that a CONFIG stands for: a path, or else the name of a configuration in the package.

    A name is preferred to a folder of the same name, such as a run directory, since no folder is a configuration.

    Raises:
        UserError: there is neither; the nearest name is given. See ``given_path`` for its errors.
    """
    path, name = given_path(given), str(given)
    missing = False
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        missing = True
    except (OSError, ValueError):  # whoever reads it says why not
        return path
    if name in files() and (missing or path.is_dir()):
        return files()[name]
    if missing and (path.suffix not in (".yaml", ".yml") or _near(name)):  # another absent file is its reader's
        raise UserError(f"there is no file '{shown(str(path))}', and no such configuration in the package{_hint(name)}")
    return path


def given_folder_or_config(given: str | Path) -> Path:
    """The same where a run directory may be given, too; a folder that is none does not hide a name."""
    path = given_path(given)
    hidden = str(given) in files() and not (path / "config.yaml").exists()
    return path if path.is_dir() and not hidden else given_config(given)


@contextmanager
def naming(config: Path | None) -> Iterator[None]:
    """Let a mistake in a file that has the name of a packaged configuration say that the file was read."""
    try:
        yield
    except UserError as error:
        if config is not None and str(config) in files() and config.is_file():
            hidden = f"This is about the file {shown(str(config.absolute()))}, which goes before the configuration"
            error.args = (f"{error} {hidden} '{config}' in the package; rename it to use that.",)
        raise


def _hint(name: str) -> str:
    """The end of a sentence about a wrong name: ``configs/quickstart.yaml`` leads to ``quickstart`` as well."""
    near = _near(name)
    return f": {near}" if near else "; `probe configs` lists them."


def _near(name: str) -> str:
    wanted = name.removeprefix("configs/").removesuffix(".yaml")
    inside = [one for one in files() if one.endswith(f"/{wanted}")]  # sd15 leads to leaderboard/sd15
    return f"did you mean {inside[0]!r}?" if inside else did_you_mean(wanted, files())


def _comment(file: Path) -> list[str]:
    """The lines of the comment at the top."""
    lines = file.read_text("utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]
