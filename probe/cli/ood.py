"""``probe ood CONFIG``: OOD detection by trajectories and by baselines."""

import json
from pathlib import Path

from probe.cli.options import ConfigFile, Json, Out, Overrides, TrustCode


def ood(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Tell OOD images from in-distribution ones by trajectories in the latent space, and by baselines.

    Trains the model first where the configuration says so, finds the training attractors, scores every set, writes
    scores.parquet (a row per image) and the report. Prints AUROC and FPR95 of every set and score, and the verdicts.
    Rerun the same command to resume.
    """
    from probe.studies.ood.config import load_ood_config

    settings = load_ood_config(config, overrides or ())

    from jobs.worker import work_on_ood
    from probe.trust import is_in_run_directory

    path, trusted = out or Path("runs") / config.stem, trust_code or not is_in_run_directory(config)
    report, world = work_on_ood(path, lambda stages: stages.all(), settings, trusted)
    if world.rank:
        return
    if as_json:
        print(json.dumps(report, indent=1))
        return
    from probe.report.ood import ood_table
    from probe.terminal import console

    console().print(ood_table(report))
    print("\n".join(report["verdicts_in_words"]))
