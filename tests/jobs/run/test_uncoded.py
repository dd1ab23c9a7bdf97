"""Runs that have data sets, but no atoms to write images with: all starts end at the origin, or in one point."""

import json

import pytest
from typer.testing import CliRunner

from jobs.run.directory import RunDirectory
from jobs.status import read_status
from probe.cli.main import app
from probe.config import parse_config
from probe.errors import UserError

from ..conftest import do

MAPS = """
import torch

class Own:
    image_range = (-1.0, 1.0)

    def __init__(self, f):
        self.f = f

    def decode(self, z):
        return torch.nn.functional.interpolate(self.f(z), scale_factor=4)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 4)

def point(z):
    return torch.linspace(-1, 1, z[0].numel()).view_as(z[0])

def zero():
    return Own(lambda z: 0 * z)

def contraction():
    return Own(lambda z: 0.3 * z)

def constant():
    return Own(lambda z: 0 * z + point(z))

def some():
    def f(z):
        mean = z.mean((1, 2, 3), keepdim=True)
        return torch.where(mean.abs() < 0.1, 0 * z, torch.where(mean > 0, 2 + point(z), point(z) - 1))
    return Own(f)

def expansion():
    return Own(lambda z: 3 * z)
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "maps.py").write_text(MAPS)

    def begin(name: str, centre: str = "none", datasets: dict | None = None) -> RunDirectory:
        settings = {
            "model": {"source": f"python:{tmp_path}/maps.py:{name}", "device": "cpu"},
            "resolution": 16,
            "seeds": {"count": 12, "shard_size": 8},
            "solver": {"max_steps": 60, "plain_checks": 2},
            "basins": {"probes": 0, "attractors": 0},
            "sparse": {"levels": [2], "centre": centre, "random_bases": 1},
            "datasets": {"digits": {"n": 6, "holdout": 2}} if datasets is None else datasets,
        }
        return RunDirectory.create(tmp_path / f"{name}-{centre}-{len(settings['datasets'])}", parse_config(settings))

    return begin


@pytest.mark.parametrize(
    ("name", "centre", "because"),
    [
        ("zero", "none", "every end point is at the origin"),
        ("zero", "end_points", "every end point is at the origin"),
        ("contraction", "none", "every end point is at the origin"),
        ("constant", "end_points", "the dictionary has one end point"),
        ("constant", "heldout", "the dictionary has one end point"),
    ],
)
def test_without_atoms_a_run_finishes_without_images_and_says_why(run, name, centre, because):
    made = run(name, centre)
    report = do(made)
    assert because in report["uncoded"]
    assert report["summary"].count(report["uncoded"]) == 1
    assert (report["datasets"], report["headline"]) == ({}, {})
    assert report["solver"]["certificates"]["certified"] == 1
    for page in ("report.md", "report.html"):
        assert because in (made.path / "report" / page).read_text()
    status = read_status(made.path)
    assert status.state == "complete"
    assert [(stage.name, stage.done) for stage in status.stages if stage.skipped] == [("reconstruct", 0)]
    shown = CliRunner().invoke(app, ["status", str(made.path)], env={"COLUMNS": "200"})
    assert report["uncoded"] in " ".join(shown.stdout.split())
    assert do(made) == report  # nothing is left to do


def test_it_finishes_as_a_run_without_data_sets_does(run):
    skipped, none = do(run("zero")), do(run("zero", datasets={}))
    assert none["uncoded"] is None
    for report in (skipped, none):
        for key in ("provenance", "summary", "uncoded", "model"):
            del report[key]
    assert json.dumps(skipped, sort_keys=True) == json.dumps(none, sort_keys=True)


def test_with_one_atom_that_has_a_direction_images_are_written(run):
    for made, atoms in ((run("constant"), 1), (run("some"), 2), (run("some", "end_points"), 3)):
        report = do(made)
        assert report["uncoded"] is None
        assert report["datasets"]["digits"]["method_atoms"]["attractors"] == atoms


def test_where_all_starts_diverge_the_error_says_so(run):
    with pytest.raises(UserError, match="all 12 starts diverged"):
        do(run("expansion"))
