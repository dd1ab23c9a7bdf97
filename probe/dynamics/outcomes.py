"""How an iteration ended: a closed set, one per start."""

import enum


class Outcome(enum.IntEnum):
    """Outcome of one start. The numbers are stored in files: do not renumber."""

    CONVERGED = 0
    CYCLE = 1
    MAX_STEPS = 2
    DIVERGED = 3

    @property
    def label(self) -> str:
        """The name in reports and configuration."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """What the outcome says of the end point."""
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.CONVERGED: "the squared residual ||f(z) - z||^2 of the returned point itself is below the tolerance",
    Outcome.CYCLE: "the iteration returns to the same points again and again, with a period of at least 2",
    Outcome.MAX_STEPS: "the step limit came first: the end point is where the iteration stopped, not a fixed point",
    Outcome.DIVERGED: "the latent became non-finite or its norm passed the stated bound",
}
