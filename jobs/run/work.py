"""The directory of a run of ``probe run``, and what its stages take: the model, CLIP, and the time of each stage."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from jobs.directory import Directory
from jobs.work import Work
from probe.autoencoders import Autoencoder, device_of
from probe.config import Config, parse_config
from probe.data import resolve
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.plan.begun import plan_begun
from probe.plan.stage import Plan
from probe.results import layout
from probe.results.files import Damaged, read_tensors, tensor_names
from probe.semantics import MISSING, is_installed
from probe.semantics.clip import Clip, load_clip
from probe.studies.perceptual import Perceptual, load_perceptual

log = logging.getLogger("probe")
Look = Callable[..., dict[str, Any] | None]
"""``checked``, ``needed`` or ``claimed`` of a directory."""
SOON = 20.0
"""Seconds that an independent process waits for the directory to note its time there."""
OPTIONAL = ("latents_mean", "latents_std", "quantisation", "length")
"""Facts that only some models have, and that stand in the manifest of those. A fact added here later would be missing
from older manifests, and their runs would be refused: note it as ``None`` for all models instead."""


@dataclass(frozen=True)
class RunDirectory(Directory[Config]):
    """A folder that holds one run of ``probe run``."""

    NOUN = "run"
    RESULTS = (layout.ATTRACTORS, layout.DICTIONARY.name, layout.RECONSTRUCTIONS)
    parse = staticmethod(parse_config)

    @classmethod
    def create(cls, path: Path, config: Config) -> "RunDirectory":
        """As ``Directory.create``, with the presets of the data sets written out."""
        named = {name: resolve(name, spec) for name, spec in config.datasets.items()}
        return super().create(path, config.model_copy(update={"datasets": named}))

    @classmethod
    def wants_cpu(cls, config: Config) -> bool:
        return config.model.device == "cpu"

    def model_checksums(self) -> dict[str, str | None]:
        """Of weights and code; the manifest knows them once a stage has loaded the model.

        Raises:
            UserError: no stage has.
        """
        model = self.manifest.get("model")
        if model is None:
            raise UserError(
                f"{self.path} has no results yet; run `probe run {self.path}/config.yaml --out {self.path}` first."
            )
        try:
            return {name: model[name] for name in ("weights_sha256", "code_sha256")}
        except KeyError as error:
            raise UserError(
                f"{self.path / layout.MANIFEST} is damaged: its model has no {error.args[0]}; put the file back, or "
                "choose another folder with --out."
            ) from None

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(c, h, w) at the configured resolution, once a stage has loaded the model."""
        return tuple(self.manifest["model"]["latent_shape"])

    @property
    def about_dictionary(self) -> dict[str, Any]:
        """The metadata of the dictionary, unchecked; empty where it is missing, or cannot be read: the stages that need
        it say so."""
        try:
            return read_tensors(self.path / layout.DICTIONARY, ("leader",))[1]
        except (FileNotFoundError, Damaged):
            return {}

    @property
    def uncoded(self) -> str:
        """Why no image is reconstructed although there are data sets: a sentence; else empty."""
        return self.about_dictionary.get("uncoded", "") if self.config.datasets else ""

    @property
    def reconstructed(self) -> list[str]:
        """The data sets whose images are reconstructed: all, unless they are ``uncoded``."""
        return [] if self.uncoded else list(self.config.datasets)

    def has_table(self, name: str, look: Look, **made_from: str | None) -> bool:
        """Whether a data set's final files are there, made from these results where they are given."""
        expected = {key: value for key, value in made_from.items() if value}
        files = [*table_files(name)]
        if "member" in tensor_names(self.path / layout.DICTIONARY):  # else an older version made them
            files.append(layout.SUBSETS.at(dataset=name))
        return all(look(file, **expected) for file in files)


def table_files(name: str) -> tuple[str, str]:
    """The table of errors of a data set, and its example pictures."""
    return layout.TABLE.at(dataset=name), layout.PICTURES.at(dataset=name)


class RunWork(Work[RunDirectory]):
    """The model is loaded once."""

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
