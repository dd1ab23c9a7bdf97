"""``probe run|study|ood CONFIG`` and their stages: all work that fills a run directory, and its report.

``do_all`` serves ``probe roundtrip`` as well."""

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli.options import ConfigFile, Json, Out, Overrides, RunDir, TrustCode, config_argument
from probe.cli.output import print_json, print_rows
from probe.errors import UserError
from probe.packaged import naming

if TYPE_CHECKING:
    from probe.kinds import Kind


OptionalConfig = Annotated[Path | None, config_argument("[CONFIG]", "; optional with --model")]
ModelSource = Annotated[str | None, typer.Option("--model", metavar="SOURCE", help="As model.source.")]


def run(
    config: OptionalConfig = None,
    model: ModelSource = None,
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
    name, words = named(config, model)
    path, trusted = out or Path("runs") / name, trust_code or model is not None
    do_all("run", config, [*words, *(overrides or ())], path, trusted, as_json)


def study(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Share the models with other independent processes, as a Slurm array does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train or build a grid of models, probe each, and report.

    The kind of study (the key `study`) says what varies and what is measured. Prints mean and standard deviation over
    seeds, and the verdicts. Rerun the same command to resume.
    """
    do_all("study", config, overrides or [], out or Path("runs") / config.stem, True, as_json, shared=shared)


def ood(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Detect OOD images by latent trajectories and baselines.

    Trains the model first if the configuration says so, finds the training attractors, scores every set, writes
    scores.parquet (a row per image) and the report. Prints AUROC and FPR95 of every set and score, and the verdicts.
    Rerun the same command to resume.
    """
    do_all("ood", config, overrides or [], out or Path("runs") / config.stem, trust_code, as_json)


def images(
    run_dir: Annotated[Path, config_argument("RUN_DIR|CONFIG", folders=True)],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Draw the images of every data set, and nothing more.

    For compute nodes without internet. Prints the number of images per data set. With a CONFIG the work begins here;
    `probe run`, `study`, `ood` or `roundtrip` with the same CONFIG, --set and --out continues it.
    """
    if run_dir.is_dir() and (overrides or out):
        raise UserError(f"{run_dir} is a folder, and its configuration is fixed; --set and --out go with a CONFIG.")
    if run_dir.is_dir():
        _do_stage("images", run_dir, trust_code, as_json)
        return
    from jobs.kinds import kind_of
    from probe.config import read_yaml
    from probe.trust import is_in_run_directory

    with naming(run_dir):
        settings = kind_of(run_dir).directory.parse(read_yaml(run_dir, overrides or ()))
    trusted = trust_code or not is_in_run_directory(run_dir)
    _do_stage("images", out or Path("runs") / run_dir.stem, trusted, as_json, settings, run_dir)


def attractors(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Iterate the starts that are still missing.

    Prints the number of starts by outcome.
    """
    _do_stage("attractors", run_dir, trust_code, as_json)


def dictionary(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Merge the end points into atoms and certify them.

    Prints the counts.
    """
    _do_stage("dictionary", run_dir, trust_code, as_json)


def reconstruct(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Solve the sparse reconstructions that are still missing.

    Prints the number of images used per data set.
    """
    _do_stage("reconstruct", run_dir, trust_code, as_json)


def report(run_dir: RunDir, as_json: Json = False) -> None:
    """Write the report again from the results.

    Prints its table. For a run, study, OOD experiment or round trip.
    """
    from jobs.doing import doing_of
    from jobs.kinds import kind_of
    from jobs.worker import work

    kind = kind_of(run_dir)
    made, world = work(run_dir, kind, partial(doing_of(kind).do, "report"))
    if world.rank == 0:
        print_report(kind.name, made, as_json)


def named(config: Path | None, model: str | None) -> tuple[str, list[str]]:
    """The name of a run, and what its model sets."""
    if config is None and model is None:
        raise UserError("name a CONFIG, for example quickstart, or a --model.")
    name = config.stem if config else re.sub(r"[^\w.-]+", "-", model or "").strip("-.")
    return name, [] if model is None else [f"model.source={json.dumps(model)}"]


def read_settings(name: "Kind", config: Path | None, overrides: list[str]) -> dict[str, Any]:
    """The keys of a file of that kind of work, with ``--set``; without a file, the bundled data sets."""
    from probe.config import read_yaml
    from probe.kinds import check_kind

    data = read_yaml(config, overrides)
    check_kind(data, name, config)
    if config:
        return data
    from probe.data.bundled import NAMES

    return {"datasets": dict.fromkeys(NAMES), **data}


def do_all(
    name: "Kind",
    config: Path | None,
    overrides: list[str],
    path: Path,
    trusted: bool,
    as_json: bool,
    *,
    shared: bool = False,
) -> None:
    """Do every stage that is missing; rank 0, or the last of the processes that share, prints the report."""
    with naming(config):
        data = read_settings(name, config, overrides)

    from jobs.stopping import stop_on_signals

    with stop_on_signals():
        from jobs.doing import doing_of
        from jobs.kinds import kind_named
        from jobs.worker import share, work
        from probe.trust import is_in_run_directory

        kind = kind_named(name)
        with naming(config):
            settings = kind.directory.parse(data)
        if shared:
            report = share(path, kind, settings)
        else:
            trusted = trusted or config is None or not is_in_run_directory(config)
            made, world = work(path, kind, doing_of(kind).all, settings, trusted=trusted)
            report = None if world.rank else made
    if report is not None:
        print_report(name, report, as_json)


def _do_stage(
    name: str, path: Path, trusted: bool, as_json: bool, settings: Any = None, config: Path | None = None
) -> None:
    """Do one stage, and print its summary; ``settings``, read from the file ``config``, begin the work."""
    from jobs.doing import doing_of
    from jobs.kinds import kind_of
    from jobs.worker import work

    kind = kind_of(config or path)
    kind.stage(name)
    doing = doing_of(kind)

    def do(its: Any) -> Any:
        doing.do(name, its)
        return doing.summary[name](its) if name in doing.summary else {}

    values, world = work(path, kind, do, settings, trusted=trusted)
    if world.rank == 0:
        print_rows(values, as_json)


def print_report(name: str, report: dict[str, Any], as_json: bool) -> None:
    """Print the tables and verdicts of a report, or all of it as JSON."""
    from probe.terminal import console

    if as_json:
        print_json(report)
    elif name == "study":
        from probe.report.study import study_table

        for dataset, table in study_table(report).items():
            console().print(table)
            print("\n".join(report["datasets"][dataset]["verdicts_in_words"]))
    elif name == "roundtrip":
        from probe.report.roundtrip import roundtrip_table

        console().print(roundtrip_table(report))
        print("\n".join(report["headlines"].values()))
    elif name == "ood":
        from probe.report.ood import ood_table

        console().print(ood_table(report))
        print("\n".join(report["verdicts_in_words"]))
    elif report["datasets"]:
        from probe.report.run.decomposition import decomposition_table
        from probe.report.run.tables import five_percent_table

        console().print(five_percent_table(report, console().width))
        if parts := decomposition_table(report):
            console().print(parts)
    else:
        print("\n".join(report["summary"]))
