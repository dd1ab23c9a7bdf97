"""How a probe is run: the run directory and the stages that fill it."""
