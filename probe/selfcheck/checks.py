"""All checks, in the order in which they are run: cheap and telling ones first, since time may run out."""

from probe.selfcheck import correctness_dynamics
from probe.selfcheck.check import Check

CHECKS: tuple[Check, ...] = (*correctness_dynamics.CHECKS,)
"""Each name once. To add some: a module ``correctness_*.py`` or ``speed_*.py`` with a tuple ``CHECKS``."""
