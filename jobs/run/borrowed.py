"""The dictionary of another run, in which this run's images are coded: read once, checked, and kept in the folder.

The run still finds its own end points, and says what they are; no image is coded in them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from jobs.run.directory import RunDirectory
from jobs.world import World
from probe.autoencoders import Autoencoder
from probe.autoencoders.repository import local
from probe.config import Config, RunDictionaryConfig
from probe.errors import UserError
from probe.names import shortened, shown
from probe.results.layout import BORROWED
from probe.studies.probing.artefact import Artefact, read_artefact


def borrow(run: RunDirectory, world: World, model: Autoencoder) -> None:
    """Keep the dictionary that the configuration names, once for all ranks; nothing if it names none. A run that
    resumes asks the hub for nothing while its copy is whole.

    Raises:
        UserError: it is unavailable or damaged, its latents have another shape than the model's, or it is not the one
            that the run was begun with.
    """
    asked = run.config.dictionary
    if asked.source:
        world.on_rank_0(lambda: _keep(run, asked, model))


def points(run: RunDirectory) -> Tensor | None:
    """The borrowed points (m, d) that images are coded in: of unit norm, or as they are where they are centred; None
    if the run borrows none."""
    if not run.config.dictionary.source:
        return None
    tensors, _ = run.load(BORROWED.name)
    return tensors["atoms"] if run.config.sparse.centre == "none" else tensors["ends"].flatten(1)


def _keep(run: RunDirectory, asked: RunDictionaryConfig, model: Autoencoder) -> None:
    assert asked.source
    shape = model.latent_shape(run.config.resolution)
    noted = run.manifest.get("borrowed") or {}
    # A commit never changes, and a folder that is gone cannot have; another source or revision is another run.
    settled = bool(noted) and (noted.get("revision") is not None or not local(asked.source).exists())
    if settled and run.checked(BORROWED.name, borrowed=noted):
        return
    # A branch may have moved since the run was begun.
    revision = noted.get("revision") or asked.revision
    tensors, artefact = read_artefact(asked.source, revision)
    if (its := tuple(artefact.facts["latent_shape"])) != tuple(shape):
        raise UserError(
            f"dictionary {asked.source} is of latents {its}, and the model's are {tuple(shape)} at "
            f"{run.config.resolution} pixels; name one of the same shape, or set resolution."
        )
    about = _about(run.config, model, artefact, len(tensors["atoms"]))
    if noted and noted["sha256"] != about["sha256"]:
        raise UserError(
            f"dictionary {asked.source} has changed since {run.path} was begun: its sha256 is "
            f"{noted['sha256'][:12]}... there and {about['sha256'][:12]}... now; choose another folder with --out."
        )
    if noted:
        about = noted  # what else config.json says now, or another version would note, makes nothing of the run again
    else:
        run.update_manifest(borrowed=about)
    if not run.claimed(BORROWED.name, borrowed=about):
        run.save(BORROWED.name, tensors, borrowed=about)


def _about(config: Config, model: Autoencoder, artefact: Artefact, atoms: int) -> dict[str, Any]:
    """What the report says of it."""
    facts, resolution = artefact.facts, artefact.facts["protocol"].get("resolution")
    name = facts["model"].get("name") or facts["model"]["class"]
    return {
        "source": config.dictionary.source,
        "revision": artefact.commit,
        "sha256": facts["sha256"],
        "atoms": atoms,
        "certified": facts["counts"].get("certified"),
        "model": shortened(shown(name), 100),
        "weights_sha256": facts["model"].get("weights_sha256"),
        "coordinates": _coordinates(facts, config, model),
        "resolution": resolution if resolution != config.resolution else None,
    }


def _coordinates(facts: Mapping[str, Any], config: Config, model: Autoencoder) -> list[str]:
    """What sets the coordinates of its latents apart from the model's. A factor changes no direction, and is left
    out."""
    its, ours = facts["protocol"].get("model", {}), config.model
    other = [key for key in ("latents", "quantisation") if its.get(key, getattr(ours, key)) != getattr(ours, key)]
    if other or ours.latents == "raw":
        return [f"{key} {shown(str(its[key]))}" for key in other]
    theirs = {"shift_factor": 0.0, **facts["model"]}
    known = {"shift_factor": model.shift_factor, "latents_mean": model.latents_mean, "latents_std": model.latents_std}
    here = {key: list(value) if isinstance(value, tuple) else value for key, value in known.items()}
    return [f"another {key}" for key in here if theirs.get(key) != here[key]]
