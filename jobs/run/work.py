"""One rank's work on one run: the model, compared with what is there, CLIP, and the time of each stage."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch

from jobs.run.directory import RunDirectory
from jobs.work import Work
from probe.autoencoders import Autoencoder, device_of
from probe.config import Config
from probe.dynamics import LatentMap
from probe.semantics import MISSING, is_installed
from probe.semantics.clip import Clip, load_clip, word_list

log = logging.getLogger("probe")
OPTIONAL = ("latents_mean", "latents_std", "quantisation", "length")
"""Facts that only some models have, and that stand in the manifest of those. A fact added here later would be missing
from older manifests, and their runs would be refused: note it as ``None`` for all models instead."""


class RunWork(Work[RunDirectory]):
    """What the stages of a run need besides; the model is loaded once."""

    config: Config

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, the same on all ranks and the one that made what is already there.

        Raises:
            UserError: it cannot be loaded, is another, or would run code that the user did not ask for.
        """
        return self.load_model(self.config.model, self._describe, OPTIONAL)

    @cached_property
    def clip(self) -> Clip | None:
        """The CLIP of the configuration; None where it names none, or open_clip is not installed."""
        asked = self.config.clip
        if asked is None:
            return None
        if not is_installed():
            log.warning(MISSING) if self.leads else None
            return None
        return load_clip(asked, device_of(self.config.model.device))

    @cached_property
    def words(self) -> list[str]:
        """The words that end points are labelled from; none where the configuration names no CLIP."""
        return word_list(self.config.clip.labels) if self.config.clip else []

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(c, h, w) at the configured resolution."""
        _ = self.model
        return tuple(self.directory.manifest["model"]["latent_shape"])

    @property
    def f(self) -> LatentMap:
        """The latent map."""
        return LatentMap(self.model, clamp=self.config.model.clamp)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time within to the stage's in the manifest, also after a stop."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self.leads:
                before = self.directory.manifest.get("stage_seconds", {}).get(stage, 0.0)
                seconds = round(before + time.monotonic() - began, 2)
                self.directory.update_manifest(stage_seconds={stage: seconds})

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


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
