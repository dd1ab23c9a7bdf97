"""From the results of a round trip to its report."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from probe.errors import UserError
from probe.measures import IDENTITY, MARKS, MEASURES, shown_cycles
from probe.metrics.images import LOSSLESS
from probe.report.fid import JACKKNIFE, PIXELS, biased
from probe.report.model import provenance
from probe.report.page.text import as_text, count, listed, of_images, percent
from probe.report.roundtrip import words
from probe.report.roundtrip.numbers import LATENT, Measured, differences, joined, measured, series
from probe.report.roundtrip.schema import RoundtripReport, Series, SetReport
from probe.results.roundtrip import RoundtripResults, Trip
from probe.studies.roundtrip.between import step

DRAWN = 24
"""Cycles of a curve, about: all at first, then in steps that grow."""
PACKAGES = ("pillow", "torch", "scikit-image")
"""Versions of the manifest that round trips depend on."""
LPIPS = ("network", "version", "weights", "sha256", "resize")
"""What of LPIPS' protocol the page tells."""
FEW = 20
"""Images below which intervals are rough."""
CLIPPED = 0.05
"""Growth of the share of saturated values that is worth a warning."""
RULES = (
    f"PSNR, SSIM and CIEDE2000 compare the picture after t cycles with the image itself, both clamped to [0, 1]. "
    f"PSNR counts as at most {LOSSLESS:g} dB, which is shown as lossless. Where only some of the pictures are, means, "
    "intervals and differences are of the others, and say how many they leave out. CIEDE2000 is a colour difference; "
    "about 1 is just noticeable.",
    "Colour drift is the mean of picture minus image in a channel, in levels of 8 bits (0 to 255). It is signed: a "
    "brighter picture has a positive drift in all channels.",
    "The control, no model, does the same without encoding and decoding. What it loses, the file format or the "
    "resizing loses by itself.",
    "Brackets are 95 % bootstrap intervals over the images; they speak of other images, not of another training. "
    "Differences are paired by image. Intervals of medians come from order statistics.",
    "A picture settles when it stays what it is (to the tolerance; with 8 bits exactly) or returns to the same few "
    "pictures. A fixed point is certified as an attractor if the largest eigenvalue of the Jacobian is below 1 in "
    "modulus. Certificates are of the latent map, so that only 'nothing' and 'clamp' can have them.",
    "The spectrum is the power of a picture over that of its image by frequency, mean over images in dB: below 0, "
    "detail is lost; above 0, detail or noise has been added.",
    "Latent norm, step and distance are divided by the norm of the image's own latent, so that models can be compared.",
)


def roundtrip_report(results: RoundtripResults) -> RoundtripReport:
    """The report of finished results.

    Raises:
        UserError: the results lack something.
    """
    try:
        report = _assemble(results)
        report.headlines = {model: words.headline(report, model) for model in report.models}
        report.warnings = list(_warnings(results, report))
        return report
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"the results of the round trip have unexpected content ({error!r}); remove the folder and run it again."
        ) from error


def drawn_cycles(cycles: int) -> list[int]:
    """1 to ``cycles``, all if they are few; the table's and the last among them."""
    spread = np.unique(np.geomspace(1, cycles, DRAWN).round().astype(int)).tolist()
    return sorted({*spread, *shown_cycles(cycles)})


def _assemble(results: RoundtripResults) -> RoundtripReport:
    config, manifest = results.config, results.manifest
    found = {trip: measured(one) for trip, one in results.trips.items()}
    pairs = [(model, between) for model in (*config.models, IDENTITY) for between in config.between]
    by_set = {name: [found[Trip(*pair, name)] for pair in pairs] for name in config.datasets}
    together = [joined([of_one[place] for of_one in by_set.values()]) for place in range(len(pairs))]
    sources = {name: manifest["data"][name]["source"].get("source") for name in by_set}
    first = next(iter(results.trips.values()))
    sets = {name: _set(of_one, sources[name], config.cycles, config.seed) for name, of_one in by_set.items()}
    alone = next(iter(sets.values())) if len(sets) == 1 else None
    return RoundtripReport(
        models={name: dict(facts) for name, facts in manifest["models"].items()},
        betweens={one: _meaning(one) for one in config.between},
        cycles=config.cycles,
        cycles_shown=shown_cycles(config.cycles),
        cycles_drawn=drawn_cycles(config.cycles),
        measures=_measures([one for of_one in by_set.values() for one in of_one]),
        marks={mark.name: mark.label for mark in MARKS},
        bands=[float(edge) for edge in first.tensors["bands"]],
        overall=alone or _set(together, None, config.cycles, config.seed),
        datasets=sets,
        headlines={},
        protocol=protocol(results),
        rules=list(RULES),
        warnings=[],
        provenance=provenance(manifest, config),
    )


def _set(found: list[Measured], source: Any, cycles: int, seed: int) -> SetReport:
    drawn, shown = drawn_cycles(cycles), shown_cycles(cycles)
    made = [series(one, drawn, shown, seed) for one in found]
    return SetReport(n=made[0].n, source=source, series=made, differences=differences(found, shown, seed))


def _meaning(between: str) -> str:
    return step(between).kind.explanation


def _measures(found: list[Measured]) -> dict[str, str]:
    """What each measure is that any of the results has."""
    there = {name for one in found for name in one.values}
    meant = {one.name: one.explanation for one in MEASURES if one.name in there}
    return {name: f"{text}; divided by ||z_0||" if name in LATENT else text for name, text in meant.items()}


def protocol(results: RoundtripResults) -> dict[str, str]:
    """How the numbers were made: images, size, precision, versions of what writes files."""
    config, manifest = results.config, results.manifest
    data = manifest["data"]
    images = listed([f"{data[name]['n_used']} of {name}" for name in config.datasets])
    versions = manifest.get("versions", {})
    known = [f"{name} {versions[name]}" for name in versions if name in PACKAGES]
    known += [f"{name} {version}" for name, version in manifest.get("codecs", {}).items() if version]
    more, mapped = config.solver.max_steps, words.of_latent_map(config.between)
    labels = listed([words.between_label(one) for one in mapped])
    further = f", and with {labels} up to {more} more of the latent map to see whether it settles"
    exact = "the picture comes again, bit by bit"
    return {
        "images": images,
        "size": f"{config.resolution} x {config.resolution} pixels",
        "a cycle": "encode, decode, then what happens between cycles, which the picture after one cycle has seen once",
        "cycles": f"{config.cycles}{further if mapped and more else ''}",
        "precision": f"{manifest.get('dtype', 'unknown')} on {manifest.get('device', 'unknown')}",
        "settled": f"{f'||f(z) - z||^2 below {config.solver.tolerance:g}' if mapped else exact}; diverged: not finite, "
        f"or a latent norm above {config.solver.max_norm:g}",
        "LPIPS": _lpips(results),
        "rFID": _rfid(results),
        "versions": ", ".join(known) or "unknown",
        **{f"between: {words.between_label(one)}": _meaning(one) for one in config.between},
    }


def _lpips(results: RoundtripResults) -> str:
    """Network, weights and version of LPIPS, or why it is missing."""
    noted: Mapping[str, Any] = results.manifest.get("perceptual", {}).get("lpips") or {}
    measured = any("lpips" in found.rows for found in results.trips.values())
    if not measured:
        return _not_measured(results, "LPIPS")
    return as_text({key: noted[key] for key in LPIPS if noted.get(key)}) or "measured"


def _not_measured(results: RoundtripResults, metric: str) -> str:
    """``not measured: the weights of AlexNet are not in torch's cache; save ...``, as noted when the work was begun."""
    missing = results.manifest.get("perceptual", {}).get("missing", [])
    why = next((one.removeprefix(f"no {metric}: ") for one in missing if one.startswith(f"no {metric}: ")), "")
    return f"not measured: {why}" if why else "not measured"


def _rfid(results: RoundtripResults) -> str:
    """Network, weights and library of rFID, and what it sees."""
    if not any(found.about.get("rfid") for found in results.trips.values()):
        return _not_measured(results, "rFID")
    noted: Mapping[str, Any] = results.manifest.get("perceptual", {}).get("rfid") or {}
    return as_text({**noted, "pixels": PIXELS, "interval": JACKKNIFE})


def _warnings(results: RoundtripResults, report: RoundtripReport) -> Iterator[str]:
    """What to know before believing a number."""
    for name, facts in results.manifest["models"].items():
        yield from (f"{name}: {text}" for text in facts.get("warnings", []))
        size, side = facts.get("sample_size"), results.config.resolution
        if size and 2 * side <= size:
            yield f"{name} was made for images of {size} px, not {side}; set resolution to see what it does to those."
    for name, facts in results.manifest["data"].items():
        odd = [str(one) for one in facts.get("unreadable", [])]
        yield from of_images(name, facts["n_used"], facts.get("n_planned", 0), odd, facts.get("notes", []))
    for name, data in report.datasets.items():
        if any(one.rfid for one in data.series):
            yield from biased(name, data.n)
    few = [name for name, data in report.datasets.items() if data.n < FEW]
    if few:
        yield f"{listed(few)}: fewer than {FEW} images; intervals over so few are rough."
    for one in report.overall.series:
        yield from _series(report, one.model, one.between)
    if "ssim" not in report.measures or not _any(report, "ssim"):
        yield "SSIM is not measured: its window needs images of at least 11 pixels a side."
    reasons = {found.about.get("no_attractors") for found in results.trips.values()} - {"", None}
    yield from sorted(map(str, reasons))


def _series(report: RoundtripReport, model: str, between: str) -> Iterator[str]:
    one = report.overall.of(model, between)
    name = f"{words.model_label(model)}, {words.between_label(between)}"
    if one.not_finite:
        have = "has" if one.not_finite == 1 else "have"
        yield (
            f"{name}: {one.not_finite} of {count(one.n, 'image')} {have} diverged by cycle {report.cycles}. From there "
            "on, means are of the others, and look too good."
        )
    partly = _partly_lossless(one)
    if partly:
        most = f"{'up to ' if len(set(partly)) > 1 else ''}{max(partly)}"
        yield f"{name}: {most} of {one.n} lossless; mean PSNR, its intervals and differences leave them out."
    share = one.curves["saturated"].mean if "saturated" in one.curves else []
    ends = [value for value in share if value is not None]
    if model != IDENTITY and ends and ends[-1] - ends[0] > CLIPPED:
        yield (
            f"{name}: values clipped at black or white grow from {percent(ends[0])} after the first cycle to "
            f"{percent(ends[-1])}."
        )


def _partly_lossless(one: Series) -> list[int]:
    """How many pictures are lossless, at the cycles at which others are not."""
    curve = one.curves.get("psnr")
    pairs = zip(curve.lossless, curve.mean, strict=True) if curve and curve.lossless else ()
    return [k for k, mean in pairs if k and mean is not None and mean < LOSSLESS]


def _any(report: RoundtripReport, measure: str) -> bool:
    return any(measure in one.curves for one in report.overall.series)
