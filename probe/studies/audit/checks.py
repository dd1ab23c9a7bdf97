"""All checks of the audit, in the order of its table."""

from probe.studies.audit.check import Check
from probe.studies.audit.precision import float32

CHECKS: tuple[Check, ...] = (Check("float32", "float32 against float64", float32),)
