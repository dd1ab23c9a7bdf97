"""Basins of attraction, at the end of stage ``dictionary``: probes and kicked attractors shared by all ranks."""

import shutil

import torch
from torch import Tensor

from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.run.work import RunWork
from probe.dynamics import EndPoints, Outcome
from probe.results.layout import BASIN_PART, BASINS, DICTIONARY
from probe.studies.probing.basins import KICKS, PAIRS, TOGETHER, Basins, Chosen, choose
from probe.studies.probing.end_points import batches

COLUMNS = ("atoms", "ends", "distance", "from_one", "leader", "basin", "settled", "certificate")
"""Of the dictionary, that are needed here."""
Part = tuple[str, range]


def measure_basins(work: RunWork) -> None:
    """Measure the basins of the dictionary that is there; one file. Nothing is done for a dictionary of an older
    version, whose run is finished without."""
    run, world = work.directory, work.world
    dictionary = world.on_rank_0(lambda: _unmeasured(run))
    if dictionary is None:
        return

    def measured() -> bool:
        return (run.path / BASINS.name).exists()

    def is_there(part: Part) -> bool:
        return run.claimed(_file(part), dictionary=dictionary) is not None or measured()

    with work.timed("basins"):
        atoms = run.load(DICTIONARY.name, *COLUMNS)[0]
        ends = load_end_points(run) if world.leads else None  # all shards, read by all ranks, would be many reads
        converged = world.on_rank_0(lambda: _converged(ends, run.config.basins.probes))
        chosen = choose(torch.tensor(converged, dtype=torch.long), atoms, run.config.basins)
        counts = {PAIRS: len(chosen.probes), KICKS: len(chosen.attractors)}
        parts = [(kind, span) for kind, count in counts.items() for span in batches(count, TOGETHER[kind])]
        todo = world.missing(parts, is_there)
        before = sum(counts.values()) - sum(len(span) for _, span in todo)
        like = torch.empty(0, device=work.model.device, dtype=work.model.dtype)
        basins = Basins(work.f, atoms, run.config.solver, run.config.dictionary, like)
        for part, meter in work.share(
            "basins", "points", todo, is_there, size=lambda part: len(part[1]), before=before
        ):
            meter.note = f"{part[0]} of basins"
            found = _measured(run, basins, chosen, atoms["leader"], part)
            run.save(_file(part), found, dictionary=dictionary, rank=world.rank)
        with world.alone():
            if ends is not None and not measured():
                _assemble(run, basins, chosen, ends, parts, dictionary)
        world.barrier()


def _unmeasured(run: RunDirectory) -> str | None:
    """The checksum of the dictionary, if its basins are still to be measured."""
    about = run.load(DICTIONARY.name, "leader")[1]
    done = not about.get("basins") or run.claimed(BASINS.name, dictionary=about["sha256"])
    return None if done else about["sha256"]


def _converged(ends: EndPoints | None, count: int) -> list[int]:
    """The first starts that converged."""
    return [] if ends is None else (ends.outcome == Outcome.CONVERGED).nonzero().squeeze(1)[:count].tolist()


def _measured(run: RunDirectory, basins: Basins, chosen: Chosen, leader: Tensor, part: Part) -> dict[str, Tensor]:
    (kind, span), seed, settings = part, run.config.seeds.seed, run.config.basins
    if kind == PAIRS:
        return {"around": basins.around(chosen.probes[span.start : span.stop].tolist(), settings, seed)}
    attractors = chosen.attractors[span.start : span.stop]
    returned, smallest = basins.kicked(attractors, leader[attractors].tolist(), settings, seed)
    nearest, towards = basins.towards(attractors, chosen.possible, settings.bisections)
    return {"returned": returned, "smallest": smallest, "nearest": nearest, "towards": towards}


def _assemble(
    run: RunDirectory, basins: Basins, chosen: Chosen, ends: EndPoints, parts: list[Part], dictionary: str
) -> None:
    settings = run.config.basins
    form = (len(settings.separations), settings.partners)
    empty = {
        "around": torch.empty(0, *form, dtype=torch.long),
        "returned": torch.empty(0, settings.directions, len(settings.kicks), dtype=torch.bool),
        "smallest": torch.empty(0, settings.directions, dtype=torch.float64),
        "nearest": torch.empty(0, dtype=torch.float64),
        "towards": torch.empty(0, dtype=torch.float64),
    }
    loaded = [run.load(_file(part))[0] for part in parts]
    found = {name: torch.cat([none, *(one[name] for one in loaded if name in one)]) for name, none in empty.items()}
    probes = chosen.probes
    run.save(
        BASINS.name,
        {
            "probe": probes,
            "centre": basins.labels(ends.end[probes], ends.outcome[probes]),
            "attractor": chosen.attractors,
            **found,
        },
        dictionary=dictionary,
        missing=chosen.missing,
    )
    shutil.rmtree((run.path / BASIN_PART.pattern).parent, ignore_errors=True)


def _file(part: Part) -> str:
    kind, span = part
    return BASIN_PART.at(span, kind=kind)
