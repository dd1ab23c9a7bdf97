"""The stages of a run: attractors, dictionary, reconstruct, report. Each does what is missing, and nothing twice."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch

from jobs.progress import bar, log
from jobs.provenance import describe_process, now
from jobs.run_directory import RunDirectory
from probe.autoencoders import Autoencoder, load_autoencoder
from probe.data import ImageSet, load_images
from probe.dynamics import EndPoints, LatentMap
from probe.errors import UserError
from probe.studies.attractors import batches, build_dictionary, solve
from probe.studies.reconstruction import reconstruct as reconstruct_images
from probe.studies.reconstruction import to_pixels

DICTIONARY = ("dictionary.safetensors", "gallery.safetensors")
GALLERY = 64
"""Atoms whose decoded end points are kept as pictures, largest basins first."""


class Stages:
    """The stages over one run directory; the model is loaded once, when first needed."""

    def __init__(self, run: RunDirectory):
        self.run = run
        self.config = run.config

    def all(self) -> dict[str, Any]:
        """Every stage in order; the report.

        The images come first: a mistyped path or a gated repository should not be found after hours of iteration.
        """
        images = {name: self.images(name) for name in self.config.datasets if not self.run.has(*_tables(name))}
        self.attractors()
        self.dictionary()
        self.reconstruct(images)
        return self.report()

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, checked against the one that made what is already there."""
        model = load_autoencoder(self.config.model)
        shape = model.latent_shape(self.config.resolution)
        about = {
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
        }
        there = self.run.manifest.get("model", about)
        changed = [f"{key}: {there.get(key)} there, {new} now" for key, new in about.items() if there.get(key) != new]
        if changed:
            raise UserError(
                f"{self.run.path} was begun with another model, which differs in {'; '.join(changed)}; choose another "
                "folder with --out."
            )
        device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else str(model.device)
        process = {**describe_process(), "started": now(), "device": device, "dtype": self.config.model.dtype}
        sessions = [*self.run.manifest.get("sessions", []), process]
        # The process that began the run stands at the top; all stand in `sessions`.
        self.run.update_manifest(schema_version=1, **sessions[0], model=about, sessions=sessions, data={})
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

    def attractors(self) -> None:
        """Iterate every start; a file for each batch of starts."""
        seeds, solver = self.config.seeds, self.config.solver
        ranges = batches(seeds.count, solver.batch_size)
        todo = [indices for indices in ranges if not self.run.has(_shard(indices))]
        if not todo:
            return
        f, shape, model = self.f, self.latent_shape, self.model
        with self._timed("attractors"), bar("attractors", "starts", sum(map(len, todo))) as progress:
            finished = 0
            for indices in todo:

                def on_step(step: int, running: int, size: int = len(indices), before: int = finished) -> None:
                    share = running * step / (solver.max_steps + 1)
                    progress.update(before + size - running + share, f"step {step}, {running} running")

                ends = solve(
                    f,
                    shape,
                    indices,
                    seed=seeds.seed,
                    solver=solver,
                    device=model.device,
                    dtype=model.dtype,
                    on_step=on_step,
                )
                self.run.save_tensors(_shard(indices), {"index": torch.tensor(indices), **vars(ends)})
                finished += len(indices)

    def end_points(self) -> EndPoints:
        """All starts in order, from the files of the attractors stage.

        Raises:
            UserError: the indices are not exactly 0..count-1.
        """
        count = self.config.seeds.count
        files = sorted(self.run.path.glob("attractors/*.safetensors"))
        parts = [self.run.load_tensors(str(file.relative_to(self.run.path))) for file in files]
        index = torch.cat([part.pop("index") for part in parts]) if parts else torch.empty(0)
        order = index.argsort()
        if not torch.equal(index[order], torch.arange(count)):
            raise UserError(
                f"{self.run.path}/attractors holds {len(index)} starts that are not exactly 0..{count - 1}; "
                f"run `probe attractors {self.run.path}` first, or remove files that do not belong there."
            )
        ends = EndPoints.concatenate([EndPoints(**part) for part in parts])
        return EndPoints(**{name: value[order] for name, value in vars(ends).items()})

    def dictionary(self) -> None:
        """Merge and certify the end points, and decode the largest basins."""
        if self.run.has(*DICTIONARY):
            return
        ends, model = self.end_points(), self.model
        with self._timed("dictionary"), bar("dictionary", "end points examined", 0) as progress:
            made = build_dictionary(
                self.f,
                ends,
                solver=self.config.solver,
                dictionary=self.config.dictionary,
                device=model.device,
                on_point=lambda done, total: progress.update(done, total=total),
            )
            tensors = {name: value for name, value in vars(made).items() if name not in ("summary", "ends")}
            self.run.save_tensors("dictionary.safetensors", tensors, made.summary)
            with torch.no_grad():
                decoded = [to_pixels(model, model.decode(z[None].to(model.device))) for z in made.ends[:GALLERY]]
            self.run.save_tensors("gallery.safetensors", {"images": torch.cat(decoded)})

    def dictionary_summary(self) -> dict[str, Any]:
        """The counts of the dictionary stage."""
        return self.run.load_summary("dictionary.safetensors")

    def images(self, name: str) -> ImageSet:
        """The images of a data set, at the model's resolution."""
        _ = self.latent_shape  # a resolution that does not suit the model is found before anything is downloaded
        log(f"images: {name}")
        return load_images(name, self.config.datasets[name], resolution=self.config.resolution)

    def reconstruct(self, loaded: dict[str, ImageSet] | None = None) -> None:
        """Solve the sparse reconstructions of every data set; two files for each.

        Args:
            loaded: images that are in memory already, by data set; released one by one.
        """
        loaded = {} if loaded is None else loaded
        todo = [name for name in self.config.datasets if not self.run.has(*_tables(name))]
        if not todo:
            return
        if not self.run.has(*DICTIONARY):
            raise UserError(f"{self.run.path} has no dictionary yet; run `probe dictionary {self.run.path}` first.")
        atoms, first = self.run.load_tensors("dictionary.safetensors")["atoms"], self.end_points().first
        model = self.model
        methods = 1 + len(self.config.sparse.controls)
        begun = itertools.count()
        with self._timed("reconstruct"), bar("reconstruct", "dictionaries", len(todo) * methods) as progress:
            for name in todo:
                images = loaded.pop(name, None) or self.images(name)

                def on_method(method: str, name: str = name) -> None:
                    progress.update(next(begun), f"{name}: {method}")

                found = reconstruct_images(
                    model,
                    atoms,
                    first,
                    images.images,
                    images.heldout,
                    images.ids,
                    self.config.sparse,
                    seed=self.config.seeds.seed,
                    on_method=on_method,
                )
                about = {
                    "method_atoms": found.method_atoms,
                    "absent": found.absent,
                    "five_percent": found.five_percent,
                    "dtype": self.config.sparse.dtype,
                }
                self.run.update_manifest(data={name: _describe(images)})
                table, examples = _tables(name)
                self.run.save_tensors(examples, found.examples)
                self.run.save_table(table, found.rows, about)

    def report(self) -> dict[str, Any]:
        """Write report/ from the results; the report."""
        from probe.report import write_report

        missing = [name for name in self.config.datasets if not self.run.has(*_tables(name))]
        if missing or not self.run.has(*DICTIONARY):
            raise UserError(
                f"{self.run.path} is not complete ({', '.join(missing) or 'no dictionary'} missing); "
                "the stages before are `probe attractors`, `probe dictionary` and `probe reconstruct`."
            )
        if "finished" not in self.run.manifest:
            self.run.update_manifest(finished=now())
        report = write_report(self.run.path)
        log(f"report: {self.run.path / 'report' / 'report.html'}")
        return report

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add the time within to the stage's, also where it is stopped."""
        began = time.monotonic()
        try:
            yield
        finally:
            before = self.run.manifest.get("stage_seconds", {}).get(stage, 0.0)
            self.run.update_manifest(stage_seconds={stage: round(before + time.monotonic() - began, 2)})


def _shard(indices: range) -> str:
    return f"attractors/{indices.start:08d}-{indices.stop - 1:08d}.safetensors"


def _tables(name: str) -> tuple[str, str]:
    return f"reconstructions/{name}.parquet", f"reconstructions/{name}.safetensors"


def _describe(images: ImageSet) -> dict[str, Any]:
    return {
        "sha256": images.sha256,
        "n_planned": images.n_planned,
        "n_used": len(images.images),
        "n_heldout": len(images.heldout),
        "unreadable": images.unreadable,
        "source": images.source,
    }
