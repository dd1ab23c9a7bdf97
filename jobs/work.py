"""What the stages of every kind of work take: a directory, the ranks, and what both need together."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from jobs.directory import Directory
from jobs.made_with import listed
from jobs.progress import Meter, progress
from jobs.provenance import describe_process, now
from jobs.reported import current_report, keep_checksum
from jobs.trackers import RUN, Tracker, tracking
from jobs.world import World
from probe.autoencoders import Autoencoder, load_autoencoder
from probe.config import ModelConfig, TrackersConfig
from probe.errors import UserError
from probe.plan.stage import Plan
from probe.results.layout import REPORT_HTML, WORK
from probe.trust import must_be_trusted, remember

log = logging.getLogger("probe")

T = TypeVar("T")
D = TypeVar("D", bound=Directory[Any])


class Work(Generic[D]):
    """One rank's work on a directory. All ranks call the same methods in the same order.

    Attributes:
        directory: where the results are.
        config: its configuration.
        world: the ranks.
        trusted: whether the user asked for the code that the model may bring, rather than for the directory alone.
        models: those that were loaded so far.
    """

    def __init__(self, directory: D, world: World | None = None, trusted: bool = True):
        self.directory, self.world, self.trusted = directory, world or World(), trusted
        self.config: Any = directory.config
        self.models: list[Autoencoder] = []
        self._begun = False
        if self.world.leads:
            directory.unchanged()

    @property
    def device(self) -> torch.device:
        """Where models are put."""
        gpu = torch.cuda.is_available() and not self.directory.wants_cpu(self.config)
        return torch.device("cuda" if gpu else "cpu")

    def share(
        self,
        title: str,
        unit: str,
        todo: Sequence[T],
        is_there: Callable[[T], object],
        *,
        size: Callable[[T], int] = lambda part: 1,
        before: int = 0,
    ) -> Iterator[tuple[T, Meter]]:
        """The parts ``todo`` (the same on all ranks), each for one rank, the next for whoever is free. All are done
        when the iterator ends. A part has ``size`` units; ``before`` units were there already. Independent processes
        see by ``is_there`` what another has done."""
        total = sum(map(size, todo))
        with self.claiming(title, unit, todo, is_there, size=size, total=total, before=before) as (claims, meter):
            for part in claims:
                yield part, meter
                meter.finish(size(part))

    @contextmanager
    def claiming(
        self,
        title: str,
        unit: str,
        todo: Sequence[T] = (),
        is_there: Callable[[T], object] = bool,
        *,
        size: Callable[[T], int] = lambda part: 1,
        total: int,
        before: int = 0,
    ) -> Iterator[tuple[Iterator[T], Meter]]:
        """As ``share``, for work on several parts at once: the parts as this rank claims them, and the meter. Without
        parts it is a stage for rank 0 alone: the others wait at the end of the block. Parts that independent processes
        hold may not be there at the end of the block."""
        world = self.world
        with progress(self.directory.path, world, title, unit, before + total, before) as meter:
            try:
                yield world.claims(title, todo, is_there, lambda part: meter.finish(size(part))), meter
            finally:
                world.let_go()
            world.barrier()

    @contextmanager
    def tracked(self, name: str = RUN, **about: Any) -> Iterator[Tracker]:
        """The trackers of the configuration, within the block; none on other ranks than 0, and none of the whole work
        where independent processes share it, since one process writes a series.

        Args:
            name: of the series: the whole work, or a part such as a model.
            about: facts of the part, logged as hyperparameters.
        """
        config, cpu = self.config, self.directory.wants_cpu(self.config)
        several = self.world.independent and name == RUN
        wanted = config.trackers if self.world.leads and not several else TrackersConfig()
        with tracking(self.directory.path, wanted, name, {**config.settings(), **about}, cpu=cpu) as tracker:
            yield tracker

    def begin(self, device: torch.device | None = None, dtype: str = "float32", **about: Any) -> None:
        """Note this process in the manifest once, and ``about`` at its top; the first process's facts stay there.

        Afterwards every rank can read them.
        """

        def note() -> None:
            entries = about if self._begun else self._session(device or self.device, dtype, about)
            if entries:  # else other processes of a study, which note theirs under the lock, would be overwritten
                self.directory.update_manifest(**entries)
            self.directory.keep_made_with()

        self.world.on_rank_0(note)
        self._begun = True

    def _session(self, device: torch.device, dtype: str, about: dict[str, Any]) -> dict[str, Any]:
        process = {
            **describe_process(),
            "world_size": self.world.size,
            "ranks": self.world.ranks,
            "started": now(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "dtype": dtype,
        }
        sessions = [*self.directory.manifest.get("sessions", []), process]
        return {"schema_version": 1, **sessions[0], **about, "sessions": sessions, "data": {}}

    def prepare(self) -> None:
        """Load, on all ranks together, what ``plan`` looks at and the stages need in any case."""

    def plan(self) -> Plan | None:
        """What the work is expected to take on this machine, for rank 0, after ``prepare``; None for a small work.

        It may take a second, and changes nothing that results depend on."""
        raise NotImplementedError

    def load_model(
        self,
        spec: ModelConfig,
        describe: Callable[[Autoencoder], dict[str, Any]],
        optional: tuple[str, ...] = (),
        name: str | None = None,
    ) -> Autoencoder:
        """Load the model, compare it with the one that the work was begun with, and note it in the manifest.

        Its code is remembered if the user asked for it, and refused if only the directory does.

        Args:
            describe: further facts that are noted and compared; may refuse the model.
            optional: facts that only some models have, compared also where one side lacks them.
            name: of one of several models; the manifest has it under ``models``.

        Raises:
            UserError: as ``load_autoencoder``; it is another model; or it would run code that is not trusted.
        """
        if not self.trusted:
            must_be_trusted(spec, self.directory.path)
        model = load_autoencoder(self._pinned(spec, name))
        self.models.append(model)
        if self.trusted and self.world.leads and not remember(spec):
            log.info("the model's code cannot be remembered: commands on the directory alone need --trust-code")
        more = describe(model)
        checksums = {"weights_sha256": model.weights_sha256(), "code_sha256": model.code_sha256}
        about = {"source": model.source, "class": model.class_name, **checksums, **more}
        there = self.world.on_rank_0(lambda: self._noted(name) or about)
        # A fact that the manifest lacks was not noted yet when the work was begun.
        compared = [key for key in {**about, **dict.fromkeys(optional)} if key in there or key in optional]
        changed = [key for key in compared if there.get(key) != about.get(key)]
        if changed:
            told = listed([f"{key}: {there.get(key)} there, {about.get(key)} now" for key in changed])
            raise UserError(
                f"{self.directory.path} was begun with another model{f' {name!r}' if name else ''}, which differs in "
                f"{told}; choose another folder with --out."
            )
        noted = about | ({"warnings": list(model.warnings)} if model.warnings else {})
        noted |= {"revision": model.revision} if model.revision else {}
        self.begin(model.device, spec.dtype, **({"models": {name: noted}} if name else {"model": noted}))
        return model

    def _pinned(self, spec: ModelConfig, name: str | None) -> ModelConfig:
        """The specification with the commit on the hub that the work was begun with: a branch may have moved since.
        Code from the hub is trusted by what the user names, so that is what runs."""
        noted = self.world.on_rank_0(lambda: self._noted(name)) or {}
        if spec.trust_remote_code or noted.get("source") != spec.source or not noted.get("revision"):
            return spec
        return spec.model_copy(update={"revision": noted["revision"]})

    def _noted(self, name: str | None) -> dict[str, Any] | None:
        """What the manifest says of the model, or of one of several."""
        manifest = self.directory.manifest
        return manifest.get("models", {}).get(name) if name else manifest.get("model")

    def finish(self, write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Write the report on rank 0, log its warnings and where it is; the report."""
        if "finished" not in self.directory.manifest:
            self.directory.update_manifest(finished=now())
        content = write()
        keep_checksum(self.directory)
        self._tell(content)
        return content

    def finished(self) -> dict[str, Any] | None:
        """The report, on every rank, if it is there and would be the same when written again. With trackers it is
        written again: what they hold is no part of the directory."""
        if self.config.trackers.log_with:
            return None
        content = self.world.on_rank_0(lambda: current_report(self.directory))
        if content and self.world.leads:
            self._tell(content)
            shutil.rmtree(self.directory.path / WORK, ignore_errors=True)  # such as images of a table made again
        return content

    def _tell(self, content: dict[str, Any]) -> None:
        for warning in content.get("warnings", ()):
            log.warning(f"warning: {warning}")
        log.info(f"report: {self.directory.path / REPORT_HTML}")
