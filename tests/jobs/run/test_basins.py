"""Basins of a run on a map with known ones: tanh(2 mean), whose two basins meet where the mean is 0."""

import json
import math

import numpy as np
import pytest
import torch

from jobs.run.directory import RunDirectory
from jobs.status import read_status
from probe.config import DictionaryConfig, SolverConfig, parse_config
from probe.metrics.interval import wilson
from probe.results.layout import BASIN_PART, BASINS
from probe.studies.probing.basins import Basins

from ..conftest import do

ROOT, D = 0.9575040240772687, 12
SETTINGS = {
    "model": {"source": "python:tests/jobs/finished/tiny.py:load", "device": "cpu"},
    "resolution": 8,
    "seeds": {"count": 128, "seed": 1, "shard_size": 64},
    "solver": {"exponents": 0, "plain_checks": 0, "certificates": 2},
    "basins": {
        "probes": 100,
        "partners": 6,
        "separations": [0.3, 0.1, 1],
        "attractors": 9,
        "directions": 40,
        "kicks": [2, 8],
        "bisections": 7,
    },
}


@pytest.fixture
def make(tmp_path):
    def make(name="run", **basins):
        few = {"probes": 12, "partners": 1, "separations": [0.3, 1], "directions": 3, "kicks": [4], "bisections": 1}
        settings = {**SETTINGS, "basins": {**few, **basins}}
        return RunDirectory.create(tmp_path / name, parse_config(settings))

    return make


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A finished run, and its report."""
    run = RunDirectory.create(tmp_path_factory.mktemp("measured") / "run", parse_config(SETTINGS))
    return run, do(run)


def test_a_map_with_two_basins_has_the_numbers_that_geometry_says(measured):
    run, report = measured
    found = report["basins"]
    assert (found["missing"], found["attractors"], found["shared"], found["starts"]) == (None, 2, 2, 128)
    assert sum(one["starts"] for one in found["largest"]) == 128
    assert found["largest"][0]["share"]["ci95"][0] < 0.5 < found["largest"][0]["share"]["ci95"][1] + 1e-9
    assert found["unseen"]["mean"] == 0
    assert 1.9 < found["effective"] <= 2
    assert found["apart"] == pytest.approx(0.5, abs=0.02)
    # Along the mean, a start is N(0, 1) and a partner at separation s differs by s sqrt(d) cos, about N(0, s^2): they
    # have other signs with probability arctan(s) / pi. A probe counts as one pair at least.
    for one in found["nearby"]:
        expected = math.atan(one["separation"]) / math.pi
        assert one["known"] == 100
        assert abs(one["different"]["mean"] - expected) < 3 * math.sqrt(expected * (1 - expected) / 100)
        assert 0 <= one["entropy"] <= math.log(2)
        assert one["entropy"] == pytest.approx(one["boundary_entropy"] * one["boundary"] / 100)
    assert abs(found["alpha"] - 1) < 3 * found["alpha_error"]
    assert found["dimension"] == pytest.approx(D - found["alpha"])
    tensors, _ = run.load(BASINS.name)
    assert tensors["around"].shape == (100, 3, 6)
    # The attractors are +-0.9575 in every coordinate, at 0.9575 from the boundary: where a random direction has cosine
    # c < 0 with that way, the kick is 0.9575 / |c|; |c| is at least 0.119 where a kick of 8 leaves.
    for one in found["kicked"]:
        assert one["nearest"] == pytest.approx(2 * ROOT, rel=1e-3)
        assert one["towards"] == pytest.approx(0.5, abs=0.01)
        assert one["smallest"] >= ROOT
        assert one["certificate"] == "attractor"
    # cos^2 is Beta(1/2, (d - 1)/2); half of the directions point away.
    chance = _beyond(ROOT / 8) / 2
    left = sum(one["left"] for one in found["kicked"])
    assert abs(left / 80 - chance) < 3 * math.sqrt(chance * (1 - chance) / 80)
    smallest = tensors["smallest"].flatten()
    within = float((smallest[smallest.isfinite()] < 2).double().mean()) * left / 80
    assert abs(within - _beyond(ROOT / 2) / 2) < 3 * math.sqrt(0.25 / 80)


def _beyond(cosine):
    """The chance that a random direction has at least this |cosine| with a given one."""
    z = np.random.default_rng(0).standard_normal((100_000, D))
    return float((np.abs(z[:, 0]) / np.linalg.norm(z, axis=1) > cosine).mean())


def test_a_stopped_measurement_resumes_to_the_same_numbers(make, monkeypatch):
    whole, cut = make("whole"), make("cut")
    do(whole)
    monkeypatch.setattr("jobs.run.basins._assemble", lambda *_: pytest.fail("here"))
    with pytest.raises(pytest.fail.Exception):
        do(cut)
    monkeypatch.undo()
    parts = sorted(cut.path.glob(BASIN_PART.glob))
    assert len(parts) == 3  # 12 probes and 2 attractors
    stages = {stage.name: stage for stage in read_status(cut.path).stages}
    assert (stages["dictionary"].done, stages["dictionary"].planned, stages["dictionary"].state) == (4, None, "stopped")
    parts[0].unlink()
    made = []
    monkeypatch.setattr(RunDirectory, "save", _noting(RunDirectory.save, made))
    do(cut)
    assert sum("work/basins" in name for name in made) == 1
    assert not (cut.path / "work").exists()
    assert read_status(cut.path).state == "complete"
    one, two = (run.load(BASINS.name)[0] for run in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)


def _noting(save, made):
    def noted(self, name, *arguments, **more):
        made.append(name)
        return save(self, name, *arguments, **more)

    return noted


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"probes": 0, "attractors": 0}, "basins.probes and basins.attractors are 0"), ({"probes": 0}, None)],
)
def test_what_is_not_asked_for_is_left_out(settings, told, make):
    report = do(make(**settings))
    found = report["basins"]
    assert found["missing"] == told
    assert found["nearby"] == []
    assert len(found["kicked"]) == (0 if told else 2)


def test_one_attractor_has_no_boundary(make, tmp_path):
    (tmp_path / "one.py").write_text(
        "import torch\n"
        "class One:\n"
        "    image_range = (-1.0, 1.0)\n"
        "    def decode(self, z):\n"
        "        return (0.3 * z + 0.5).repeat(1, 1, 4, 4)\n"
        "    def encode(self, x):\n"
        "        return x[..., :2, :2]\n"
        "def load():\n"
        "    return One()\n"
    )
    settings = {**SETTINGS, "model": {"source": f"python:{tmp_path / 'one.py'}:load", "device": "cpu"}}
    run = RunDirectory.create(tmp_path / "one", parse_config(settings))
    report = do(run)
    assert "one attractor" in report["basins"]["missing"]
    page = (run.path / "report" / "report.md").read_text()
    assert "Not measured: the starts reached one attractor" in page
    assert json.loads((run.path / "report" / "report.json").read_text())["basins"]["nearby"] == []


def test_the_page_shows_the_plot_and_the_tables(measured):
    run, _ = measured
    html, markdown = ((run.path / "report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    for page in (html, markdown):
        assert "uncertainty exponent" in page
        assert "back from 8" in page
    assert "![basins](figures/basins.png)" in markdown
    assert "Share of nearby starts that end in different basins" in html


def test_an_interval_of_nothing_is_unknown():
    low, high = wilson([np.nan, 0.5], [0, 4])
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < 0.5 < high[1]


@pytest.mark.parametrize("block", [1, 2, 4096])
def test_an_attractor_at_the_origin_is_told_by_distance(block, monkeypatch):
    monkeypatch.setattr("probe.studies.probing.basins.BLOCK", block)

    # In each coordinate, 0 attracts what lies within 0.3, and +-0.9575 the rest.
    def f(z):
        return torch.where(z.abs() < 0.3, 0.5 * z, torch.tanh(2 * z))

    ends = torch.tensor([[ROOT, ROOT], [1e-9, -1e-9], [-ROOT, ROOT]])
    columns = {"ends": ends, "atoms": torch.nn.functional.normalize(ends)}
    columns["atoms"][1] = 0
    columns |= {"distance": torch.full((3,), 1e-8), "from_one": torch.full((3,), 0.5)}
    basins = Basins(f, columns, SolverConfig(), DictionaryConfig(), torch.empty(0))
    points = torch.tensor([[0.2, 0.1], [-0.1, -0.2], [0.5, 2.0], [-0.4, 0.9], [-1.0, -1.0], [-3.0, -0.5], [0.1, 0.6]])
    assert basins(points).tolist() == [1, 1, 0, 2, 4, 4, 5]
    apart, _ = basins.towards(torch.tensor([0, 2]), torch.arange(3), 1)
    assert apart.tolist() == pytest.approx([ROOT, ROOT])  # the origin is nearest to both, at sqrt(2) ROOT
    apart, _ = basins.towards(torch.tensor([0, 2]), torch.tensor([0, 2]), 1)
    assert apart.tolist() == pytest.approx([2**0.5 * ROOT] * 2)  # each other, at 2 ROOT


def test_a_point_that_does_not_converge_has_no_label():
    ends = torch.eye(3)[:2]
    columns = {"ends": ends, "atoms": ends, "distance": torch.zeros(2), "from_one": torch.ones(2)}
    basins = Basins(lambda z: z + 1, columns, SolverConfig(max_steps=5), DictionaryConfig(), torch.empty(0))
    assert basins(torch.zeros(4, 3)).tolist() == [-1] * 4
