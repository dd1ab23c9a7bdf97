"""How a probe is run: the run directory and the stages that fill it."""

from jobs.early import hear_interrupts

hear_interrupts()
