"""What is published with the dictionary of a finished run: the facts in config.json, the card, a sheet of pictures."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probe import __version__
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
USE = """```python
from probe import AttractorDictionary
from probe.sparse import omp

dictionary = AttractorDictionary.from_pretrained("{name}")
codes = omp(dictionary.atoms, z.flatten(1), levels=[{level}])  # z: latents (n, {shape}) in the model's coordinates
```"""


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
    return Artefact(finite(facts), _card(report), _sheet(found.thumbnails[:SHOWN]))


def _model(report: Report) -> dict[str, Any]:
    """What identifies the model; the source only where it is no path of this machine."""
    model, more = report.model, report.model.model_extra or {}
    open_to_all = model.revision is not None or model.source.startswith("embedded:")
    return {
        "name": model_name(report),
        "source": model.source if open_to_all else None,
        "class": model.class_,
        "revision": model.revision,
        "weights_sha256": model.weights_sha256,
        **{name: more.get(name) for name in ("code_sha256", "scaling_factor", "shift_factor")},
    }


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


def _card(report: Report) -> str:
    model, atoms = report.model, report.dictionary.atoms
    name, level = model_name(report), max(round(0.05 * model.d), 1)
    known: Mapping[str, Any] = {
        "library_name": LIBRARY,
        "tags": sorted(TAGS),
        "base_model": model.source if model.revision else None,
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
        USE.format(name=ANYWHERE, level=min(level, max(atoms, 1)), shape=shape),
        "`config.json` says what it was made with: model, weights, protocol, counts. `dictionary.ends` are the end "
        "points themselves, `dictionary.to_pandas()` has a row for each. "
        f"`probe run --set dictionary.source={ANYWHERE}` codes images in these atoms, with any weights "
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
