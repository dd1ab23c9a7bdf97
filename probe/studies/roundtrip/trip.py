"""One round trip: a model, what happens between cycles, and the images of a data set."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dynamics import LatentMap
from probe.measures import shown_cycles
from probe.studies.roundtrip.between import step
from probe.studies.roundtrip.config import RoundtripConfig
from probe.studies.roundtrip.cycles import Coder, Lpips, Trajectories, trajectories
from probe.studies.roundtrip.distance import Features
from probe.studies.roundtrip.film import Film
from probe.studies.roundtrip.outcomes import Ends, Reference, of_latents, of_repetitions, until


def round_trip(
    model: Autoencoder | None,
    between: str,
    images: Tensor,
    config: RoundtripConfig,
    reference: Reference | None = None,
    lpips: Lpips | None = None,
    inception: Callable[[Tensor], Tensor] | None = None,
    on_cycle: Callable[[float], None] = lambda done: None,
) -> tuple[Trajectories, dict[str, Tensor], dict[str, Any]]:
    """Iterate from images, uint8 (n, 3, R, R), and find where they end.

    Args:
        model: None: the identity.
        between: as in the configuration.
        reference: attractors to compare with.
        lpips: as for ``trajectories``.
        inception: features of images for rFID, if its weights are at hand.
        on_cycle: called with the number of images that are done, parts included.

    Returns:
        What was measured, the tensors of ``layout.TRIP_TENSORS``, and of their metadata ``places``, and ``rfid`` if
        there is Inception.
    """
    coder, film, chosen = Coder(model), Film(config.film, config.film.at(config.cycles)), step(between)
    features = Features(inception, shown_cycles(config.cycles)) if inception else None
    found = trajectories(
        coder,
        chosen,
        images,
        config.cycles,
        rows=coder.rows(images.shape[-1], config.solver.batch_size),
        max_norm=config.solver.max_norm,
        film=film,
        lpips=lpips,
        features=features,
        on_cycle=on_cycle,
    )
    if model is None or chosen.kind.rounds:
        ends: Ends = of_repetitions(found)
    else:
        ends = of_latents(LatentMap(model, clamp=chosen.kind.clamps), found, config.solver, model.device)
    tensors = {
        "bands": found.edges,
        "spectrum": found.spectrum,
        **ends.tensors,
        **(reference.compare(ends) if reference else {}),
        **until(found.columns["psnr"]),
        **film.tensors(),
    }
    rfid = {"rfid": features.distances()} if features else {}
    return found, tensors, {"places": ends.places, **rfid}


def table(found: Trajectories, ids: Sequence[str]) -> pd.DataFrame:
    """The rows of ``layout.TRIP``."""
    n, cycles = found.columns["psnr"].shape
    rows = {
        "image": torch.arange(n).repeat_interleave(cycles).numpy(),
        "id": [name for name in ids for _ in range(cycles)],
        "cycle": torch.arange(cycles).repeat(n).numpy(),
    }
    return pd.DataFrame(rows | {name: column.flatten().numpy() for name, column in found.columns.items()})
