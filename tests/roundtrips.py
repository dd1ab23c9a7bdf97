"""A finished folder of ``probe roundtrip`` with made-up numbers, for tests of reports.

    python tests/roundtrips.py FOLDER

Two models: ``good`` loses 0.05 dB a cycle and settles, ``bad`` loses 1 dB a cycle, drifts, cycles, and has one image
that diverges at cycle 4 without clamping.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from jobs.roundtrip.directory import RoundtripDirectory
from probe.dynamics import Outcome
from probe.measures import IDENTITY, MARKS, MEASURES
from probe.results.roundtrip import Trip, trips
from probe.studies.roundtrip.config import parse_roundtrip_config

N, SIDE, BANDS = 6, 16, 4
SETTINGS: dict[str, Any] = {
    "models": {"good": {"device": "cpu"}, "bad": {"device": "cpu"}},
    "datasets": {"digits": {"n": N}, "textures": {"n": N}},
    "resolution": SIDE,
    "cycles": 8,
    "between": ["none", "8bit", "jpeg:75"],
    "film": {"images": 2, "extremes": 1},
}


def finished(path: Path, **changes: Any) -> Path:
    """Make the folder; all but its report."""
    directory = RoundtripDirectory.create(path, parse_roundtrip_config({**SETTINGS, **changes}))
    config = directory.config
    facts = {
        "sha256": "0" * 64,
        "n_planned": N,
        "n_used": N,
        "unreadable": [],
        "repeated": 0,
        "notes": [],
        "source": {},
    }
    models = {
        name: {
            "source": f"embedded:{name}",
            "class": "AutoencoderKL",
            "weights_sha256": name * 8,
            "latent_shape": [4, 2, 2],
        }
        for name in config.models
    }
    directory.update_manifest(
        schema_version=1,
        models=models,
        data=dict.fromkeys(config.datasets, facts),
        sessions=[],
        versions={},
        command="",
    )
    directory.keep_made_with()
    for trip in trips(config):
        _save(directory, trip)
    return path


def _save(directory: RoundtripDirectory, trip: Trip) -> None:
    config, control = directory.config, trip.model == IDENTITY
    about = {
        "data": "0" * 64,
        "model": trip.model,
        "between": trip.between,
        "dataset": trip.dataset,
        "weights": None if control else trip.model * 8,
        "run": None,
        "lpips": None,
    }
    rows = pd.DataFrame([row for image in range(N) for row in _rows(trip, image, config.cycles)])
    if control:
        rows = rows.drop(columns=["norm", "moved", "from_start"])
    directory.save_table(trip.table, rows, **about)
    shape = None if control else [4, 2, 2]
    more = {"cycles": config.cycles, "places": 1, "latent_shape": shape, "no_attractors": ""}
    directory.save(trip.tensors, _tensors(trip, rows, config), **about, **more)


def _rows(trip: Trip, image: int, cycles: int) -> list[dict[str, Any]]:
    """Made-up measures: the PSNR begins at 32 dB (control: 40), and falls by ``slope`` a cycle."""
    exact = trip.model == IDENTITY and trip.between in ("none", "8bit")
    first, slope = (40.0, 0.0) if trip.model == IDENTITY else (32.0, {"good": 0.05, "bad": 1.0}[trip.model])
    slope, first = slope * (1 + 0.1 * image), first - 0.2 * image - (3.0 if trip.between == "jpeg:75" else 0.0)
    found = []
    for cycle in range(cycles + 1):
        lost = cycle == 0 or exact
        error = 0.0 if lost else 10 ** (-(first - slope * (cycle - 1)) / 20)
        row = {
            "psnr": np.inf if lost else first - slope * (cycle - 1),
            "ssim": 1 - 2 * error,
            "ciede2000": 60 * error,
            "shift_red": 0.5 * error,
            "shift_green": 0.0,
            "shift_blue": -0.3 * error,
            "saturated": 0.05 + error,
            "norm": 4.0 - error,
            "moved": np.nan if cycle == 0 else 0.5 / cycle,
            "from_start": 10 * error,
        }
        if _diverges(trip, image) and cycle >= 4:
            row = dict.fromkeys(row, np.nan)
        found.append({"image": image, "id": f"{trip.dataset}/{image}", "cycle": cycle, **row})
    names = ["image", "id", "cycle", *(one.name for one in MEASURES if one.name in found[0])]
    return [{name: row[name] for name in names} for row in found]


def _diverges(trip: Trip, image: int) -> bool:
    return trip.model == "bad" and trip.between == "none" and image == 2


def _tensors(trip: Trip, rows: pd.DataFrame, config: Any) -> dict[str, torch.Tensor]:
    psnr = torch.tensor(rows.pivot(index="image", columns="cycle", values="psnr").to_numpy())
    control, T = trip.model == IDENTITY, config.cycles
    outcome = torch.full((N,), int(Outcome.CONVERGED))
    if trip.model == "bad":
        outcome[:] = torch.tensor([int(Outcome.MAX_STEPS), int(Outcome.CYCLE), int(Outcome.MAX_STEPS)] * 2)
    outcome[[_diverges(trip, image) for image in range(N)]] = int(Outcome.DIVERGED)
    stays = (outcome == Outcome.CONVERGED) | (outcome == Outcome.CYCLE)
    period = torch.where(outcome == Outcome.CONVERGED, 1, torch.where(outcome == Outcome.CYCLE, 2, 0))
    settled = torch.where(stays, 0 if control else T - 2, torch.where(outcome == Outcome.DIVERGED, 4, -1))
    latent = trip.between == "none" and not control
    bands = torch.linspace(0, 0.5, BANDS + 1, dtype=torch.float64)
    lost = torch.where(psnr.isfinite(), -(psnr[:, 1:2] - psnr), 0.0)[..., None] * torch.linspace(0.2, 2, BANDS)
    until = {}
    for mark in MARKS:
        below = psnr < (psnr[:, 1:2] - mark.fall if mark.fall is not None else mark.level)
        below[:, 0] = False
        until[f"until/{mark.name}"] = torch.where(below.any(1), below.int().argmax(1), -1)
    film_images = torch.tensor([0, 1, 5]) if trip.model == "bad" else torch.tensor([0, 1])
    film_cycles = torch.tensor(config.film.at(T))
    grey = torch.linspace(0, 255, SIDE)[None, None, None, None, :]
    film = (grey - 6 * film_cycles[None, :, None, None, None] * (1 - control)).expand(len(film_images), -1, 3, SIDE, -1)
    return {
        "bands": bands,
        "spectrum": lost.float(),
        "outcome": outcome.to(torch.uint8),
        "settled": settled,
        "period": period,
        "place": torch.where(stays, torch.arange(N) % (N if control else 2), -1),
        "residual": torch.where(outcome == Outcome.CONVERGED, 1e-6, 2.5).double() if latent else _nan(),
        "certificate": torch.where(stays & latent, 1, -2).to(torch.int8),
        "spectral_radius": torch.where(stays & latent, 0.8, torch.nan).double(),
        "radius_error": torch.where(stays & latent, 1e-4, torch.nan).double(),
        **until,
        "film_images": film_images,
        "film_cycles": film_cycles,
        "film": film.clamp(0, 255).to(torch.uint8).contiguous(),
    }


def _nan() -> torch.Tensor:
    return torch.full((N,), torch.nan, dtype=torch.float64)


if __name__ == "__main__":
    print(finished(Path(sys.argv[1])))
