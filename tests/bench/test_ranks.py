"""The bench of many ranks: what it makes of what ranks noted, and real ranks in small."""

import pytest

from probe.bench.ranks import Lived, Question, compare, facts_of, launch, seconds_of, simulate


def asked(*moments: float) -> list[Question]:
    return [Question(at, "add", 10, 0.001) for at in moments]


def test_facts_of_ranks_whose_life_is_known():
    leader = Lived(0, 0.0, 1.0, 5.0, 20.0, 21.0, shards=4, questions=asked(0.5, 2, 3, 6, 7, 8))
    other = Lived(1, 0.5, 1.5, 10.0, 20.0, 20.5, shards=2, questions=asked(0.6, 0.7, 4, *range(11, 20)))
    last = Lived(2, 0.0, 1.0, 19.0, 20.0, 20.5, shards=1, questions=asked(0.1))  # has hardly waited
    facts = facts_of([leader, other, last], shards=7)
    assert facts["seconds from all ranks' beginning to the last one's first claim"] == "1.00"
    assert facts["claims a second"] == f"{7 / 9:.0f}"  # between the first claim and the median end of work
    assert facts["shards a rank, least to most"] == "1 to 4"
    assert facts["seconds from the last shard to the end of all"] == "2.00"
    assert facts["questions to the store a rank until its first claim"] == "1.5"
    assert facts["questions a shard"] == f"{3 / 7:.2f}"
    assert facts["questions a second of a rank that waits"] == "0.90"
    assert facts["questions a second of all ranks, waiting"] == "2"  # of the two others
    assert facts["bytes a question, mean"] == "10"


def test_seconds_of_shards_have_the_mean_that_is_asked_for():
    seconds = [seconds_of(shard, 4000, 2.0, 7.0) for shard in range(4000)]
    assert sum(seconds[:-1]) / 3999 == pytest.approx(2.0, abs=4 * 2.0 / 4000**0.5)  # four standard errors
    assert seconds[-1] == 7.0


@pytest.mark.slow
@pytest.mark.busy
def test_real_ranks_and_simulated_ones():
    real = launch(2, 16)
    assert real["shards"] == "16"
    told = {row.what: row.simulated for row in compare(processes=0, simulated=6, shards=4, mean=0.01)}
    assert told["shards"] == "24"


@pytest.mark.slow
@pytest.mark.busy
def test_simulated_ranks_end_where_rank_0_is_killed():
    lived, moment = simulate(4, shards=40, mean=0.5, killed=[0])
    assert [one.rank for one in lived] == [1, 2, 3]
    assert all("rank 0 is lost" in one.why and one.ended >= moment - 1 for one in lived)
