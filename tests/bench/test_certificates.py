"""The bench of certificates: what it measures, not how fast it is."""

import json

import pytest
import torch

from probe.bench.certificates import compare
from probe.cli.main import main


def test_contenders_certify_the_same_points():
    """A symmetric map of radius 0.8: the first point is fixed, the second one is not."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0]
    matrix = basis @ torch.diag(torch.linspace(0.1, 0.8, 40)) @ basis.T
    points = torch.stack([torch.zeros(40), torch.ones(40)])
    found = {row.tool: row for row in compare(lambda z: z @ matrix, points, tolerance=1e-6, budget=100, repeats=1)}
    assert set(found) == {"scipy eigs, svds", "probe"}
    assert {row.certified for row in found.values()} == {1}
    assert found["probe"].ratio == 1
    assert all(row.products > 1 and row.evaluations > 0 and row.seconds > 0 for row in found.values())


def test_the_command_prints_a_row_a_tool(capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "certificates", "--points", "1", "--repeats", "1", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"] == 1
    assert [row["tool"] for row in found["rows"]] == ["scipy eigs, svds", "probe"]
    assert [row["certified"] for row in found["rows"]] == [1, 1]
