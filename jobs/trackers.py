"""Experiment trackers (Accelerate's). No result depends on them.

The last step of each tag is noted in a file before it is logged. Resumed work therefore logs no step twice and never
goes back; the step at which it was killed may be missing.
"""

import importlib.util
import json
import logging
import os
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
from probe.results.layout import TRACKER_NOTE, TRACKERS

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

    from probe.config import TrackersConfig
    from probe.training.config import TrainConfig

RUN = "run"
"""The name of the series of numbers of the whole work."""
log = logging.getLogger("probe")


class Tracker:
    """One run of each configured tracker; without trackers, nothing happens.

    Args:
        note: the file that keeps ``noted``; needed where there are trackers.
        noted: ``id``, by which a tracker recognizes the run, and ``logged``, the last step of each tag.
    """

    def __init__(
        self, running: "Mapping[str, GeneralTracker]", note: Path = Path(), noted: dict[str, Any] | None = None
    ):
        self.running, self._note = dict(running), note
        self._noted: dict[str, Any] = noted or {"logged": {}}

    def __bool__(self) -> bool:
        return bool(self.running)

    def log(self, values: Mapping[str, float | None], step: int | None = None) -> None:
        """Log numbers, except those without a value and those of a tag that already has this step or a later one.

        Args:
            values: by tag.
            step: the largest so far if None.
        """
        logged = self._noted["logged"]
        at = max(logged.values(), default=0) if step is None else step
        fresh = {tag: float(v) for tag, v in values.items() if v is not None and at > logged.get(tag, -1)}
        if self.running and fresh:
            logged |= dict.fromkeys(fresh, at)
            self._write()
            self.each("log", fresh, step=at)

    def begin(self, about: Mapping[str, Any]) -> None:
        """Start the trackers; the first time they get the configuration as hyperparameters."""
        self.each("start")
        if not self._note.exists():
            self._write()
            self.each("store_init_configuration", flat(about))

    def complete(self) -> None:
        """Note that there is nothing more to log."""
        if self.running:
            self._noted["complete"] = True
            self._write()

    def _write(self) -> None:
        write_atomically(self._note, json.dumps(self._noted))

    def each(self, method: str, *values: Any, **more: Any) -> None:
        """Call a method of each tracker. One that fails is dropped; what trackers print (trackio) goes to stderr, as it
        is no result."""
        for name, tracker in list(self.running.items()):
            try:
                with redirect_stdout(sys.stderr):
                    getattr(tracker, method)(*values, **more)
            except Exception as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                log.warning(f"tracker {name}: {reason}; continuing without it")
                del self.running[name]


def must_be_installed(config: "TrackersConfig") -> None:
    """Refuse trackers that are not installed.

    Raises:
        UserError: names the first one.
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
    """Open the trackers for one series of numbers, and close them after the block.

    Args:
        folder: of the work; trackers and notes keep their files in ``trackers/`` below it.
        name: of the series, such as a model of a study.
        about: the configuration, as hyperparameters.
        cpu: whether Accelerate leaves GPUs alone.
        anew: forget what was logged before.

    Raises:
        UserError: a tracker is not installed.
    """
    if not config.log_with:
        yield Tracker({})
        return
    must_be_installed(config)
    from accelerate import PartialState
    from torch.distributed import HashStore, init_process_group, is_initialized

    if "LOCAL_RANK" in os.environ and not is_initialized():
        # Accelerate would wait for a process group of all ranks, whose first one alone is here.
        init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    PartialState(cpu=cpu)
    note = folder / TRACKER_NOTE.at(run=name)
    if anew:
        note.unlink(missing_ok=True)
        shutil.rmtree(folder / TRACKERS / name, ignore_errors=True)
    noted: dict[str, Any] = _noted(note) if note.exists() else {"id": secrets.token_hex(4), "logged": {}}
    shown = "-".join([config.name or folder.resolve().name, *([] if name == RUN else [name])])
    running: dict[str, GeneralTracker] = {
        kind: _build(kind, config.project, folder / TRACKERS, name, shown, noted["id"]) for kind in config.log_with
    }
    tracker = Tracker(running, note, noted)
    tracker.begin(about)
    try:
        yield tracker
    finally:
        tracker.each("finish")


def is_complete(folder: Path, name: str) -> bool:
    """Whether a series is logged completely: see ``Tracker.complete``."""
    note = folder / TRACKER_NOTE.at(run=name)
    return note.exists() and bool(_noted(note).get("complete", False))


def _noted(note: Path) -> dict[str, Any]:
    noted = read_object(note)
    logged = noted.get("logged")
    steps = logged.values() if isinstance(logged, dict) else [None]
    if not isinstance(noted.get("id"), str) or not all(type(step) is int for step in steps):
        raise UserError(f"{note} is no record of what was logged to trackers; remove it to log everything again.")
    return noted


def log_training(tracker: Tracker, training: "TrainConfig", losses: Sequence[float]) -> None:
    """The loss and the learning rate of each epoch."""
    for epoch, loss in enumerate(losses, 1):
        tracker.log({"loss": loss, "learning_rate": training.rate(epoch, len(losses))}, step=epoch)


def _build(kind: str, project: str, folder: Path, name: str, shown: str, own: str) -> "GeneralTracker":
    """A tracker that ``start`` opens or reopens: TensorBoard by its folder, the others by name or id."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    build: Any = LOGGER_TYPE_TO_CLASS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tensorboard":
        return build(name, logging_dir=folder)
    if kind == "wandb":
        return build(project, name=shown, id=own, resume="allow", dir=str(folder))
    return build(project, name=f"{shown}-{own}", resume="allow")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested values as ``dotted.key: value``; lists become text, keys without a value are omitted."""
    found: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = value if isinstance(value, str | int | float | bool) else str(value)
    return found


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among nested values as ``key/key: value``; ``mean`` and ``value`` take the name of their mapping."""
    found: dict[str, float] = {}
    for key, value in values.items():
        tag = prefix.rstrip("/") if key in ("mean", "value") and prefix else f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= numbers(value, f"{tag}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[tag] = float(value)
    return found
