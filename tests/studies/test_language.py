"""Iterated streams where it is known what becomes of them."""

import json

import numpy as np
import pytest
import torch

from probe.config import DictionaryConfig, SolverConfig
from probe.report.figures.language import language_figure, language_table
from probe.studies.language import iterated, norms_along, record

SOLVER = SolverConfig(max_steps=60, tolerance=1e-8, accelerate=False, far_precision="float32", certificates=3)


def found(f, starts: dict[str, torch.Tensor], solver: SolverConfig = SOLVER) -> dict:
    kinds = {name: iterated(f, z, solver) for name, z in starts.items()}
    content = record(f, kinds, solver=solver, dictionary=DictionaryConfig(), device=torch.device("cpu"))
    json.dumps(content, allow_nan=False)
    return content


def noise(n: int) -> torch.Tensor:
    return torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(0))


def test_norms_of_a_linear_contraction():
    """h_t = c + a^t (h_0 - c): the residual is (1 - a) a^t ||h_0 - c||."""
    h, a = noise(4).double(), 0.8
    residual, norm = norms_along(lambda h: 1 + a * (h - 1), h, 20)
    t = a ** torch.arange(21).double()
    away = (h - 1).flatten(1)
    assert torch.allclose(residual, (1 - a) * away.norm(dim=1)[:, None] * t)
    wanted = (1 + away[:, None] * t[None, :, None]).norm(dim=2)
    assert torch.allclose(norm, wanted)


def test_labels_are_those_of_the_one_loop():
    """To 1, there and back, and away."""
    cases = {
        "converged": (lambda h: 1 + 0.5 * (h - 1), "holds"),
        "cycle": (lambda h: -h, "does not hold"),
        "max_steps": (lambda h: h + 1, "does not hold"),
        "diverged": (lambda h: 9 * h, "does not hold"),
    }
    for outcome, (f, settles) in cases.items():
        content = found(f, {"prompt": noise(1), "noise": noise(16)})
        assert content["kinds"]["noise"]["outcomes"][outcome] == 16
        assert content["kinds"]["noise"]["settles"] == settles
        assert content["kinds"]["prompt"]["settles"] == "undecided"  # one start decides nothing
        assert content["distinct"] == (outcome == "converged")


def test_fixed_points_say_who_reaches_them_and_carry_certificates():
    content = found(
        lambda h: torch.tanh(2 * h), {"prompt": torch.full((1, 1, 1), 0.3), "noise": noise(6).view(-1, 1, 1)}
    )
    assert content["distinct"] == 2
    assert sum(one["starts"]["noise"] for one in content["fixed_points"]) == 36
    assert sum(one["starts"]["prompt"] for one in content["fixed_points"]) == 1
    for one in content["fixed_points"]:
        assert one["norm"] == pytest.approx(0.9575, abs=1e-3)
        assert one["certificate"] == "attractor"
        assert one["spectral_radius"] == pytest.approx(2 * (1 - 0.9575**2), abs=1e-3)


def test_table_and_figure():
    content = found(lambda h: 1 + 0.5 * (h - 1), {"prompt": noise(1), "noise": noise(16)})
    about = {"model": {"class": "L", "source": "here", "width": 3}, "tokens": 2, "solver": SOLVER.model_dump()}
    text = language_table({**content, **about})
    assert "| 60 |" in text
    assert "16 converged of 16 starts; most starts converge: holds" in text
    assert "1 distinct fixed point, 1 of 1 examined certified" in text
    left, right = language_figure({**content, **about}).axes
    assert len(right.lines) == 17
    drawn = np.asarray(left.lines[-2].get_ydata())  # the prompt's, before the line of the tolerance
    assert drawn[:5].tolist() == pytest.approx(content["kinds"]["prompt"]["residual"][0][:5])


def test_what_is_not_finite_is_left_out():
    content = found(lambda h: torch.where(h > 2, torch.nan, 4 * h), {"noise": noise(5)})
    about = {"model": {"class": "L", "source": "here", "width": 3}, "tokens": 2, "solver": SOLVER.model_dump()}
    assert None in content["kinds"]["noise"]["residual"][0]
    language_figure({**content, **about})
    assert "5 diverged of 5 starts" in language_table({**content, **about})
