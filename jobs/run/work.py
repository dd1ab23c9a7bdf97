"""What the stages of a run of ``probe run`` take: the model, CLIP, and the time of each stage."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import torch

from jobs.run.borrowed import borrow
from jobs.run.directory import RunDirectory
from jobs.work import Work
from probe.autoencoders import Autoencoder, device_of
from probe.config import Config
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.plan.begun import plan_begun
from probe.plan.stage import Plan
from probe.semantics import MISSING, is_installed
from probe.semantics.clip import Clip, load_clip
from probe.studies.perceptual import Perceptual, load_perceptual

log = logging.getLogger("probe")
SOON = 20.0
"""Seconds that an independent process waits for the directory to note its time there."""
OPTIONAL = ("latents_mean", "latents_std", "quantisation", "length")
"""Facts that only some models have, and that stand in the manifest of those. A fact added here later would be missing
from older manifests, and their runs would be refused: note it as ``None`` for all models instead."""


class RunWork(Work[RunDirectory]):
    """The model is loaded once."""

    config: Config

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, the same on all ranks and the one that made what is already there; a dictionary that the
        configuration names is then there, too.

        Raises:
            UserError: it cannot be loaded, is another, or would run code that the user did not ask for; or as
                ``borrow``.
        """
        found = self.load_model(self.config.model, self._describe, OPTIONAL)
        borrow(self.directory, self.world, found)
        return found

    @cached_property
    def clip(self) -> Clip | None:
        """The CLIP of the configuration; None where it names none, or open_clip is not installed."""
        asked = self.config.clip
        if asked is None:
            return None
        if not is_installed():
            log.warning(MISSING) if self.world.leads else None
            return None
        return load_clip(asked, device_of(self.config.model.device))

    @cached_property
    def perceptual(self) -> Perceptual:
        """LPIPS and rFID, as far as the configuration asks for them and their weights are here."""
        asked = self.config.perceptual
        found = load_perceptual(asked, device_of(self.config.model.device)) if asked else Perceptual()
        for sentence in found.missing if self.world.leads else ():
            log.warning(sentence)
        return found

    def prepare(self) -> None:
        """As ``Work.prepare``."""
        _ = self.model

    def plan(self) -> Plan | None:
        """As ``Work.plan``."""
        return plan_begun(self.config, self.model, self.world.size)

    @property
    def f(self) -> LatentMap:
        """The latent map."""
        return LatentMap(self.model, clamp=self.config.model.clamp)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time within to the stage's in the manifest, also after a stop; that of independent processes adds
        up."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self.world.leads:
                spent = time.monotonic() - began
                with suppress(UserError), self.world.alone(SOON):  # a stop must not wait for another process
                    before = self.directory.manifest.get("stage_seconds", {}).get(stage, 0.0)
                    self.directory.update_manifest(stage_seconds={stage: round(before + spent, 2)})

    def _describe(self, model: Autoencoder) -> dict[str, Any]:
        if self.config.datasets:
            model.must_take_images()
        shape = model.latent_shape(self.config.resolution)
        return {
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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
