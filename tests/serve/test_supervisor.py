"""Real runs under a real supervisor."""

import pytest

from probe.serve.states import State

from .conftest import Asked, wait

pytestmark = pytest.mark.busy(30)


def test_a_submitted_run_is_done(supervisor, tiny):
    row = supervisor.submit(Asked(tiny, id="first"))
    assert row.created
    assert row.state is State.QUEUED
    done = wait(supervisor, "first")
    assert done.state is State.DONE, done.reason
    assert sum(done.outcomes.values()) == tiny["seeds"]["count"]
    again = supervisor.submit(Asked(tiny, id="first"))
    assert not again.created
    assert again.state is State.DONE
