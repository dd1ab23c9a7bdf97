"""One rank's work on an OOD experiment: its sets, its model, and what their results are made from."""

from functools import cached_property

from torch import Tensor

from jobs.ood.directory import OodDirectory
from jobs.ood.training import trained_model
from jobs.work import Work
from probe.autoencoders import Autoencoder
from probe.results import layout
from probe.studies.ood.config import OodConfig
from probe.studies.ood.images import control_name, must_fit


class OodWork(Work[OodDirectory]):
    """What the stages of an OOD experiment need besides; the model is loaded once."""

    config: OodConfig

    @property
    def sets(self) -> list[str]:
        """Sets that are scored: ``test``, the OOD sets, and a control for each that comes from files."""
        controls = [control_name(name) for name in self.config.outside if control_name(name) in self.data]
        return ["test", *self.config.outside, *controls]

    @cached_property
    def model(self) -> Autoencoder:
        """The autoencoder, trained first where the configuration says so; the one that made what is already there.

        Raises:
            UserError: as ``Work.load_model``; or a set is in colour and the model takes grey images.
        """
        spec = self.config.model or trained_model(self)

        def describe(model: Autoencoder) -> dict[str, object]:
            must_fit(model.channels, self.data)
            return {
                # Where the folder of a model that is trained here lies does not matter.
                "source": layout.OOD_MODEL if self.config.train else model.source,
                "class": model.class_name,
                "weights_sha256": model.weights_sha256(),
                "code_sha256": model.code_sha256,
                "latent_shape": list(model.latent_shape(model.side or self.config.resolution)),
                "parameters": model.parameters(),
            }

        return self.load_model(spec, describe)

    def images(self, name: str) -> Tensor:
        """The images of a set, uint8 (n, 3, R, R)."""
        return self.directory.load(data_file(name), "images")[0]["images"]

    def source(self, name: str) -> dict[str, str | None]:
        """What the table of a set is made from."""
        return {"data": self.drawn(name)["sha256"], "references": self.references_sha256}

    @property
    def references_sha256(self) -> str | None:
        """Checksum of the training attractors; None where they are not there."""
        if self._sha256 is None:  # the file can be large: it is read through once
            about = self.directory.checked(layout.REFERENCES.name, data=self.drawn("train")["sha256"])
            self._sha256 = about["sha256"] if about else None
        return self._sha256

    _sha256: str | None = None


def data_file(name: str) -> str:
    """Where the images of a set are kept until the report is there."""
    return layout.OOD_IMAGES.at(set=name)


def score_file(name: str) -> str:
    """The table of a set."""
    return layout.SCORE.at(set=name)
