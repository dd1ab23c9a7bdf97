"""The bench on a map whose attractors and step counts are known: what it counts, not how fast it is."""

import json

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.bench.dynamics import compare
from probe.cli.main import main
from probe.config import load_config
from probe.dynamics.flow import IDLE

WELLS = """
import torch

class Wells:
    def decode(self, z):  # each coordinate runs to +-0.9575 by its sign
        return torch.nn.functional.pad(torch.tanh(2 * z)[..., None, None], [0, 3, 0, 3])

    def encode(self, x):
        return x[:, :, 0, 0]

def load():
    return Wells()
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "known.py").write_text(WELLS)
    file = tmp_path / "known.yaml"
    file.write_text(
        f"model: {{source: 'python:{tmp_path}/known.py:load', device: cpu}}\nresolution: 4\n"
        "seeds: {count: 40, shard_size: 8}\nsolver: {max_steps: 50, tolerance: 1.0e-8, batch_size: 10}\n"
    )
    return file


def test_every_contender_finds_the_known_attractors(config):
    pytest.importorskip("torchdeq")
    settings = load_config(config)
    found = {row.tool: row for row in compare(LatentMap(load_autoencoder(settings.model)), settings, (3,), repeats=2)}
    assert list(found) == ["plain loop", "torchdeq fixed_point_iter", "torchdeq anderson", "probe"]
    for tool in ("plain loop", "torchdeq fixed_point_iter", "probe"):
        assert (found[tool].fixed, found[tool].certified) == (40, 40), tool
    assert found["plain loop"].ratio == 1
    # So few steps are not worth an extrapolation, which takes four plain ones to be believed.
    assert found["probe"].evaluations < found["plain loop"].evaluations + 4
    for row in found.values():
        assert row.per_second == pytest.approx(row.certified / row.seconds)
        assert row.flops_share is None


def test_evaluations_of_the_plain_loop_are_those_of_the_slowest_row_of_each_batch(config):
    settings = load_config(config, ["solver.accelerate=false", "solver.batch_size=20"])
    model = load_autoencoder(settings.model)
    rows = {row.tool: row for row in compare(LatentMap(model), settings, (3,), repeats=1)}
    from probe.dynamics import gaussian_starts, iterate

    ends = iterate(LatentMap(model), gaussian_starts(0, range(40), (3,)), max_steps=50, tolerance=1e-8)
    needed = float(ends.evaluations.float().mean())
    assert needed <= rows["probe"].evaluations <= needed / (1 - IDLE)  # ended rows may idle in a draining batch
    slowest = torch.stack([part.max() for part in ends.evaluations.split(20)]).float().mean()
    assert rows["plain loop"].evaluations == pytest.approx(float(slowest))


def test_the_command_prints_a_row_a_tool(config, capsys):
    with pytest.raises(SystemExit) as left:
        main(["bench", "dynamics", str(config), "--repeats", "1", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert {"plain loop", "probe"} <= {row["tool"] for row in found["rows"]}
    assert found["starts"] == 40
