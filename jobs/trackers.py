"""Experiment trackers, those of Accelerate: they follow the work, and nothing that is computed depends on them.

What was logged is noted in a file beside them, by tag, before it is logged: work that was stopped and goes on logs no
step of a tag twice, nor goes back, though the one at which it was killed may be missing.
"""

import importlib.util
import json
import logging
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import UserError
from probe.files import write_atomically
from probe.reading import read_object

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

    from probe.config import TrackersConfig
    from probe.training.config import TrainConfig

FOLDER, RUN = "trackers", "run"
"""Where all of it is kept, and the name of the course of numbers that the work as a whole makes."""
log = logging.getLogger("probe")


class Tracker:
    """One run of each tracker that the configuration names; without any, nothing happens.

    Args:
        running: the trackers, by name.
        note: the file in which ``noted`` is kept.
        noted: ``id``, by which a tracker knows the run again, and ``logged``, the last step of each tag.
    """

    def __init__(
        self, running: "Mapping[str, GeneralTracker]", note: Path | None = None, noted: dict[str, Any] | None = None
    ):
        self.running, self._note = dict(running), note
        self._noted: dict[str, Any] = noted or {"logged": {}}

    def __bool__(self) -> bool:
        return bool(self.running)

    def log(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Log numbers; those without a value, and those of a tag that has this step or a later one, are left out.

        Args:
            values: by tag.
            step: None: the largest so far.
        """
        logged = self._noted["logged"]
        at = max(logged.values(), default=0) if step is None else step
        fresh = {tag: float(v) for tag, v in values.items() if v is not None and at > logged.get(tag, -1)}
        if self.running and fresh:
            logged |= dict.fromkeys(fresh, at)
            self._write()
            self._each("log", fresh, step=at)

    def begin(self, about: Mapping[str, Any]) -> None:
        """Start the trackers; at the first time they get the configuration as hyperparameters."""
        self._each("start")
        if self._note and not self._note.exists():
            self._write()
            self._each("store_init_configuration", flat(about))

    def complete(self) -> None:
        """Note that there is nothing more to log."""
        if self.running:
            self._noted["complete"] = True
            self._write()

    def end(self) -> None:
        """Close the trackers."""
        self._each("finish")

    def _write(self) -> None:
        if self._note:
            write_atomically(self._note, json.dumps(self._noted))

    def _each(self, method: str, *values: Any, **more: Any) -> None:
        """A tracker that fails is left out from then on: the work does not wait for it. What it prints (trackio) is no
        result, so it goes to stderr."""
        for name, tracker in list(self.running.items()):
            try:
                with redirect_stdout(sys.stderr):
                    getattr(tracker, method)(*values, **more)
            except Exception as error:
                _warn(name, error)
                del self.running[name]


def must_be_installed(config: "TrackersConfig") -> None:
    """Refuse trackers whose packages are absent.

    Raises:
        UserError: naming the first.
    """
    for name in config.log_with:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"config key 'trackers.log_with': {name} is not installed; `pip install {name}`, or leave it out."
            )


@contextmanager
def tracking(
    folder: Path, config: "TrackersConfig", name: str, about: Mapping[str, Any], *, cpu: bool, anew: bool = False
) -> Iterator[Tracker]:
    """Open the trackers for one course of numbers, and close them behind the block.

    Args:
        folder: of the work; what trackers keep on disk, and the note of what was logged, goes to ``trackers/`` in it.
        name: of the course in this folder, such as a model of a study.
        about: the configuration, as hyperparameters.
        anew: the work begins from its beginning, whatever was logged before.
        cpu: what Accelerate is told at its first call: to leave GPUs alone.

    Raises:
        UserError: a package is absent.
    """
    if not config.log_with:
        yield Tracker({})
        return
    must_be_installed(config)
    from accelerate import PartialState

    PartialState(cpu=cpu)
    note = folder / FOLDER / f"{name}.json"
    if anew:
        note.unlink(missing_ok=True)
        shutil.rmtree(folder / FOLDER / name, ignore_errors=True)
    noted: dict[str, Any] = {"id": secrets.token_hex(4), "logged": {}}
    if note.exists():
        noted = _noted(note)
    shown = "-".join([config.name or folder.resolve().name, *([] if name == RUN else [name])])
    running: dict[str, GeneralTracker] = {
        kind: _build(kind, config.project, folder / FOLDER, name, shown, noted["id"]) for kind in config.log_with
    }
    tracker = Tracker(running, note, noted)
    tracker.begin(about)
    try:
        yield tracker
    finally:
        tracker.end()


def is_complete(folder: Path, name: str) -> bool:
    """Whether all of a course was logged: see ``Tracker.complete``."""
    note = folder / FOLDER / f"{name}.json"
    return note.exists() and bool(_noted(note).get("complete", False))


def _are_numbers(logged: Any) -> bool:
    return isinstance(logged, dict) and all(type(step) is int for step in logged.values())


def _noted(note: Path) -> dict[str, Any]:
    """What a note holds; UserError where it is none."""
    noted = read_object(note)
    if not isinstance(noted.get("id"), str) or not _are_numbers(noted.get("logged")):
        raise UserError(f"{note} is no note of what trackers were told; remove it to log everything again.")
    return noted


def log_training(tracker: Tracker, training: "TrainConfig", losses: Sequence[float]) -> None:
    """The loss and the learning rate of each epoch."""
    for epoch, loss in enumerate(losses, 1):
        tracker.log({"loss": loss, "learning_rate": training.rate(epoch, len(losses))}, step=epoch)


def _build(kind: str, project: str, folder: Path, name: str, shown: str, own: str) -> "GeneralTracker":
    """A tracker that ``start`` will open, or open again: TensorBoard's by its folder, the others by name or id."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    build: Any = LOGGER_TYPE_TO_CLASS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tensorboard":
        return build(name, logging_dir=folder)
    if kind == "wandb":
        return build(project, name=shown, id=own, resume="allow", dir=str(folder))
    return build(project, name=f"{shown}-{own}", resume="allow")


def _warn(name: str, error: Exception) -> None:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    log.warning(f"tracker {name}: {reason}; the work goes on without it")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested values as ``dotted.key: value``; lists become text, and keys without a value are left out."""
    found: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = value if isinstance(value, str | int | float | bool) else str(value)
    return found


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among nested values as ``key/key: value``; a mean or a value counts for the mapping that holds it."""
    found: dict[str, float] = {}
    for key, value in values.items():
        tag = prefix.rstrip("/") if key in ("mean", "value") and prefix else f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= numbers(value, f"{tag}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[tag] = float(value)
    return found
