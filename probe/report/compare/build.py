"""From run directories to the content of compare.json."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from probe.metrics.interval import mean_interval
from probe.metrics.memorization import chamfer_cosine, nearest_cosine
from probe.metrics.sets import overlap, unrelated
from probe.report.compare.datasets import dataset_comparison
from probe.report.compare.protocol import ComparedRun, check, common_datasets, differences, read_runs
from probe.report.compare.schema import ComparisonReport, RunFacts, Similarity
from probe.report.compare.verdict import verdict
from probe.report.page.text import listed, number
from probe.report.run.sample import mean_of
from probe.results import layout
from probe.results.run import read_atoms

DRAWS = 8
"""Random dictionaries per null level; their mean varies in the third digit."""


def compare(paths: Sequence[Path], *, unpaired: bool = False, common: bool = False) -> ComparisonReport:
    """Runs side by side; reads, writes nothing.

    Args:
        paths: two run directories or more; the others are compared with the first.
        unpaired: data sets of one name may hold different images; differences are then between independent samples.
        common: runs may have different data sets; those that all have are compared.

    Raises:
        UserError: a run is not finished, or their protocols differ.
    """
    runs = read_runs(paths)
    check(runs, unpaired=unpaired, common=common)
    names = common_datasets(runs)
    others = sorted({name for run in runs for name in run.results.datasets} - {*names})
    sets = [set(run.levels) for run in runs]
    levels = sorted(set.intersection(*sets))
    left_out = sorted(set.union(*sets).difference(levels))
    one_space = all(run.same_latents(runs[0]) for run in runs)
    datasets = {name: dataset_comparison(runs, name, levels, one_space) for name in names}
    return ComparisonReport(
        verdict=verdict(datasets, [run.name for run in runs]),
        runs=[_facts(run) for run in runs],
        differs=differences(runs),
        notes=_notes(runs, names, others, left_out, one_space),
        levels_left_out=left_out,
        datasets_left_out=others,
        datasets=datasets,
        similarities=_similarities(runs),
    )


def _facts(run: ComparedRun) -> RunFacts:
    report = run.report
    model, solver, certificates = report.model, report.solver, report.solver.certificates
    return RunFacts(
        name=run.name,
        path=str(run.path),
        model=f"{model.class_} from {model.source}",
        weights_sha256=model.weights_sha256,
        latent_shape=model.latent_shape,
        d=model.d,
        starts=solver.n,
        outcomes=solver.outcomes,
        steps=solver.steps.median,
        evaluations=solver.evaluations.median,
        atoms=report.dictionary.atoms,
        certified=certificates.certified,
        undecided=certificates.undecided,
        borrowed=report.borrowed.atoms if report.borrowed else None,
        share=certificates.starts / solver.n if solver.n else None,
        rule=report.dictionary.rule,
    )


def _notes(
    runs: Sequence[ComparedRun],
    names: Sequence[str],
    others: list[str],
    left_out: Sequence[float],
    one_space: bool,
) -> list[str]:
    first, notes = runs[0], []
    if others:
        notes.append(f"Data sets left out because not all runs have them: {listed(others)}.")
    if lent := [run.name for run in runs if run.report.borrowed]:
        notes.append(
            f"{listed(lent)}: coded in a borrowed dictionary, which no draw of the run's starts would change: "
            "intervals are over images alone, and there is no verdict."
        )
    own = [run for run in runs if not run.report.borrowed]
    if old := [run.name for run in own if any(run.results.datasets[name].subsets is None for name in names)]:
        notes.append(
            f"{listed(old)}: made by a version that did not measure how far draws of the starts differ: intervals are "
            "over images alone, and there is no verdict."
        )
    if left_out:
        at = listed([f"{number(100 * level)} %" for level in left_out])
        notes.append(f"Levels left out because not all runs have them: {at} of d.")
    if not one_space:
        notes.append("The latents of the runs differ in shape: latent MSE is compared only as a ratio.")
    if any(a.same_latents(b) and not a.same_weights(b) for a, b in combinations(runs, 2)):
        notes.append(
            "Some runs have latents of the same shape but different weights: their latent MSE and the similarity of "
            "their dictionaries are meaningful only if the models share a latent space, as after fine-tuning."
        )
    for name in names:
        if other := [run.name for run in runs if not run.same_images(first, name)]:
            images = f"different images than {first.name}"
            notes.append(f"{name}: {listed(other)} used {images}; differences are not paired.")
    sizes = {run.name: run.report.atoms for run in runs}
    if len(set(sizes.values())) > 1:
        notes.append(f"Dictionaries differ in size ({_each(sizes)} atoms): a larger one offers more choice.")
    most = {run.name: max(run.levels.values()) if run.report.datasets else 0 for run in runs}
    if short := [f"{name} {atoms} of {most[name]}" for name, atoms in sizes.items() if atoms < most[name]]:
        notes.append(f"Dictionaries smaller than the largest level ({listed(short)}): errors no longer fall there.")
    undecided = {run.name: run.report.solver.certificates.undecided for run in runs}
    if any(undecided.values()):
        notes.append(f"Atoms with an undecided certificate ({_each(undecided)}) are not counted as certified.")
    warned = defaultdict(list)
    for run in runs:
        for warning in run.report.warnings:
            warned[warning].append(run.name)
    return notes + [f"{listed(names)}: {warning}" for warning, names in warned.items()]


def _each(counts: dict[str, int]) -> str:
    return listed([f"{name} {n}" for name, n in counts.items()])


def _similarities(runs: Sequence[ComparedRun]) -> list[Similarity]:
    """Of every pair of runs with latents of the same shape and no empty dictionary."""
    files = {run.name: layout.BORROWED if run.report.borrowed else layout.DICTIONARY for run in runs}
    atoms = {run.name: torch.from_numpy(read_atoms(run.path, files[run.name])) for run in runs}
    atoms = {name: rows[rows.any(1)] for name, rows in atoms.items()}  # an attractor at the origin has no direction
    full = [run for run in runs if len(atoms[run.name])]
    pairs = [(one.name, other.name) for one, other in combinations(full, 2) if one.same_latents(other)]
    return [_similarity(one, other, atoms[one], atoms[other]) for one, other in pairs]


def _similarity(name: str, other: str, a: Tensor, b: Tensor) -> Similarity:
    """Of dictionaries (m, d) and (n, d)."""
    a_in_b, b_in_a = nearest_cosine(a, b).double(), nearest_cosine(b, a).double()
    rng = torch.Generator().manual_seed(0)
    random = ((torch.randn(a.shape, generator=rng), torch.randn(b.shape, generator=rng)) for _ in range(DRAWS))
    return Similarity(
        a=name,
        b=other,
        a_in_b=mean_of(mean_interval(a_in_b.numpy())),
        b_in_a=mean_of(mean_interval(b_in_a.numpy())),
        chamfer=float(a_in_b.mean() + b_in_a.mean()) / 2,
        chamfer_null=sum(chamfer_cosine(*pair) for pair in random) / DRAWS,
        overlap=overlap(a, b),
        overlap_null=unrelated(a, b),
    )
