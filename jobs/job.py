"""One rank's work on one run: the model, checked against what is there, and stages shared out in parts."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import torch

from jobs.directory import Directory
from jobs.progress import Meter, progress
from jobs.provenance import describe_process, now
from jobs.run_directory import RunDirectory
from jobs.world import World
from probe.autoencoders import Autoencoder, load_autoencoder
from probe.dynamics import LatentMap
from probe.errors import UserError

T = TypeVar("T")
OPTIONAL = ("latents_mean", "latents_std", "quantisation", "length")
"""What is known of some models only, and stands in the manifest of those."""


class Job:
    """What every stage needs. All ranks call the same methods in the same order.

    Attributes:
        run: the run directory.
        world: the ranks.
        config: the run's configuration.
    """

    def __init__(self, run: RunDirectory, world: World | None = None):
        self.run, self.world, self.config = run, world or World(), run.config
        self._stages = 0

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, the same on all ranks and the one that made what is already there."""
        model = load_autoencoder(self.config.model)
        about = self._describe(model)
        there = self.world.agree(self.run.manifest.get("model", about) if self.world.rank == 0 else None)
        changed = [f"{key}: {there.get(key)} there, {new} now" for key, new in about.items() if there.get(key) != new]
        if changed:
            raise UserError(
                f"{self.run.path} was begun with another model, which differs in {'; '.join(changed)}; choose another "
                "folder with --out."
            )
        if self.world.rank == 0:
            self._begin_session(model, about)
        self.world.meet()  # from here on the manifest knows the model
        return model

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(c, h, w) at the configured resolution."""
        _ = self.model
        return tuple(self.run.manifest["model"]["latent_shape"])

    @property
    def f(self) -> LatentMap:
        """The latent map."""
        return LatentMap(self.model, clamp=self.config.model.clamp)

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Let rank 0 work while the others wait; its result (JSON) on every rank."""
        return self.world.agree(work() if self.world.rank == 0 else None)

    def missing(self, parts: Sequence[T], is_there: Callable[[T], object]) -> list[T]:
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
        with progress(self.run.path, self.world, self._stages, title, unit, before + total, before) as meter:
            yield self.world.claims(todo), meter
            self.world.meet()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time within to the stage's in the manifest, also where it is stopped."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self.world.rank == 0:
                before = self.run.manifest.get("stage_seconds", {}).get(stage, 0.0)
                self.run.update_manifest(stage_seconds={stage: round(before + time.monotonic() - began, 2)})

    def _describe(self, model: Autoencoder) -> dict[str, Any]:
        if self.config.datasets:
            model.must_take_images()
        shape = model.latent_shape(self.config.resolution)
        return {
            "source": model.source,
            "class": model.class_name,
            "weights_sha256": model.weights_sha256(),
            "code_sha256": model.code_sha256,
            "latent_shape": list(shape),
            "d": int(torch.Size(shape).numel()),
            "scaling_factor": model.scaling_factor,
            "shift_factor": model.shift_factor,
            "image_range": list(model.image_range),
            "latents": model.latents,
            "clamp": self.config.model.clamp,
            "parameters": model.parameters(),
            **{name: value for name in OPTIONAL if (value := _plain(getattr(model, name))) is not None},
        }

    def _begin_session(self, model: Autoencoder, about: dict[str, Any]) -> None:
        sessions = begin_session(self.run, self.world, model.device, self.config.model.dtype)
        self.run.update_manifest(schema_version=1, **sessions[0], model=about, sessions=sessions, data={})


def begin_session(directory: Directory, world: World, device: torch.device, dtype: str) -> list[dict[str, Any]]:
    """All processes that worked here, this one the last; the first of them stands at the top of the manifest."""
    process = {
        **describe_process(),
        "world_size": world.size,
        "ranks": world.ranks,
        "started": now(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "dtype": dtype,
    }
    return [*directory.manifest.get("sessions", []), process]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
