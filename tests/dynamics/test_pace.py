"""Parts of a batch: which are taken, and that the values are those of the whole."""

import pytest
import torch

from probe.dynamics.pace import Paced, fastest


@pytest.mark.parametrize(
    ("cost", "rows"),
    [
        ({4: 1.0, 8: 1.9, 16: 1.9, 32: 1.9}, 4),  # an H100 in full float32
        ({4: 1.0, 8: 0.8, 16: 0.75, 32: 0.74}, 32),  # in TF32
        ({4: 1.0, 8: 0.6, 16: 0.65, 32: 0.9}, 16),  # 8 is the best, and 16 nearly as good
        ({4: 1.0, 8: 1.2, 16: 1.2, 32: 1.2}, 32),  # not clearly
    ],
)
def test_parts_are_taken_only_where_they_are_clearly_faster(cost, rows):
    assert fastest(lambda n: n * cost[n], 32) == rows


def test_a_batch_of_any_size_is_measured_up_to_the_whole():
    asked = []
    assert fastest(lambda n: asked.append(n) or 1.0, 20) == 20
    assert asked == [4, 8, 16, 20]


def test_values_are_those_of_the_whole_batch(monkeypatch):
    sizes = []

    def f(z):
        sizes.append(len(z))
        return torch.tanh(z).flip(1)

    paced = Paced(f, kinds=("cpu",))
    monkeypatch.setattr(paced, "_seconds", lambda z: float(len(z) ** 2))
    z = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(paced(z), torch.tanh(z).flip(1))
    assert sizes == [4, 4, 2]
    assert torch.equal(paced(z[:3]), torch.tanh(z[:3]).flip(1))
    sizes.clear()
    assert torch.equal(Paced(f)(z), torch.tanh(z).flip(1))
    assert sizes == [10]  # on a CPU the map is left alone
