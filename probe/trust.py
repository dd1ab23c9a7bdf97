"""Code that comes with a model: which files it is in, and whether this user trusts it.

A configuration runs code if ``model.source`` is ``python:...`` or ``model.trust_remote_code`` is set. Whoever gives a
configuration or a source asks for that code. A run directory may be somebody else's: its code runs only if this user
has run the same files before, at the same place and with the same content, or passes ``--trust-code``. Trusted code is
recorded in the user's state folder, one small file each, so that nothing in a run directory can add to it.
"""

import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import write_atomically


@dataclass(frozen=True)
class Code:
    """The code of a model, called ``name`` in messages.

    files: real path and SHA-256 of every file; for code elsewhere (the hub) its name and "".
    """

    name: str
    files: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """Over paths and contents."""
        return hashlib.sha256(json.dumps(self.files).encode()).hexdigest()


def code_of(spec: ModelConfig) -> Code | None:
    """The code that ``load_autoencoder`` would run, found without running any; None if there is none."""
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
    """Whether a configuration file lies in a run directory, which may be somebody else's."""
    return any((folder / "manifest.json").exists() for folder in (config.parent, config.resolve().parent))


def remember(spec: ModelConfig) -> bool:
    """Record the code of a model as trusted; returns whether that worked (a home may be read-only)."""
    code = code_of(spec)
    if code is None or _is_remembered(code):
        return True
    with suppress(OSError, RuntimeError):
        write_atomically(_note(code), "".join(f"{digest} {name}\n" for name, digest in code.files))
        return True
    return False


def _is_remembered(code: Code) -> bool:
    with suppress(OSError, RuntimeError):
        return _note(code).is_file()
    return False


def must_be_trusted(spec: ModelConfig, place: Path) -> None:
    """UserError for code of a run directory, ``place``, that this user does not trust; none of it is run."""
    code = code_of(spec)
    if code is None or _is_remembered(code):
        return
    digest = code.files[-1][1]
    content = f" (sha256 {digest[:16]})" if digest else ""
    what = f"the code of {code.name}{content}, which you have not run before in this form"
    raise UserError(f"{place} would run {what}; read it, then add --trust-code if you trust it.")


def module_specs(name: str) -> list[ModuleSpec]:
    """Where ``import`` would find a module and its packages, outermost first, without running them; [] if nowhere. The
    working directory comes first, as with ``python -m``."""
    found: list[ModuleSpec] = []
    path = list(sys.path) if {"", os.getcwd()} & {*sys.path} else [os.getcwd(), *sys.path]
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        full = ".".join(parts[:end])
        spec = PathFinder.find_spec(full, path)
        if spec is None and end == 1:  # built in, or of an editable installation
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
    except (ImportError, ValueError, AttributeError, OSError):  # not the name of a module
        specs = []
    files = [Path(spec.origin) for spec in specs if spec.origin and spec.has_location]
    ours = Path(__file__).resolve().parent
    if files and all(ours in file.resolve().parents for file in files):
        return None
    here = tuple(_digest(file) for file in files if file.is_file())
    return Code(str(files[-1]) if files else place, here or ((f"module:{place}", ""),))


def _digest(file: Path) -> tuple[str, str]:
    return str(file.resolve()), hashlib.sha256(file.read_bytes()).hexdigest()


def _note(code: Code) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "probe" / "trusted-code" / code.sha256
