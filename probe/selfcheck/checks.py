"""All checks, in the order in which they are run: cheap and telling ones first, since time may run out."""

from probe.selfcheck import (
    correctness_certificates,
    correctness_device,
    correctness_dictionary,
    correctness_dynamics,
    correctness_sparse,
    speed_codes,
    speed_device,
    speed_loop,
    speed_map,
)
from probe.selfcheck.check import Check

CHECKS: tuple[Check, ...] = (
    *correctness_dynamics.CHECKS,
    *correctness_device.CHECKS,
    *correctness_certificates.CHECKS,
    *correctness_sparse.CHECKS,
    *correctness_dictionary.CHECKS,
    *speed_device.CHECKS,
    *speed_codes.CHECKS,
    *speed_map.CHECKS,
    *speed_loop.CHECKS,
    *speed_map.FURTHER,
)
"""Each name once. To add some: a module ``correctness_*.py`` or ``speed_*.py`` with a tuple ``CHECKS``."""
