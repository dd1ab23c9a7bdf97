"""What the ranks ask of each other, with a store that is gone."""

import pytest
import torch.distributed as dist

from jobs.stopping import Ended
from jobs.world import World


class Gone:
    """The store of a rank 0 that was killed, as torch shows it."""

    def lost(self, *_):
        raise dist.DistNetworkError("failed to recv, got 0 bytes")

    add = set = get = check = lost


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: next(world.claims([1])),
        lambda world: world.agree(),
        lambda world: world.meet(),
        lambda world: world.tell(0, 1.0),
        lambda world: world.heard(0),
        lambda world: world.watch(),
    ],
    ids=["claims", "agree", "meet", "tell", "heard", "watch"],
)
def test_whatever_a_rank_asks_it_ends_where_rank_0_is_gone(ask):
    with pytest.raises(Ended, match="rank 0 is lost: its process is gone") as caught:
        ask(World(1, 2, Gone()))
    assert caught.value.status == 1


def test_a_rank_that_ends_says_so_to_nobody_where_rank_0_is_gone():
    World(1, 2, Gone()).end(1, "a failure of its own")
