"""What is published with the dictionary of a finished run: the facts in config.json, the card, a sheet of pictures."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probe import __version__
from probe.autoencoders.repository import local
from probe.config import Config
from probe.errors import UserError
from probe.report.model import finite
from probe.report.page.markdown import code, joined, text
from probe.report.page.text import count
from probe.report.run.export import metadata, model_name, results, section
from probe.report.run.schema import Report, read_report
from probe.results.run import Results, read_results
from probe.studies.probing.artefact import PICTURES, Artefact
from probe.studies.probing.attractor_dictionary import ANYWHERE, LIBRARY, TAGS

SHOWN, ACROSS, SIDE, GAP = 64, 8, 64, 2
"""Pictures on the sheet, in a row, their longest side in pixels, and what is between them: less than 1 MB in all."""
PROTOCOL = {
    "model": ("latents", "quantisation", "clamp", "dtype", "frames", "samples"),
    "solver": (
        "max_steps",
        "tolerance",
        "max_norm",
        "accelerate",
        "far_precision",
        "certificates",
        "certificate_dtype",
    ),
    "dictionary": ("cosine", "euclidean", "outcomes"),
    "seeds": ("count", "seed"),
}
"""Settings that the atoms depend on, beside ``resolution``."""
SCALING = ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
"""What makes scaled latents of raw ones."""
USE = """```python
from probe import AttractorDictionary
from probe.sparse import omp

dictionary = AttractorDictionary.from_pretrained("{name}")
codes = omp(dictionary.atoms, z.flatten(1), levels=[{level}])  # z: {latents} latents (n, {shape})
```

`from_pretrained` takes a folder with these files, too. Latents of uint8 images (n, 3, height, width):
`model = probe.load_autoencoder(MODEL)`, `z = model.encode(model.from_pixels(images))`."""


CENTRED = (
    "The errors below are not those of these lines: the run was made with `sparse.centre={centre}`, so its atoms are "
    "`dictionary.ends` minus their mean, and a mean is subtracted from the latents."
)


def artefact_of(run: Path) -> Artefact:
    """What belongs to the dictionary of a run.

    Raises:
        UserError: the run has no report, or is damaged; or its images were coded in another dictionary.
    """
    report = read_report(run)
    if report.borrowed:
        raise UserError(
            f"{run} coded its images in the dictionary of another run, so nothing says how well its own end points do; "
            "run it without dictionary.source, or save the dictionary of that run."
        )
    found = read_results(run)
    facts = {
        "library_name": LIBRARY,
        "probe_version": __version__,
        "latent_shape": list(report.model.latent_shape),
        "model": _model(report),
        "protocol": _protocol(found),
        "counts": _counts(report),
        "summary": found.dictionary_summary,
    }
    return Artefact(finite(facts), _card(_without_paths(report), found.config), _sheet(found.thumbnails[:SHOWN]))


def _model(report: Report) -> dict[str, Any]:
    """What identifies the model; the source only where it is no path of this machine."""
    model, more = report.model, report.model.model_extra or {}
    return {
        "name": model_name(report),
        "source": model.source if _is_open(report) else None,
        "class": model.class_,
        "revision": model.revision,
        "weights_sha256": model.weights_sha256,
        **{name: more.get(name) for name in ("code_sha256", *SCALING)},
    }


def _repository(report: Report) -> str | None:
    """The hub's id of the model's repository; None for another source, also for a file in the hub's cache."""
    source = report.model.source.removeprefix("https://huggingface.co/")
    if report.model.revision is None or "snapshots" in source.split("/"):
        return None
    name = "/".join(source.split("/")[:2])
    return name if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) else None


def _is_open(report: Report) -> bool:
    """Whether others can load the model by its source."""
    return _repository(report) is not None or report.model.source.startswith("embedded:")


def _without_paths(report: Report) -> Report:
    """The report with warnings that name the model, not where it lies on this machine."""
    source = report.model.source
    if _is_open(report):
        return report
    places = sorted({source, str(local(source)), source.removeprefix("python:").rpartition(":")[0]} - {""}, key=len)
    warnings = report.warnings
    for place in reversed(places):
        warnings = [one.replace(f"model {place}", f"model {model_name(report)}") for one in warnings]
    return report.model_copy(update={"warnings": warnings})


def _protocol(found: Results) -> dict[str, Any]:
    settings = found.config.settings()
    chosen = {section: {key: settings[section][key] for key in keys} for section, keys in PROTOCOL.items()}
    return {"resolution": found.config.resolution, **chosen}


def _counts(report: Report) -> dict[str, Any]:
    certificates, solver = report.solver.certificates, report.solver
    return {
        "atoms": report.dictionary.atoms,
        "certified": certificates.certified,
        "not_attractors": certificates.not_attractors,
        "undecided": certificates.undecided,
        "starts": solver.n,
        "starts_used": report.dictionary.starts_used,
        "starts_that_reach_attractors": certificates.starts,
        "outcomes": solver.outcomes,
    }


def _card(report: Report, config: Config) -> str:
    model, atoms = report.model, report.dictionary.atoms
    name, level = model_name(report), max(round(0.05 * model.d), 1)
    known: Mapping[str, Any] = {
        "library_name": LIBRARY,
        "tags": sorted(TAGS),
        "base_model": _repository(report),
        "model_name": f"Attractor dictionary of {name}",
        "eval_results": results(report) or None,
    }
    weights = f"weights sha256 {code(model.weights_sha256)}" if model.weights_sha256 else "without weights"
    shape = ", ".join(map(str, model.latent_shape))
    parts = [
        metadata(**known),
        f"# Attractor dictionary of {text(name)}",
        f"{count(atoms, 'distinct end point')} of z ← E(D(z)) from Gaussian noise, largest basin first, with their "
        f"certificates: what {code(model.class_)} ({weights}) has stored, found without data by "
        f"{LIBRARY}.",
        f"![Decoded end points, largest basin first]({PICTURES})",
        "## Use",
        USE.format(name=ANYWHERE, level=min(level, max(atoms, 1)), shape=shape, latents=config.model.latents),
        "" if config.sparse.centre == "none" else CENTRED.format(centre=config.sparse.centre),
        "`config.json` says what it was made with: model, weights, protocol, counts. `dictionary.ends` are the end "
        "points themselves, `dictionary.to_pandas()` has a row for each. "
        f"`probe run --model MODEL --set dictionary.source={ANYWHERE}` codes images in these atoms, with any weights "
        "whose latents have the same shape.",
        "## What the run found",
        " ".join(text(one) for one in report.headline.values()),
        *section(report, command=False),
        "### License",
        "None is set unless `license` stands in the metadata above. End points come out of a model's weights, whose "
        "license may apply to them.",
    ]
    return joined(parts)


def _sheet(pictures: NDArray[np.uint8]) -> bytes:
    """Pictures (k, 3, h, w) in rows, as a PNG; empty without any."""
    if not len(pictures):
        return b""
    tiles = []
    for picture in pictures:
        tile = Image.fromarray(picture.transpose(1, 2, 0))
        tile.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        tiles.append(tile)
    width, height = (side + GAP for side in tiles[0].size)
    across = min(ACROSS, len(tiles))
    sheet = Image.new("RGB", (across * width - GAP, -(-len(tiles) // across) * height - GAP), "white")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % across * width, place // across * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "png", optimize=True)
    return buffer.getvalue()
