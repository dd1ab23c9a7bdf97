"""``probe ood CONFIG``: OOD detection by trajectories and by baselines."""

from pathlib import Path
from typing import Any

from probe.cli.launch import launch
from probe.cli.options import ConfigFile, Json, Out, Overrides, TrustCode


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
    from probe.config import read_yaml
    from probe.kinds import check_kind
    from probe.studies.ood.config import parse_ood_config
    from probe.trust import is_in_run_directory

    data = read_yaml(config, overrides or ())
    check_kind(data, "ood", config)
    settings = parse_ood_config(data)
    trusted = trust_code or not is_in_run_directory(config)
    launch("ood", settings, out or Path("runs") / config.stem, show, trusted=trusted, as_json=as_json)


def show(report: dict[str, Any]) -> None:
    """Print AUROC and FPR95 of every set and score, and the verdicts."""
    from probe.report.ood import ood_table
    from probe.terminal import console

    console().print(ood_table(report))
    print("\n".join(report["verdicts_in_words"]))
