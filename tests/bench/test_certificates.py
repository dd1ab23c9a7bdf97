"""The bench of certificates: what it measures, not how fast it is."""

import json

import pytest
import torch

from probe.autoencoders import Autoencoder
from probe.bench.certificates import compare
from probe.cli.main import main
from probe.dynamics import LatentMap


def test_contenders_certify_the_same_points():
    """A symmetric map of radius 0.8: the first point is fixed, the second one is not."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0]
    matrix = basis @ torch.diag(torch.linspace(0.1, 0.8, 40)) @ basis.T
    points = torch.stack([torch.zeros(40), torch.ones(40)])
    f = LatentMap(Autoencoder("linear", "Linear", lambda x: x @ matrix, lambda z: z, ()))
    found = {row.tool: row for row in compare(f, points, tolerance=1e-6, budget=100, repeats=1)}
    assert set(found) == {"scipy eigs, svds", "probe", "probe certify"}
    assert {row.certified for row in found.values()} == {1}
    assert found["probe"].ratio == 1
    assert all(row.products > 1 and row.evaluations > 0 and row.seconds > 0 for row in found.values())


def test_plain_steps_are_counted():
    """f(z) = 0.8 z: a residual shrinks to a hundredth in ln 0.01 / ln 0.8 = 20.6 steps."""
    points = torch.full((3, 40), 1e-5)
    f = LatentMap(Autoencoder("linear", "Linear", lambda x: 0.8 * x, lambda z: z, ()))
    found = {row.tool: row for row in compare(f, points, tolerance=1e-6, budget=100, repeats=1)}
    # Residual before and after, and the two of a finite difference, at most four times.
    assert found["scipy eigs, svds"].steps == 1
    assert found["probe"].steps in (3, 5, 7, 9)
    between = found["probe certify"].steps - found["probe"].steps
    assert 21 + 1 <= between <= 21 + 2


def test_the_command_prints_a_row_a_tool(capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "certificates", "--points", "1", "--repeats", "1", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"] == 1
    assert [row["tool"] for row in found["rows"]] == ["scipy eigs, svds", "probe", "probe certify"]
    assert [row["certified"] for row in found["rows"]] == [1, 1, 1]
