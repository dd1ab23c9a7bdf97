"""The theory page of a run."""
