"""The bench of sparse codes: what it measures, not how fast it is."""

import json

import pytest
import torch

from probe.bench.sparse import compare, smooth_fields
from probe.cli.main import main


def test_contenders_solve_the_same_problem():
    found = {(row.tool, row.dtype): row for row in compare(torch.randn(60, 64), atoms=6, signals=5, repeats=1)}
    for dtype in ("float32", "float64"):
        assert found["scikit-learn orthogonal_mp_gram", dtype].ratio == 1
        for tool in ("scikit-learn orthogonal_mp_gram", "scikit-learn orthogonal_mp", "probe"):
            assert found[tool, dtype].error_ratio == pytest.approx(1, abs=1e-3), tool
            assert found[tool, dtype].ms_per_signal > 0
        if ("spams omp", dtype) in found:  # the same selection
            assert found["spams omp", dtype].error_ratio == pytest.approx(
                found["probe ols", dtype].error_ratio, abs=1e-3
            )


def test_smooth_fields_are_unit_rows_and_alike():
    fields = smooth_fields(50, 256, decay=6.0, seed=0)
    assert torch.allclose(torch.linalg.vector_norm(fields, dim=1), torch.ones(50, dtype=torch.float64))
    assert (fields @ fields.T).fill_diagonal_(0).abs().max() > 0.9
    with pytest.raises(ValueError, match="4 times a square"):
        smooth_fields(5, 100 + 1, decay=1.0, seed=0)


def test_the_command_prints_a_row_a_tool_and_dtype(capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "sparse", "--d", "64", "--n-atoms", "40", "--signals", "3", "--repeats", "1", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["atoms"] == 3
    assert {"probe", "probe ols"} <= {row["tool"] for row in found["rows"]}


@pytest.mark.slow
def test_without_gram_matrix_each_contender_has_its_own_process(capsys):
    options = ["--d", "64", "--n-atoms", "600", "--signals", "8", "--repeats", "1", "--without-gram", "--json"]
    with pytest.raises(SystemExit) as left:
        main(["bench", "sparse", *options])
    assert left.value.code == 0
    found = {(row["tool"], row["dtype"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert found["probe", "float64"]["dictionary"] == 2 * found["probe", "float32"]["dictionary"] == 600 * 64 * 8
    for (tool, _), row in found.items():
        assert row["error_ratio"] == pytest.approx(1, abs=1e-4), tool
        assert 0 <= row["peak"] < 2**30


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["somewhere", "--without-gram"], "leave out RUN_DIR"),
        (["--d", "101"], "4 channels"),
        (["--d", "64", "--n-atoms", "40", "--atoms", "40"], "nothing to choose"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(options, said, capsys):
    assert main(["bench", "sparse", *options]) == 2
    assert said in capsys.readouterr().err


def test_few_atoms_get_short_codes(capsys):
    with pytest.raises(SystemExit):
        main(
            [
                "bench",
                "sparse",
                "--d",
                "64",
                "--n-atoms",
                "3",
                "--signals",
                "2",
                "--repeats",
                "1",
                "--threads",
                "2",
                "--json",
            ]
        )
    assert json.loads(capsys.readouterr().out)["atoms"] == 2
