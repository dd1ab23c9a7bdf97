"""Code that a model brings: which files it is, and whether this user has named it.

A configuration runs code where ``model.source`` is ``python:...`` or ``model.trust_remote_code`` is set. A user who
names a configuration or a source asks for that code. A run directory may be somebody else's: its code runs only where
this user named the same files, at the same place and with the same content, before, or says ``--trust-code``. What was
named is kept as one small file for each, in the user's state folder, so that nothing in a run directory can add to it.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import write_atomically


@dataclass(frozen=True)
class Code:
    """The code of a model.

    Attributes:
        name: a file, a folder or a name, for messages.
        files: real path and SHA-256 of every file; of code that is elsewhere (the hub), its name and "".
    """

    name: str
    files: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """Over paths and contents."""
        return hashlib.sha256(json.dumps(self.files).encode()).hexdigest()


def code_of(spec: ModelConfig) -> Code | None:
    """What ``load_autoencoder`` would run for a model, found without running any of it; None where there is none."""
    kind, _, target = spec.source.partition(":")
    if kind == "python":
        return _users(target.rpartition(":")[0])
    if not spec.trust_remote_code or kind == "embedded":
        return None
    folder = Path(os.path.expanduser(spec.source))
    if not os.path.exists(folder):
        return Code(spec.source, ((f"hub:{spec.source}@{spec.revision}", ""),))
    inside = folder / (spec.subfolder or "")
    files = sorted(file for file in (*inside.glob("*.py"), inside / "config.json") if os.path.isfile(file))
    return Code(str(folder), tuple(map(_digest, files)) or ((str(folder), ""),))


def is_in_run_directory(config: Path) -> bool:
    """Whether a configuration file is that of a run directory, which may be somebody else's."""
    return any((folder / "manifest.json").exists() for folder in (config.parent, config.resolve().parent))


def remember(spec: ModelConfig) -> bool:
    """Note that this user named the code of a model; whether it is noted (a home may be read-only)."""
    code = code_of(spec)
    if code is None or is_remembered(code):
        return True
    try:
        write_atomically(_note(code), "".join(f"{digest} {name}\n" for name, digest in code.files))
    except (OSError, RuntimeError):
        return False
    return True


def is_remembered(code: Code) -> bool:
    """Whether this user named the same files, with the same content, before."""
    try:
        return _note(code).is_file()
    except (OSError, RuntimeError):
        return False


def must_be_trusted(spec: ModelConfig, place: Path) -> None:
    """Refuse code that a run directory names and this user has not named.

    Args:
        place: the run directory.

    Raises:
        UserError: it names such code; nothing of it was run.
    """
    code = code_of(spec)
    if code is None or is_remembered(code):
        return
    digest = code.files[-1][1]
    content = f" (sha256 {digest[:16]})" if digest else ""
    raise UserError(
        f"{place} would run the code of {code.name}{content}, which you have not run before as it is now; read that "
        "code, then add --trust-code if you trust it."
    )


def module_specs(name: str) -> list[ModuleSpec]:
    """Where ``import`` would find a module and its packages, outermost first, without running them; [] if nowhere.

    The working directory comes first, as with ``python -m``.
    """
    found: list[ModuleSpec] = []
    path = list(sys.path) if {"", os.getcwd()} & {*sys.path} else [os.getcwd(), *sys.path]
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        full = ".".join(parts[:end])
        spec = PathFinder.find_spec(full, path)
        if spec is None and end == 1:  # built in, or found by the finder of an editable installation
            finders = (finder.find_spec(full, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
            spec = next((one for one in finders if one is not None), None)
        if spec is None:
            return []
        found.append(spec)
        path = list(spec.submodule_search_locations or ())
    return found


def _users(place: str) -> Code | None:
    if place.endswith(".py"):
        file = Path(os.path.expanduser(place))
        return Code(str(file), (_digest(file),)) if os.path.isfile(file) else None
    try:
        specs = module_specs(place)
    except (ImportError, ValueError, AttributeError, OSError):  # no name of a module
        specs = []
    files = [Path(spec.origin) for spec in specs if spec.origin and spec.has_location]
    if files and all(map(_is_ours, files)):
        return None
    here = tuple(_digest(file) for file in files if file.is_file())
    return Code(str(files[-1]) if files else place, here or ((f"module:{place}", ""),))


def _is_ours(file: Path) -> bool:
    return Path(__file__).resolve().parent in file.resolve().parents


def _digest(file: Path) -> tuple[str, str]:
    return str(file.resolve()), hashlib.sha256(file.read_bytes()).hexdigest()


def _note(code: Code) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "probe" / "trusted-code" / code.sha256
