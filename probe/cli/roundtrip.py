"""``probe roundtrip``: what is left of an image after many round trips."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from probe.cli.options import ABOUT_CONFIG, Json, Overrides, TrustCode, path_option
from probe.cli.work import do_all
from probe.errors import UserError
from probe.measures import IDENTITY
from probe.packaged import given_config, is_packaged

FEW = 64
"""Images of a source that is named on the command line."""


Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL...|CONFIG",
        help=f"Models, as model.source; or one configuration. {ABOUT_CONFIG}.",
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="SPEC",
        help="A preset, or a source such as parquet:PATH (64 images of it); repeatable; default: the bundled sets.",
    ),
]
Cycles = Annotated[
    int | None, typer.Option(min=1, max=100_000, help="How often each image is encoded and decoded; default 50.")
]
Between = Annotated[
    list[str] | None,
    typer.Option(
        "--between",
        metavar="NAME",
        help="What happens between cycles: none, clamp, 8bit, png, jpeg:QUALITY, webp:QUALITY, resize:FACTOR; "
        "repeatable.",
    ),
]


def roundtrip(
    models: Models,
    images: Images = None,
    cycles: Cycles = None,
    between: Between = None,
    run: Annotated[
        Path | None,
        path_option("--run", "RUN_DIR", "A finished run, whose attractors the end points are compared with."),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        path_option(
            "--out",
            "RUN_DIR",
            "The run directory; default runs/NAME_OF_CONFIG, or runs/roundtrip-MODELS: other images or options for the "
            "same models need a folder of their own.",
        ),
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Encode and decode images again and again.

    Measures every image after every cycle, for every model and everything that may happen between cycles, beside a
    control without a model; says whether pictures settle, and writes the report. Prints PSNR by cycle. Rerun the same
    command to resume.
    """
    config, name, words = asked_for(models, images, cycles, between, run)
    do_all("roundtrip", config, [*words, *(overrides or ())], out or Path("runs") / name, trust_code, as_json)


def asked_for(
    models: list[str],
    images: list[str] | None,
    cycles: int | None,
    between: list[str] | None,
    run: Path | None = None,
) -> tuple[Path | None, str, list[str]]:
    """The configuration file, if one was given; a name; and what the options set."""
    one = models[0]
    config = given_config(one) if one.endswith((".yaml", ".yml")) or is_packaged(one, "roundtrip") else None
    if config and len(models) > 1:
        raise UserError(f"{config} is a configuration, which names its models; give it alone, or models alone.")
    named: dict[str, Any] = {} if config else {"models": by_name(models)}
    if images:
        named["datasets"] = dict(map(image_set, images))
    if cycles:
        named["cycles"] = cycles
    if between:
        named["between"] = between
    if run:
        named["run"] = str(run)
    words = [f"{key}={json.dumps(value)}" for key, value in named.items()]
    name = config.stem if config else f"roundtrip-{'-'.join(named['models'])}"[:100]
    return config, name, words


def by_name(sources: list[str]) -> dict[str, dict[str, str]]:
    """The models of sources, by the last part of each: ``taef2`` for ``python:tests/models/taef2.py:load``.

    Functions of other names are part of it: ``taef2-small`` for ``python:tests/models/taef2.py:small``.
    """
    found: dict[str, dict[str, str]] = {}
    taken = {IDENTITY}
    for source in sources:
        kind, _, rest = source.partition(":")
        place, _, function = rest.rpartition(":") if kind == "python" else (rest or source, "", "load")
        last = place.rstrip("/").rpartition("/")[2].removesuffix(".py").removesuffix(".safetensors")
        name = again = _file_name(last if function == "load" else f"{last}-{function}", "model")
        number = 1
        while again.casefold() in taken:  # on some file systems, names that differ in case are one
            number += 1
            again = f"{name}-{number}"
        taken.add(again.casefold())
        found[again] = {"source": source}
    return found


def image_set(spec: str) -> tuple[str, dict[str, Any] | None]:
    """The name and the configuration of a data set: a preset by its name, or ``FEW`` images of a source."""
    from probe.data.presets import preset_names

    if spec in preset_names():
        return spec, None
    last = spec.partition(":")[2] or spec
    return _file_name(Path(last.rstrip("/")).stem, "images"), {"source": spec, "n": FEW}


def _file_name(text: str, otherwise: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:60] or otherwise
