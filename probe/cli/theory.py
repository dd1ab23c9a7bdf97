"""``probe theory RUN_DIR``: the paper's theory, measured on a finished run."""

import json
from typing import Annotated

import typer

from probe.cli.options import Json, RunDir, TrustCode


def theory(
    run_dir: RunDir,
    points: Annotated[int, typer.Option(min=2, max=1_000_000, help="Points of each kind that get a Jacobian.")] = 16,
    probes: Annotated[
        int, typer.Option(min=2, max=1_000_000, help="Random probes of a Jacobian's antisymmetric part.")
    ] = 8,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Measure the paper's theory on a finished run.

    Proposition 3.2, Lipschitz constants of f, Theorem 1 (is f(z) - z a score?), whether the field is a gradient, and
    Proposition A.9 (predicted against actual steps). Writes RUN_DIR/theory/: theory.html, theory.md, figures/ and
    theory.json. Prints the verdicts.
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
