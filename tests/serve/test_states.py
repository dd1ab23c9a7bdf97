"""States as a table: what was asked, what is so, what is said."""

from dataclasses import replace

import pytest

from probe.serve.executors import Life
from probe.serve.facts import Facts
from probe.serve.states import MOST_LOST, State, derive
from probe.serve.ticket import Attempt, Ticket

NEW = Ticket("a", "a", "run", "local", {}, None, "digest", "2026-11-28T00:00:00+00:00", 1)
TRIED = replace(NEW, attempts=(Attempt(1, "2026-11-28T00:00:01+00:00", 0, done=2),))
CANCELLED = replace(TRIED, wanted="cancel")
RESUMED = replace(TRIED, settled=1)
OFTEN = replace(TRIED, lost=MOST_LOST)
ALIVE, WAITING, NEVER, GONE = Life(True), Life(True, waiting=True), Life(False, began=False), Life(False)


def ended(status: int) -> Life:
    return Life(False, ended="2026-11-28T00:01:00+00:00", exit=status)


OWNED = "process 7 on login2"
CASES = [
    # what was asked, what is so, the state, a part of the reason
    ("new", NEW, Facts(), State.QUEUED, ""),
    ("new, and done by hand", NEW, Facts(complete=True), State.DONE, ""),
    ("new, and worked on by hand", NEW, Facts(owner=OWNED), State.RUNNING, OWNED),
    ("cancelled before it began", replace(NEW, wanted="cancel"), Facts(), State.CANCELLED, ""),
    ("cancelled over its quota", replace(NEW, wanted="cancel", reason="too big"), Facts(), State.CANCELLED, "too big"),
    ("at work", TRIED, Facts(life=ALIVE), State.RUNNING, ""),
    ("at work, after an error of before", TRIED, Facts(life=ALIVE, error="old"), State.RUNNING, ""),
    ("finished, the shim not gone yet", TRIED, Facts(complete=True, life=ALIVE), State.RUNNING, ""),
    ("in Slurm's queue", TRIED, Facts(life=WAITING), State.QUEUED, ""),
    ("in Slurm's queue, cancelled", CANCELLED, Facts(life=WAITING), State.STOPPING, ""),
    ("cancelled, at work", CANCELLED, Facts(life=ALIVE), State.STOPPING, ""),
    ("cancelled, at work by hand", CANCELLED, Facts(life=GONE, owner=OWNED), State.STOPPING, "end it there"),
    ("cancelled, stopped", CANCELLED, Facts(life=ended(75)), State.CANCELLED, ""),
    ("cancelled, killed", CANCELLED, Facts(life=GONE), State.CANCELLED, ""),
    ("cancelled too late", CANCELLED, Facts(life=ended(0), complete=True), State.DONE, ""),
    ("done", TRIED, Facts(life=ended(0), complete=True), State.DONE, ""),
    ("done, its end not noted", TRIED, Facts(life=GONE, complete=True), State.DONE, ""),
    ("a mistake", TRIED, Facts(life=ended(2), error="the key is wrong"), State.FAILED, "the key is wrong"),
    ("a failure", TRIED, Facts(life=ended(1), error="the disk is full"), State.FAILED, "the disk is full"),
    ("a failure told in the log", TRIED, Facts(life=ended(1), said="no such module"), State.FAILED, "no such module"),
    ("a failure without a word", TRIED, Facts(life=ended(3)), State.FAILED, "status 3"),
    ("a good end without results", TRIED, Facts(life=ended(0)), State.FAILED, "not complete"),
    ("a failure, its end not noted", TRIED, Facts(life=GONE, error="no memory"), State.FAILED, "no memory"),
    ("a damaged folder", TRIED, Facts(life=ended(2), unreadable="config.yaml is gone"), State.FAILED, "is gone"),
    ("stopped by somebody", TRIED, Facts(life=ended(75)), State.QUEUED, "did not send"),
    ("interrupted by somebody", TRIED, Facts(life=ended(130)), State.QUEUED, "did not send"),
    ("killed", TRIED, Facts(life=ended(-9)), State.QUEUED, "signal 9"),
    ("killed with its shim, or a reboot", TRIED, Facts(life=GONE), State.QUEUED, "nobody was left"),
    ("a node died", TRIED, Facts(life=Life(False, reason="its node failed")), State.QUEUED, "its node failed"),
    ("never begun", TRIED, Facts(life=NEVER), State.QUEUED, ""),
    ("never begun, with an old error", TRIED, Facts(life=NEVER, error="old"), State.QUEUED, ""),
    ("lost too often", OFTEN, Facts(done=2, life=GONE), State.LOST, f"{MOST_LOST + 1} times"),
    ("lost often, but it got ahead", OFTEN, Facts(done=3, life=GONE), State.QUEUED, "resumes"),
    ("stopped too often", OFTEN, Facts(done=2, life=ended(75)), State.LOST, "resume it"),
    ("resumed after a failure", RESUMED, Facts(life=ended(1), error="old"), State.QUEUED, ""),
    ("resumed after a loss", RESUMED, Facts(life=GONE), State.QUEUED, ""),
    ("resumed while it lived on", RESUMED, Facts(life=ALIVE), State.RUNNING, ""),
    ("foreign, complete", None, Facts(complete=True), State.DONE, ""),
    ("foreign, at work", None, Facts(owner=OWNED), State.RUNNING, OWNED),
    ("foreign, its report made again", None, Facts(owner=OWNED, complete=True), State.RUNNING, OWNED),
    ("foreign, in Slurm's queue", None, Facts(life=WAITING), State.QUEUED, ""),
    ("foreign, at work in Slurm", None, Facts(life=ALIVE), State.RUNNING, ""),
    ("foreign, failed", None, Facts(error="no memory"), State.FAILED, "no memory"),
    ("foreign, stopped", None, Facts(), State.LOST, "no process works on it"),
    ("foreign, damaged", None, Facts(unreadable="manifest.json is damaged"), State.LOST, "is damaged"),
]


@pytest.mark.parametrize(
    ("ticket", "facts", "state", "reason"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_states(ticket, facts, state, reason):
    found, said = derive(ticket, facts)
    assert found is state
    assert reason in said
    assert bool(said) or not reason


def test_losses_in_a_row_count_until_there_is_progress():
    ticket = NEW
    for expected in (0, 1, 2):
        ticket = ticket.attempted(0, 5, ticket.losses(5))
        assert ticket.lost == expected
    ticket = ticket.attempted(0, 6, ticket.losses(6))
    assert ticket.lost == 0
    assert [attempt.number for attempt in ticket.attempts] == [1, 2, 3, 4]
    assert ticket.resumed().losses(6) == 0
