"""Lines of progress: what they count, and that there are some while a single call takes long."""

import threading
import time

import torch

from probe import load_autoencoder
from probe.cli.watch import Watch, watching
from probe.dynamics import LatentMap


def test_every_row_of_an_evaluation_counts_once():
    watch = Watch("field", most=100)
    f = LatentMap(watch.model(load_autoencoder("embedded:cifar-attractors")))
    z = torch.zeros(3, 4, 8, 8)
    before = watch.done
    with torch.no_grad():
        f(z)
    assert watch.done - before == 3
    torch.func.jvp(f, (z,), (z,))
    assert watch.done - before == 6
    line = watch.line()
    assert line.startswith("field: running, ")
    assert f"at most about {100 - watch.done} left" in line


def test_a_single_long_call_is_not_silent(capsys, monkeypatch):
    monkeypatch.setattr("probe.cli.watch.FIRST", 0.01)
    monkeypatch.setattr("probe.cli.watch.EVERY", 0.01)
    with watching("field") as watch:
        watch.say("architecture 1 of 2, A")
        said, until = "", time.monotonic() + 600
        while not said and time.monotonic() < until:
            time.sleep(0.05)
            said = capsys.readouterr().err
    assert said.startswith("field: architecture 1 of 2, A, ")
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_a_quick_command_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("probe.cli.watch.FIRST", 60.0)
    with watching("field"):
        pass
    assert capsys.readouterr().err == ""
