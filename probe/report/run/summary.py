"""The run in plain sentences, and what to know before trusting its numbers."""

from collections import defaultdict

from probe.dynamics.basins import wilson
from probe.methods import BASELINE, OURS, methods
from probe.report.page.text import count, listed, number, of_images, percent, with_interval
from probe.report.run.decomposition import overall
from probe.report.run.sample import MIN_IMAGES
from probe.report.run.schema import Borrowed, DatasetErrors, DictionaryReport, Report, Semantics


def summary(report: Report) -> list[str]:
    """Whose atoms images are coded in, if not the run's; how the starts ended; the dictionary; what was coded."""
    dictionary, certificates = report.dictionary, report.solver.certificates
    lent = report.borrowed
    distinct = ("this run's own " if lent else "") + count(dictionary.atoms, "distinct end point")
    sentences = [f"Images are coded in {borrowed(lent)}, not in this run's own end points."] if lent else []
    sentences += [
        f"Of {count(report.solver.n, 'start')}, {listed(_endings(report))}.",
        f"{dictionary.starts_used} of them form a dictionary of {distinct} ({dictionary.rule}): {_certified(report)}.",
    ]
    if dictionary.largest_basin is not None:
        sentences.append(_largest_basin(dictionary))
    if dictionary.vendi is not None and dictionary.vendi.n > 1:
        which = _own(report, "atoms" if dictionary.vendi.n == dictionary.atoms else f"first {dictionary.vendi.n} atoms")
        sentences.append(
            f"How different {which} are: Vendi score {number(dictionary.vendi.atoms)}, on a scale from 1 (all point "
            f"the same way) to {dictionary.vendi.n} (no two have anything in common); as many random directions have "
            f"{number(dictionary.vendi.gaussian)}."
        )
    if certificates.plain_checked:
        sentences.append(
            f"Iterated again without acceleration and in full precision, {certificates.plain_same} of "
            f"{count(certificates.plain_checked, 'start')} drawn at random ended in the same point."
        )
    if report.uncoded:
        sentences.append(report.uncoded)
    if report.datasets:
        images = sum(data.n_used for data in report.datasets.values())
        sentences.append(f"{count(images, 'image')} of {count(len(report.datasets), 'data set')} were reconstructed.")
        sentences += filter(None, [_centre(report), overall(report)])
    return sentences


def _centre(report: Report) -> str | None:
    """What ``sparse.centre`` did to the latents."""
    which = report.provenance["config"]["sparse"].get("centre", "none")
    if which == "none":
        return None
    ends = "the borrowed end points" if report.borrowed else "the end points"
    of = {"end_points": ends, "heldout": "the latents of held-out images"}[which]
    return (
        f"The mean of {of} was subtracted from all latents before they were coded, and added again to decode them: it "
        "counts as no atom. The points that a dictionary is made of lost their own mean."
    )


def _own(report: Report, what: str) -> str:
    """``the atoms``; where others are borrowed, ``this run's own atoms``."""
    return f"this run's own {what}" if report.borrowed else f"the {what}"


def borrowed(found: Borrowed) -> str:
    """``the dictionary of NAME (weights 0123456789ab), 28 atoms, from owner/name@0123456789ab``."""
    weights = f"weights {found.weights_sha256[:12]}" if found.weights_sha256 else "no weights"
    return f"the dictionary of {found.model} ({weights}), {count(found.atoms, 'atom')}, from {found.place}"


def _largest_basin(dictionary: DictionaryReport) -> str:
    """How many starts share an end point, and what that means."""
    used, share = dictionary.starts_used, dictionary.largest_basin or 0.0
    most = round(share * used)
    if most == 1 and used > 1:
        return (
            f"No two of these {used} starts share an end point: the dictionary holds none that was found twice, so "
            "basin sizes say nothing, and more starts would find more end points."
        )
    return (
        f"The largest basin (the starts that end in the same point) holds {most} of {count(used, 'start')}, "
        f"{percent(share)}."
    )


def _certified(report: Report) -> str:
    """``12 certified attractors, 2 not attractors, 3 undecided, 240 not examined``."""
    found = report.solver.certificates
    parts = [
        count(found.certified, "certified attractor"),
        f"{found.not_attractors} not attractors",
        f"{found.undecided - found.unexamined} undecided",
    ]
    return ", ".join([*parts, f"{found.unexamined} not examined"] if found.unexamined else parts)


def _endings(report: Report) -> list[str]:
    """How the starts ended, each counted once."""
    solver, certificates = report.solver, report.solver.certificates
    found = [f"{certificates.starts} reached {count(certificates.certified, 'certified attractor')}"]
    if not certificates.starts:
        found = ["none reached a certified attractor"]
    if fixed := solver.outcomes["converged"] - certificates.starts:
        found.append(f"{fixed} reached non-attracting or uncertified fixed points")
    if cycles := solver.outcomes["cycle"]:
        found.append(f"{cycles} ended in a cycle (period {', '.join(solver.periods)})")
    if wandering := solver.wandering.n:
        found.append(f"{wandering} did not converge within {count(solver.max_steps, 'step')}{_exponent(report)}")
    if diverged := solver.outcomes["diverged"]:
        found.append(f"{diverged} diverged")
    return found


def _exponent(report: Report) -> str:
    """`` (of 32 examined, 30 are chaotic, ...; Lyapunov exponent 0.02 +- 0.01)``."""
    wandering = report.solver.wandering
    if wandering.exponent is None:
        reason = "could not be examined: f has no derivative there that finite differences confirm"
        return f" ({reason})" if wandering.without_derivative else ""
    error = "" if wandering.error is None else f" +- {wandering.error:.2g}"
    median = wandering.spectral_radius.median
    radius = "" if median is None else f"; median spectral radius at their last points {median:.3g}"
    kinds = {
        "chaotic (neighbouring points separate)": wandering.sensitive,
        "still approaching a point and need more steps": wandering.slow,
        "neither (a long cycle, a quasi-periodic orbit, or hardly moving)": wandering.neutral,
    }
    said = listed([f"{n} {'is' if n == 1 else 'are'} {kind}" for kind, n in kinds.items() if n])
    return (
        f" (of {wandering.examined} examined, {said}; mean Lyapunov exponent {wandering.exponent:.2g}{error}{radius})"
    )


def warnings(report: Report) -> list[str]:
    """Sentences: about the run, then about single data sets."""
    about = _borrowed_warnings(report) + report.model.warnings + _field_warnings(report)
    return about + _data_warnings(report) + _method_warnings(report)


def _borrowed_warnings(report: Report) -> list[str]:
    found = report.borrowed
    if found is None:
        return []
    theirs, ours = found.weights_sha256, report.model.weights_sha256
    known = f"of {'the same' if theirs == ours else 'other'} weights" if theirs and ours else "of that model"
    said = [
        f"Images are coded in borrowed atoms: {borrowed(found)}. These are end points {known}; outcomes, certificates, "
        "basins and pictures of end points are about this run's own, in which no image is coded."
    ]
    if found.coordinates:
        said.append(
            f"The borrowed atoms are in other coordinates ({listed(found.coordinates)}) than this run's latents, so "
            "their directions are not comparable."
        )
    if found.resolution:
        said.append(
            f"The borrowed atoms were found for images of {found.resolution} pixels, and this run's have "
            f"{report.provenance['config']['resolution']}: latents of the same shape may mean something else."
        )
    return said


def _field_warnings(report: Report) -> list[str]:
    found = []
    solver, dictionary, certificates = report.solver, report.dictionary, report.solver.certificates
    if certificates.certified * 2 < dictionary.atoms:
        few = "Fewer than half" if certificates.certified else "None"
        atoms = count(dictionary.atoms, "own end point" if report.borrowed else "atom")
        found.append(f"{few} of the {atoms} are certified attractors ({_certified(report)}).")
    if dictionary.at_origin:
        found.append(
            f"{count(dictionary.at_origin, 'start')} ended at a point that cannot be told from the origin. It has no "
            "direction, so it is an atom of sparse codes only where points are centred."
        )
    if certificates.plain_elsewhere:
        found.append(
            f"{certificates.plain_elsewhere} of {count(certificates.plain_checked, 'start')} "
            f"ended elsewhere when iterated without acceleration in full precision: set solver.accelerate=false and "
            f"solver.far_precision=float32."
        )
    if dictionary.largest_basin is not None and dictionary.largest_basin > 0.9:
        share = f"{100 * dictionary.largest_basin:.3g} % of the starts used"
        found.append(
            f"The field is trivial: one basin holds {share}."
            if 2 * solver.outcomes["converged"] >= dictionary.starts_used
            else f"{share} ended in one direction and count as one end point, although most had not converged; by "
            f"distance there are {dictionary.atoms_euclidean} end points."
        )
    steps = solver.steps.by_outcome.get("converged")
    if steps and steps.median is not None and steps.median <= 5:
        few = f"{steps.median:g} step{'s' * (steps.median != 1)}"
        found.append(f"The field is trivial: half of the starts that converged took {few} or fewer.")
    if dictionary.atoms == 0:
        which = "This run's own dictionary" if report.borrowed else "The dictionary"
        found.append(f"{which} is empty: no start ended in an admitted outcome.")
    for recall, sampled, rule in (
        (dictionary.recall, dictionary.recall_sampled, "cosine"),
        (dictionary.recall_euclidean, dictionary.recall_euclidean_sampled, "distance"),
    ):
        if recall < 0.99:
            found.append(
                f"End points were compared by an approximate index that found {100 * recall:.3g} % of the near pairs"
                f"{_interval(recall, sampled)}: under the rule of {rule}, some end points may be with an atom "
                "that is not near them, and the number of atoms may be off."
            )
    if diverged := solver.outcomes["diverged"]:
        found.append(
            f"{diverged} of {count(solver.n, 'start')} ({percent(diverged, solver.n)}) diverged "
            f"and are not in the dictionary."
        )
    return found


def _interval(recall: float, sampled: int) -> str:
    """Of how many points the recall is, and how sure. Neighbours of one point are found or missed together, so that the
    points count; a mean of shares varies no more than one of yes and no. Empty where older versions do not say."""
    if not sampled:
        return ""
    low, high = (100 * float(end) for end in wilson(recall, sampled))
    return f" of {count(sampled, 'sampled point')} (95 % interval {low:.3g} to {high:.3g} %)"


def _data_warnings(report: Report) -> list[str]:
    found = []
    for name, data in report.datasets.items():
        found += of_images(name, data.n_used, data.n_planned, data.unreadable, data.notes)
        if data.n_used < MIN_IMAGES:
            found.append(f"{name}: {count(data.n_used, 'image')}, too few for a verdict (at least {MIN_IMAGES}).")
        errors = [one for level in data.levels for one in level.methods.items()]
        broken = {method for method, one in errors if None in (one.latent_mse.mean, one.pixel_mse.mean)}
        if broken:
            found.append(f"{name}: errors that are not finite are left out ({', '.join(sorted(broken))}).")
    return found


def _method_warnings(report: Report) -> list[str]:
    """Often the same for all data sets, so one sentence names all data sets it holds for."""
    found = defaultdict(list)
    d = report.model.d
    for name, data in report.datasets.items():
        if pictures := data.source.get("pictures"):
            tiles = f"the images are tiles of {count(pictures, 'picture')}"
            found[f"{tiles}; intervals over images say nothing of other pictures."].append(name)
        which = "the borrowed dictionary" if report.borrowed else "the dictionary"
        atoms = data.method_atoms.get(OURS, 0)  # without one at the origin, which has no direction
        if atoms < data.five_percent:
            found[
                f"{which} has {count(atoms, 'atom')}, fewer than the {data.five_percent} of 5 % of d: "
                f"its errors level off where other methods still improve."
            ].append(name)
        elif 2 * atoms < d and BASELINE in data.method_atoms:
            vectors = data.method_atoms.get("gaussian", 0)
            fair = "; there are as many Gaussian vectors as atoms" if vectors == atoms else ""
            found[
                f"the random orthogonal basis has an advantage: {d} atoms to choose from, {which} {atoms}{fair}."
            ].append(name)
        if nothing := _nothing(data):
            found[nothing].append(name)
        for reason in dict.fromkeys(data.absent.values()):
            missing = [method for method, why in data.absent.items() if why == reason]
            those = listed([f"{methods()[method].phrase} ({method})" for method in missing])
            verb = "are" if len(missing) > 1 else "is"
            found[f"{those} {verb} missing: {reason.rstrip('.')}."].append(name)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in found.items()]


def _nothing(data: DatasetErrors) -> str | None:
    """A sentence if the mean image is as good, by 95 % intervals of ratios."""
    if (mean := data.sanity.get("mean_image")) is None:
        return None
    ratios = {
        "the autoencoder alone": mean.autoencoder_ratio.ci95,
        "the dictionary, with 5 % of d atoms,": mean.attractors_ratio.ci95,
    }
    worse = [who for who, ends in ratios.items() if ends is not None and ends[1] >= 1]
    return f"{worse[0]} is not measurably better, by pixel MSE, than the mean image." if worse else None


def semantics_sentences(found: Semantics) -> list[str]:
    """How CLIP sees the decoded end points, and how far that can be trusted."""
    if found.missing:
        return [found.missing + "."]
    assert found.common_label is not None
    assert found.above_noise is not None
    ours, noise = found.common_label["end_points"], found.common_label["noise"]
    weights = f", {found.pretrained}" if found.pretrained and ":" not in (found.model or "") else ""
    said = [
        f"CLIP ({found.model}{weights}) labels every picture with the closest of {found.words} words, so a label means "
        f"little if decoded noise gets it, too. {100 * found.above_noise:.0f} % of the end points are closer to their "
        f"label than 95 % of decoded noise is to its own (5 % by chance). The most frequent label is {ours.label!r} "
        f"({100 * ours.share:.0f} %), of decoded noise {noise.label!r} ({100 * noise.share:.0f} %)."
    ]
    unrelated = [f"{name} {with_interval(value)}" for name, value in (found.unrelated or {}).items()]
    if unrelated:
        said.append(
            "Compare the similarity of an image and its reconstruction with that of two different images of the same "
            f"data set: {', '.join(unrelated)}."
        )
    return said
