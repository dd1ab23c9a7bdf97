"""The run in plain sentences, and what to know before believing its numbers."""

from collections import defaultdict

from probe.methods import PHRASES
from probe.report.page.text import count, fewer, listed, number, percent
from probe.report.run.sample import FEW
from probe.report.run.schema import DatasetReport, Diversity, Report

TRIVIAL = 0.9
"""A basin with a larger share of the starts makes the field trivial: a warning."""
HANDFUL = 5
"""So does a median of so many steps to convergence or fewer."""
RECALL = 0.99
"""An approximate index that finds a smaller share of the near pairs is worth a warning."""
SMALLER = 2
"""So is a random orthogonal basis that is larger than the dictionary by more than this factor."""


def dictionary_label(certified: int, atoms: int) -> str:
    """What may honestly be said of the atoms: ``end points (48 of 61 certified attractors)``."""
    return f"end points ({certified} of {atoms} certified attractors)"


def summary(report: Report) -> list[str]:
    """How the starts ended; what the dictionary is; what was reconstructed."""
    dictionary, certificates = report.dictionary, report.solver.certificates
    sentences = [
        f"Of {count(report.solver.n, 'start')}, {listed(_endings(report))}.",
        f"{dictionary.starts_used} of them make a dictionary of {count(dictionary.atoms, 'distinct end point')} "
        f"({dictionary.rule}), of which {certificates.certified} certified as attractors, "
        f"{certificates.not_attractors} found not to be, {_undecided(report)}.",
    ]
    if dictionary.largest_basin is not None:
        sentences.append(f"The largest basin holds {100 * dictionary.largest_basin:.3g} % of the starts used.")
    if dictionary.vendi is not None and dictionary.vendi.n > 1:
        sentences.append(_diversity(dictionary.vendi, dictionary.atoms))
    if certificates.plain_checked:
        sentences.append(
            f"Iterated again plainly and in full precision, {certificates.plain_same} of "
            f"{count(certificates.plain_checked, 'start')} drawn at random ended in the same point."
        )
    if report.datasets:
        images = sum(data.n_used for data in report.datasets.values())
        sentences.append(f"{count(images, 'image')} of {count(len(report.datasets), 'data set')} were reconstructed.")
    return sentences


def _diversity(found: Diversity, atoms: int) -> str:
    which = "The" if found.n == atoms else "The first"
    return (
        f"{which} {found.n} directions of the dictionary are as different as {number(found.atoms)} orthogonal ones "
        f"(Vendi score; as many Gaussian directions: {number(found.gaussian)})."
    )


def _undecided(report: Report) -> str:
    """``3 undecided`` or ``3 undecided, 240 not examined``."""
    certificates = report.solver.certificates
    examined = f"{certificates.undecided - certificates.unexamined} undecided"
    return f"{examined}, {certificates.unexamined} not examined" if certificates.unexamined else examined


def _endings(report: Report) -> list[str]:
    """Where the starts went, every one of them once."""
    solver, certificates = report.solver, report.solver.certificates
    fixed = solver.outcomes["converged"] - certificates.starts
    periods = ", ".join(solver.periods)
    found = [f"{certificates.starts} reached {count(certificates.certified, 'certified attractor')}"]
    if not certificates.starts:
        found = ["none reached a certified attractor"]
    if fixed:
        found.append(f"{fixed} reached other fixed points, uncertified or none that attracts")
    if cycles := solver.outcomes["cycle"]:
        found.append(f"{cycles} ended in a cycle (period {periods})")
    if wandering := solver.wandering.n:
        found.append(f"{wandering} wandered until the limit of {count(solver.max_steps, 'step')}{_exponent(report)}")
    if diverged := solver.outcomes["diverged"]:
        found.append(f"{diverged} diverged")
    return found


def _exponent(report: Report) -> str:
    """`` (Lyapunov exponent 0.02 +- 0.01 over 32 of them: 30 sensitive, 2 slow)``."""
    wandering = report.solver.wandering
    if wandering.exponent is None:
        vain = "not examined, since f has no derivative there that finite differences confirm"
        return f" ({vain})" if wandering.without_derivative else ""
    error = "" if wandering.error is None else f" +- {wandering.error:.2g}"
    return (
        f" (Lyapunov exponent {wandering.exponent:.2g}{error} over {wandering.examined} of them: "
        f"{wandering.sensitive} sensitive to where they began, {wandering.neutral} neutral, "
        f"{wandering.slow} merely slow{_radius(report)})"
    )


def _radius(report: Report) -> str:
    """``; median spectral radius where they were left 1.4``."""
    median = report.solver.wandering.spectral_radius.median
    return "" if median is None else f"; median spectral radius where they were left {median:.3g}"


def warnings(report: Report) -> list[str]:
    """Sentences, the run's before those of single data sets."""
    return report.model.warnings + _field_warnings(report) + _data_warnings(report) + _method_warnings(report)


def _field_warnings(report: Report) -> list[str]:
    found = []
    solver, dictionary, certificates = report.solver, report.dictionary, report.solver.certificates
    if certificates.certified * 2 < dictionary.atoms:
        few = f"Only {certificates.certified}" if certificates.certified else "None"
        found.append(
            f"{few} of {count(dictionary.atoms, 'atom')} are certified attractors "
            f"({certificates.not_attractors} found not to be, {_undecided(report)}): "
            f"the dictionary is made mostly of other end points."
        )
    if certificates.plain_elsewhere:
        found.append(
            f"{certificates.plain_elsewhere} of {count(certificates.plain_checked, 'start')} "
            f"ended elsewhere when iterated plainly: set solver.accelerate=false and solver.far_precision=float32."
        )
    if dictionary.largest_basin is not None and dictionary.largest_basin > TRIVIAL:
        share = f"{100 * dictionary.largest_basin:.3g} % of the starts used"
        found.append(
            f"The field is trivial: one basin holds {share}."
            if 2 * solver.outcomes["converged"] >= dictionary.starts_used
            else f"{share} were left in one direction, and count as one end point, though most had not converged; by "
            f"distance there are {dictionary.atoms_euclidean}."
        )
    steps = solver.steps.by_outcome.get("converged")
    if steps and steps.median is not None and steps.median <= HANDFUL:
        found.append(f"The field is trivial: half of the starts that converged took {_at_most(steps.median)}.")
    if dictionary.atoms == 0:
        found.append("The dictionary is empty: no start ended in an admitted outcome.")
    for recall, rule in ((dictionary.recall, "cosine"), (dictionary.recall_euclidean, "distance")):
        if recall < RECALL:
            found.append(
                f"End points were compared by an approximate index that found {100 * recall:.3g} % of the near pairs: "
                f"some atoms under the rule of {rule} are near others, and their number is too large."
            )
    if diverged := solver.outcomes["diverged"]:
        found.append(
            f"{diverged} of {count(solver.n, 'start')} ({percent(diverged, solver.n)}) diverged "
            f"and gave no atom to the dictionary."
        )
    return found


def _at_most(steps: float) -> str:
    return f"{steps:g} step{'s' * (steps != 1)} or fewer"


def _data_warnings(report: Report) -> list[str]:
    found = []
    for name, data in report.datasets.items():
        found += fewer(name, data.n_used, data.n_planned)
        if data.unreadable:
            shown = ", ".join(data.unreadable[:3]) + (", ..." if len(data.unreadable) > 3 else "")
            found.append(f"{name}: {count(len(data.unreadable), 'image')} could not be read ({shown}).")
        found += [f"{name}: {note}" for note in data.notes]
        if data.n_used < FEW:
            found.append(f"{name}: {count(data.n_used, 'image')}, too few for a verdict, which takes {FEW}.")
        broken = [
            method
            for level in data.levels
            for method, errors in level.methods.items()
            if errors.latent_mse.mean is None or errors.pixel_mse.mean is None
        ]
        if broken:
            found.append(f"{name}: errors that are not finite, left out: {', '.join(sorted(set(broken)))}.")
    return found


def _method_warnings(report: Report) -> list[str]:
    """Alike for all data sets as a rule, so data sets are gathered under one sentence."""
    found = defaultdict(list)
    atoms, d = report.dictionary.atoms, report.model.d
    for name, data in report.datasets.items():
        if atoms < data.five_percent:
            found[
                f"the dictionary has {count(atoms, 'atom')}, fewer than the {data.five_percent} of 5 % of d: "
                f"its errors level off where other methods still gain."
            ].append(name)
        elif SMALLER * atoms < d and "random_orthogonal" in data.method_atoms:
            vectors = data.method_atoms.get("gaussian", 0)
            fair = " that Gaussian vectors, of which there are as many, do not have" if vectors == atoms else ""
            found[
                f"the random orthogonal basis has {d} atoms to choose from, the dictionary {atoms}: an advantage{fair}."
            ].append(name)
        if nothing := _nothing(data):
            found[nothing].append(name)
        for method, reason in data.absent.items():
            what = PHRASES.get(method, "the dictionary's end points")
            found[f"{what} ({method}) is missing: {reason.rstrip('.')}."].append(name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in found.items()]


def _nothing(data: DatasetReport) -> str | None:
    """Whether as good a picture can be had without autoencoder or dictionary, by 95 % intervals of ratios."""
    mean = data.sanity.get("mean_image")
    if mean is None:
        return None
    for who, ratio in (
        ("the autoencoder alone", mean.autoencoder_ratio),
        ("the dictionary at 5 % of d", mean.attractors_ratio),
    ):
        if ratio.ci95 is not None and ratio.ci95[1] >= 1:
            return f"{who} is not seen to come nearer to the images, in pixels, than their mean image does."
    return None
