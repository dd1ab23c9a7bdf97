"""The run directory: one run's configuration, manifest and results; every file whole or absent."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from probe.config import Config, load_config
from probe.data import resolve
from probe.errors import UserError
from probe.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


T = TypeVar("T")


@dataclass(frozen=True)
class RunDirectory:
    """A folder that holds one run.

    Attributes:
        path: the folder.
        config: the resolved configuration, as in ``config.yaml``.
    """

    path: Path
    config: Config

    @staticmethod
    def create(path: Path, config: Config) -> "RunDirectory":
        """Claim a new or empty folder, or go on with one that holds the same configuration.

        Raises:
            UserError: the folder holds another run (what differs is named), or something else.
        """
        named = {name: resolve(name, spec) for name, spec in config.datasets.items()}  # presets written out
        config = config.model_copy(update={"datasets": named})
        file = path / "config.yaml"
        if file.exists():
            there = RunDirectory.open(path)
            differences = _differences(there.config.model_dump(mode="json"), config.model_dump(mode="json"))
            if differences:
                raise UserError(
                    f"{path} holds another run, which differs in {'; '.join(differences)}; choose another folder with "
                    "--out, or remove this one."
                )
            return there
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} exists and is no run directory; choose another folder with --out.")
        try:
            write_atomically(file, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder with --out.") from None
        return RunDirectory(path, config)

    @staticmethod
    def open(path: Path) -> "RunDirectory":
        """Open a run that was begun.

        Raises:
            UserError: there is no config.yaml in it.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path} is no run directory: it has no config.yaml; `probe run CONFIG --out {path}` makes one."
            )
        return RunDirectory(path, load_config(path / "config.yaml"))

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of how the run was made; empty before the first stage."""
        file = self.path / "manifest.json"
        if not file.exists():
            if (self.path / "attractors").exists():
                raise UserError(f"{self.path} has results but no manifest.json to say what made them; begin anew.")
            return {}
        try:
            return json.loads(file.read_text())
        except ValueError:
            raise UserError(f"{file} is damaged, so what made the results is unknown; begin anew.") from None

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest; a mapping is merged into the mapping that is there."""
        manifest = self.manifest
        for key, value in entries.items():
            there = manifest.get(key)
            manifest[key] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
        write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1) + "\n")

    def has(self, *names: str) -> bool:
        """Whether results are all there (and so complete)."""
        return all((self.path / name).is_file() for name in names)

    def save_tensors(self, name: str, tensors: "dict[str, Tensor]", summary: dict[str, Any] | None = None) -> None:
        """Write a safetensors file, with a JSON summary in its metadata."""
        from safetensors.torch import save

        metadata = None if summary is None else {"summary": json.dumps(summary)}
        whole = {key: value.contiguous() for key, value in tensors.items()}
        write_atomically(self.path / name, save(whole, metadata))

    def load_tensors(self, name: str) -> "dict[str, Tensor]":
        """Read a safetensors file.

        Raises:
            UserError: the file is damaged.
        """
        return self._open(name, lambda file: {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118

    def load_summary(self, name: str) -> dict[str, Any]:
        """Read the JSON summary in a safetensors file's metadata; errors as ``load_tensors``."""
        return self._open(name, lambda file: json.loads(file.metadata()["summary"]))

    def _open(self, name: str, read: Callable[[Any], T]) -> T:
        from safetensors import SafetensorError, safe_open

        file = self.path / name
        try:
            with safe_open(file, "pt") as content:
                return read(content)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} cannot be read ({error}); remove it and run the command again.") from None

    def save_table(self, name: str, rows: "pd.DataFrame", about: dict[str, Any]) -> None:
        """Write a parquet file, with ``about`` as JSON under the schema's key ``probe``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(rows, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"probe": json.dumps(about).encode()})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomically(self.path / name, buffer.getvalue())


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys whose values differ, as "key: there -> here"."""
    found: list[str] = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif isinstance(old, dict) or isinstance(new, dict):
            found.append(f"{prefix}{key}: only {'there' if isinstance(old, dict) else 'now'}")
        elif old != new:
            found.append(f"{prefix}{key}: {old!r} there, {new!r} now")
    return found
