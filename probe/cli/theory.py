"""``probe theory RUN_DIR``: the paper's theory, measured on a finished run."""

import json
from typing import Annotated

import typer

from probe.cli.options import Json, RunDir, TrustCode


def theory(
    run_dir: RunDir,
    points: Annotated[int, typer.Option(min=2, max=1_000_000, help="Points of each kind that get a Jacobian.")] = 16,
    probes: Annotated[int, typer.Option(min=2, max=1_000_000, help="Of the antisymmetric part of a Jacobian.")] = 8,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Proposition 3.2, Lipschitz constants of f, Theorem 1 (is f(z) - z a score?), and whether the field is a gradient.

    Writes RUN_DIR/theory/: theory.html, theory.md, figures/ and theory.json; the verdicts are on stdout.
    """
    from jobs.kinds import RUN
    from jobs.run.theory import measure
    from jobs.worker import work

    content, world = work(run_dir, RUN, lambda its: measure(its, points=points, probes=probes), trusted=trust_code)
    if world.rank or content is None:
        return
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False))
        return
    from probe.report.theory.write import summary

    print(summary(content), end="")
