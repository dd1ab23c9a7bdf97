"""A stop in the attractor stage loses no start that has ended."""

import json

import pytest
import torch
from typer.testing import CliRunner

from jobs.run.attractors import load_end_points, shards
from jobs.run.directory import RunDirectory
from jobs.run.work import RunWork
from jobs.status import read_status
from jobs.stopping import Stopped
from probe.cli.main import app
from probe.config import parse_config
from probe.dynamics import iterate
from probe.results.files import read_tensors
from probe.results.layout import SHARD, SHARD_PART

from ..conftest import do


def two_speeds(z: torch.Tensor) -> torch.Tensor:
    """Towards 0 by halves where the first coordinate is positive, else by 1 % a step."""
    rate = torch.where(z.flatten(1)[:, 0] > 0, 0.5, 0.99)
    return rate[:, None, None, None] * z


class Interrupted:
    """The map, which counts the rows that it is asked for and is interrupted at one of its evaluations."""

    def __init__(self, at: int | None = None, by: type[BaseException] = Stopped):
        self.at, self.by = at, by
        self.evaluations = self.rows = 0

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        self.evaluations += 1
        self.rows += len(z)
        if self.evaluations == self.at:
            raise self.by("now")
        return two_speeds(z)


@pytest.fixture
def run(tmp_path):
    settings = {
        "model": {"device": "cpu"},
        "resolution": 16,
        "seeds": {"count": 24, "seed": 5, "shard_size": 12},
        "solver": {"max_steps": 300, "batch_size": 24, "accelerate": False},
    }
    return RunDirectory.create(tmp_path / "run", parse_config(settings))


def attractors(run, f, monkeypatch):
    monkeypatch.setattr(RunWork, "f", f)
    do(run, "attractors")


def interrupted(run, f, monkeypatch):
    with pytest.raises(f.by):
        attractors(run, f, monkeypatch)


@pytest.mark.parametrize("by", [Stopped, KeyboardInterrupt, RuntimeError])
def test_starts_that_ended_before_a_stop_are_not_iterated_again(run, monkeypatch, by):
    interrupted(run, Interrupted(at=40, by=by), monkeypatch)
    assert not list(run.path.glob("attractors/*"))
    z0 = read_starts(run)
    fast = (z0.flatten(1)[:, 0] > 0).nonzero().flatten().tolist()
    kept = [read_tensors(run.path / SHARD_PART.at(shard))[0]["index"] for shard in shards(run.config.seeds)]
    assert torch.cat(kept).tolist() == fast
    status = read_status(run.path)
    assert (status.state, status.stages[1].done, status.stages[1].planned) == ("stopped", len(fast), 24)
    shown = CliRunner().invoke(app, ["status", str(run.path)]).output
    assert f"{len(fast)} of 24 starts" in shown

    interrupted(run, Interrupted(at=100), monkeypatch)  # nothing more has ended by then, and nothing is lost
    rest = Interrupted()
    attractors(run, rest, monkeypatch)
    assert rest.rows <= 301 * (24 - len(fast))
    plain = iterate(two_speeds, z0, max_steps=300)
    ends = load_end_points(run)
    for name, value in vars(plain).items():
        assert torch.equal(getattr(ends, name), value), name
    assert not list((run.path / "work" / "attractors").iterdir())


def test_a_shard_whose_starts_have_all_ended_is_only_written(run, monkeypatch):
    attractors(run, Interrupted(), monkeypatch)
    whole = run.path / SHARD.at(shards(run.config.seeds)[0])
    tensors, _ = read_tensors(whole)
    run.save(SHARD_PART.at(shards(run.config.seeds)[0]), tensors, rank=0)
    whole.unlink()
    again = Interrupted()
    attractors(run, again, monkeypatch)
    assert again.rows == 0
    assert all(torch.equal(value, tensors[name]) for name, value in read_tensors(whole)[0].items())


def test_a_damaged_part_is_iterated_again(run, monkeypatch):
    interrupted(run, Interrupted(at=40), monkeypatch)
    part = run.path / SHARD_PART.at(shards(run.config.seeds)[0])
    data = bytearray(part.read_bytes())
    data[-3] ^= 1
    part.write_bytes(data)
    attractors(run, Interrupted(), monkeypatch)
    assert torch.equal(load_end_points(run).end, iterate(two_speeds, read_starts(run), max_steps=300).end)


def test_the_last_progress_counts_whole_starts(run, monkeypatch):
    interrupted(run, Interrupted(at=40), monkeypatch)
    assert isinstance(json.loads((run.path / "progress.json").read_text())["done"], int)


def read_starts(run):
    from probe.dynamics import gaussian_starts

    return gaussian_starts(run.config.seeds.seed, range(24), run.manifest["model"]["latent_shape"])
