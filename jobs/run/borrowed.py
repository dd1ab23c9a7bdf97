"""The dictionary of another run, in which this run's images are coded: read once, checked, and kept in the folder.

The run still finds its own end points, and says what they are; no image is coded in them.
"""

from typing import Any

from torch import Tensor

from jobs.run.directory import RunDirectory
from jobs.world import World
from probe.autoencoders import Autoencoder
from probe.config import Config, RunDictionaryConfig
from probe.errors import UserError
from probe.results.layout import BORROWED
from probe.studies.probing.artefact import Artefact, read_artefact


def borrow(run: RunDirectory, world: World, model: Autoencoder) -> None:
    """Keep the dictionary that the configuration names, once for all ranks; nothing if it names none.

    Raises:
        UserError: it is unavailable or damaged, its latents have another shape than the model's, or it is not the one
            that the run was begun with.
    """
    asked = run.config.dictionary
    if asked.source:
        world.on_rank_0(lambda: _keep(run, asked, model.latent_shape(run.config.resolution)))


def points(run: RunDirectory) -> Tensor | None:
    """The borrowed points (m, d) that images are coded in: of unit norm, or as they are where they are centred; None
    if the run borrows none."""
    if not run.config.dictionary.source:
        return None
    tensors, _ = run.load(BORROWED.name)
    return tensors["atoms"] if run.config.sparse.centre == "none" else tensors["ends"].flatten(1)


def _keep(run: RunDirectory, asked: RunDictionaryConfig, shape: tuple[int, ...]) -> None:
    assert asked.source
    noted = run.manifest.get("borrowed") or {}
    # A branch may have moved since the run was begun.
    revision = noted.get("revision") or asked.revision
    tensors, artefact = read_artefact(asked.source, revision)
    if (its := tuple(artefact.facts["latent_shape"])) != tuple(shape):
        raise UserError(
            f"dictionary {asked.source} is of latents {its}, and the model's are {tuple(shape)} at "
            f"{run.config.resolution} pixels; name one of the same shape, or set resolution."
        )
    about = _about(run.config, asked.source, artefact, len(tensors["atoms"]))
    if noted and noted["sha256"] != about["sha256"]:
        raise UserError(
            f"dictionary {asked.source} has changed since {run.path} was begun: its sha256 is "
            f"{noted['sha256'][:12]}... there and {about['sha256'][:12]}... now; choose another folder with --out."
        )
    if not noted:
        run.update_manifest(borrowed=about)
    if not run.claimed(BORROWED.name, borrowed=about):
        run.save(BORROWED.name, tensors, borrowed=about)


def _about(config: Config, source: str, artefact: Artefact, atoms: int) -> dict[str, Any]:
    """What the report says of it."""
    facts = artefact.facts
    its, ours = facts["protocol"].get("model", {}), config.model
    other = [key for key in ("latents", "quantisation") if its.get(key, getattr(ours, key)) != getattr(ours, key)]
    return {
        "source": source,
        "revision": artefact.commit,
        "sha256": facts["sha256"],
        "atoms": atoms,
        "certified": facts["counts"].get("certified"),
        "model": facts["model"].get("name") or facts["model"].get("class"),
        "weights_sha256": facts["model"].get("weights_sha256"),
        "coordinates": [f"{key} {its[key]}" for key in other],
    }
