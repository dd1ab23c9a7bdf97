"""``probe run``: the whole job."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli.launch import launch
from probe.cli.options import Json, Out, Overrides, TrustCode
from probe.errors import UserError
from probe.names import given_path

if TYPE_CHECKING:
    from probe.config import Config


def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="YAML file; optional with --model.", parser=given_path)
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="SOURCE", help="As model.source.")] = None,
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Probe an autoencoder and write the report.

    Finds the attractors, builds the dictionary, reconstructs the data sets, and prints the latent MSE at 5 % of the
    latent dimension per data set and method. Rerun the same command to resume. With --model and no CONFIG, the six
    bundled data sets and the defaults are used.
    """
    settings = settings_of(config, model, overrides or [])

    from probe.trust import is_in_run_directory

    trusted = trust_code or model is not None or config is None or not is_in_run_directory(config)
    name = config.stem if config else re.sub(r"[^\w.-]+", "-", model or "").strip("-.")
    launch("run", settings, out or Path("runs") / name, show, trusted=trusted, as_json=as_json)


def settings_of(config: Path | None, model: str | None, overrides: list[str]) -> "Config":
    """The configuration that CONFIG, --model and --set amount to."""
    from probe.config import parse_config, read_yaml
    from probe.data.bundled import NAMES
    from probe.kinds import check_kind

    if config is None and model is None:
        raise UserError("name a CONFIG, for example configs/quickstart.yaml, or a --model.")
    named = [] if model is None else [f"model.source={json.dumps(model)}"]
    settings = read_yaml(config, [*named, *overrides])
    check_kind(settings, "run", config)
    if config is None:
        settings.setdefault("datasets", dict.fromkeys(NAMES))
    return parse_config(settings)


def show(report: dict[str, Any]) -> None:
    """Print a report's 5 % table."""
    if not report["datasets"]:
        print("\n".join(report["summary"]))
        return
    from probe.report.run import five_percent_table
    from probe.terminal import console

    console().print(five_percent_table(report))
