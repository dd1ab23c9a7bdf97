"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from probe.names import given_path

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file, for example configs/quickstart.yaml.", parser=given_path)
]
RunDir = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run that `probe run` began.", parser=given_path)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. --set solver.max_steps=100; repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="RUN_DIR", help="Where the run goes; default runs/NAME_OF_CONFIG.", parser=given_path
    ),
]
OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.", parser=given_path)]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run the code that the run's model brings, though no command of yours has named it before."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
