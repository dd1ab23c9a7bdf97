"""Studies over many models: one file per kind."""
