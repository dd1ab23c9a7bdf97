"""What every kind of work on a directory needs: ranks that share parts, sessions in the manifest, nothing mixed."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from jobs.directory import Directory
from jobs.made_with import listed
from jobs.progress import Meter, progress
from jobs.provenance import describe_process, now
from jobs.trackers import RUN, Tracker, tracking
from jobs.world import World
from probe.autoencoders import Autoencoder, load_autoencoder
from probe.config import ModelConfig, TrackersConfig
from probe.errors import UserError
from probe.trust import must_be_trusted, remember

log = logging.getLogger("probe")

T = TypeVar("T")
D = TypeVar("D", bound=Directory[Any])


class Work(Generic[D]):
    """One rank's work. All ranks call the same methods in the same order.

    Attributes:
        directory: where the results are.
        world: the ranks.
    """

    def __init__(self, directory: D, world: World | None = None):
        self.directory, self.world = directory, world or World()
        self._stages = 0
        if self.leads:
            directory.unchanged()

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.world.rank == 0

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Let rank 0 work while the others wait; its result (JSON) on every rank."""
        return self.world.broadcast(work() if self.leads else None)

    def absent(self, parts: Sequence[T], is_there: Callable[[T], object]) -> list[T]:
        """The parts that are not there, as rank 0 sees it; the same on all ranks."""
        return [parts[i] for i in self.on_rank_0(lambda: [i for i, part in enumerate(parts) if not is_there(part)])]

    def share_out(
        self, title: str, unit: str, todo: Sequence[T], *, size: Callable[[T], int], before: int
    ) -> Iterator[tuple[T, Meter]]:
        """Parts of a stage, each to one rank, the next to whoever is free; all are done when it ends.

        Args:
            title, unit: for the progress.
            todo: the parts, the same on all ranks.
            size: units in a part; before: units that were there already.
        """
        total = sum(map(size, todo))
        with self.claiming(title, unit, todo, total=total, before=before) as (claims, meter):
            for part in claims:
                yield part, meter
                meter.finish(size(part))

    @contextmanager
    def claiming(
        self, title: str, unit: str, todo: Sequence[T], *, total: int, before: int
    ) -> Iterator[tuple[Iterator[T], Meter]]:
        """The same, for work that has several parts in hand: the parts as this rank claims them, and the meter."""
        self._stages += 1
        with progress(self.directory.path, self.world, self._stages, title, unit, before + total, before) as meter:
            yield self.world.claims(todo), meter
            self.world.barrier()

    @contextmanager
    def leading(self, title: str, unit: str, total: int) -> Iterator[Meter]:
        """A stage that rank 0 works on, while the others wait at the end of the block."""
        with self.claiming(title, unit, (), total=total, before=0) as (_, meter):
            yield meter

    @contextmanager
    def tracked(self, name: str = RUN, **about: Any) -> Iterator[Tracker]:
        """The trackers of the configuration, within the block; none on other ranks than 0.

        Args:
            name: of the course of numbers that is logged; of the whole work, or of a part such as a model.
            about: what is known of the part, as hyperparameters.
        """
        config = self.directory.config
        wanted = config.trackers if self.leads else TrackersConfig()
        described = {**config.settings(), **about}
        cpu = self.directory.wants_cpu(config)
        with tracking(self.directory.path, wanted, name, described, cpu=cpu) as tracker:
            yield tracker

    def begin_session(self, device: torch.device, dtype: str, **about: Any) -> None:
        """Note this process in the manifest, on rank 0; the first one's facts stand at its top, with ``about``."""
        process = {
            **describe_process(),
            "world_size": self.world.size,
            "ranks": self.world.ranks,
            "started": now(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "dtype": dtype,
        }
        sessions = [*self.directory.manifest.get("sessions", []), process]
        self.directory.update_manifest(schema_version=1, **sessions[0], **about, sessions=sessions, data={})
        self.directory.keep_made_with()

    def loaded(self, spec: ModelConfig, trusted: bool) -> Autoencoder:
        """A model; its code is noted if the user asked for it, and refused if somebody else's directory does.

        Raises:
            UserError: as ``load_autoencoder``; or it would run code that is not trusted, and was not before.
        """
        if not trusted:
            must_be_trusted(spec, self.directory.path)
        model = load_autoencoder(spec)
        if trusted and self.leads and not remember(spec):
            log.info("the model's code cannot be noted as yours: a command on the directory alone needs --trust-code")
        return model

    def must_be_the_model(self, about: dict[str, Any], optional: tuple[str, ...] = ()) -> None:
        """Refuse a model that is not the one which the work was begun with.

        Args:
            about: facts; one that the manifest lacks was not noted yet when the work was begun, and is not compared.
            optional: facts that only some models have, and that are compared also where one side lacks them.

        Raises:
            UserError: it differs from the manifest's, in what is named.
        """
        there = self.on_rank_0(lambda: self.directory.manifest.get("model", about))
        compared = [key for key in about if key in there or key in optional]
        compared += [key for key in optional if key in there and key not in about]
        changed = [key for key in compared if there.get(key) != about.get(key)]
        if changed:
            told = listed([f"{key}: {there.get(key)} there, {about.get(key)} now" for key in changed])
            raise UserError(
                f"{self.directory.path} was begun with another model, which differs in {told}; choose another folder "
                "with --out."
            )

    def must_be_the_images(
        self, what: str, about: dict[str, Any], known: dict[str, Any] | None, compared: tuple[str, ...] = ()
    ) -> None:
        """Refuse images that are not those which the work was begun with.

        Args:
            what: "data set NAME", as the sentence names it.
            about, known: facts of the images, and those in the manifest, if there are any.
            compared: further facts that are named where they differ, too.

        Raises:
            UserError: their ``sha256`` differ.
        """
        if known is None or known["sha256"] == about["sha256"]:
            return
        changed = [key for key in compared if known[key] != about[key]]
        raise UserError(
            f"{what} has changed since {self.directory.path} was begun: its images have sha256 "
            f"{known['sha256'][:12]}... there and {about['sha256'][:12]}... now"
            f"{', and another ' + ', '.join(changed) if changed else ''}; choose another folder with --out."
        )
