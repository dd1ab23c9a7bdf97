"""``probe doctor``: what a model is and what a step will cost, before a run starts."""

import json
import math
from typing import Annotated

import typer

from probe.cli.options import Json, Overrides, config_of_model

LABELS = {
    "resolution": "resolution (as set; default 32)",
    "rows": "rows per batch (solver.batch_size)",
    "flops_per_step": "FLOPs per step of f and start",
    "weights_bytes": "memory of the weights, bytes",
    "step_bytes": "memory of a step of f with all rows, bytes (estimate)",
}


def doctor(
    model: Annotated[str, typer.Option("--model", metavar="SOURCE", help="As model.source.")] = "embedded:cifar-kl",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show what a model is, its memory, and the cost of a step.

    Loads the model and prints its class, kind, latent shape, weights, memory and FLOPs per step of f, and versions.
    """
    config = config_of_model(model, overrides)

    from jobs.provenance import describe_process
    from probe.autoencoders import load_autoencoder
    from probe.studies.probing.end_points import cost

    loaded = load_autoencoder(config.model)
    shape = loaded.latent_shape(config.resolution)
    found = {
        "source": loaded.source,
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
        **describe_process(),
    }
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for key, value in found.items():
        if value is not None:
            print(f"{LABELS.get(key, key.replace('_', ' '))}: {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
