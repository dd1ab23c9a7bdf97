"""The directory of a run of ``probe run``, and what is there; nothing is computed here, and torch is not imported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.directory import Directory
from jobs.stage import Counts
from probe.config import Config, SeedConfig, parse_config
from probe.data.presets import resolve
from probe.errors import UserError
from probe.results import layout
from probe.results.files import read_about, rows_of, tensor_names

Look = Callable[..., dict[str, Any] | None]
"""``checked``, ``needed`` or ``claimed`` of a directory."""


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
        return read_about(self.path / layout.DICTIONARY)

    @property
    def borrowed(self) -> str | None:
        """The checksum of the borrowed dictionary that images are coded in; None if the run borrows none."""
        return read_about(self.path / layout.BORROWED).get("sha256") if self.config.dictionary.source else None

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
        expected = {key: value for key, value in {**made_from, "borrowed": self.borrowed}.items() if value}
        files = [*table_files(name)]
        own = not self.config.dictionary.source  # else its atoms are of no starts that are here
        if own and "member" in tensor_names(self.path / layout.DICTIONARY):  # else an older version made them
            files.append(layout.SUBSETS.at(dataset=name))
        return all(look(file, **expected) for file in files)


def table_files(name: str) -> tuple[str, str]:
    """The table of errors of a data set, and its example pictures."""
    return layout.TABLE.at(dataset=name), layout.PICTURES.at(dataset=name)


def image_file(name: str) -> str:
    """Where a data set's images are kept."""
    return layout.IMAGES.at(dataset=name)


def tables(run: RunDirectory) -> list[str]:
    """Data sets that are finished."""
    return [name for name in run.config.datasets if (run.path / layout.TABLE.at(dataset=name)).is_file()]


def shards(seeds: SeedConfig) -> list[range]:
    """The ranges of starts of a run."""
    return [range(i, min(i + seeds.shard_size, seeds.count)) for i in range(0, seeds.count, seeds.shard_size)]


def count_images(run: RunDirectory) -> Counts:
    """Data sets whose images are drawn."""
    kept = {file.stem for file in run.path.glob(layout.IMAGES.glob)}
    drawn = kept | set(run.data if run.uncoded else tables(run))
    return len(drawn & set(run.config.datasets)), len(run.config.datasets)


def count_starts(run: RunDirectory) -> Counts:
    """Starts that are there, those of unfinished shards included."""
    # Listed once: there are many shards, and many tasks.
    whole, begun = ({*run.path.glob(file.glob)} for file in (layout.SHARD, layout.SHARD_PART))

    def rows(part: range) -> int:
        if run.path / layout.SHARD.at(part) in whole:
            return len(part)
        file = run.path / layout.SHARD_PART.at(part)
        return rows_of(file, "index") if file in begun else 0

    return sum(map(rows, shards(run.config.seeds))), run.config.seeds.count


def count_dictionary(run: RunDirectory) -> Counts:
    """Shards of certificates, then the dictionary and shards of basins; one in all when everything is there."""
    if not (run.path / layout.DICTIONARY.name).is_file():
        return len(list(run.path.glob(layout.CERTIFICATES.glob))), None
    if not run.about_dictionary.get("basins") or (run.path / layout.BASINS.name).is_file():  # older ones have none
        return 1, 1
    return 1 + len(list(run.path.glob(layout.BASIN_PART.glob))), None


def count_reconstructed(run: RunDirectory) -> Counts:
    """Shards of images; a finished table counts as all of its shards."""
    per_set = {name: -(-run.config.datasets[name].n // run.config.sparse.batch_size) for name in run.reconstructed}
    finished, parts = set(tables(run)), run.path / layout.WORK / layout.RECONSTRUCTIONS
    done = [n if name in finished else len(list(parts.glob(f"{name}/*.safetensors"))) for name, n in per_set.items()]
    return sum(done), sum(per_set.values())


def parts_planned(config: Config) -> int:
    """Shards of images, as far as the configuration says."""
    return sum(-(-spec.n // config.sparse.batch_size) for spec in config.datasets.values())
