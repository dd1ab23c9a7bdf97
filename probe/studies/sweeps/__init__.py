"""Studies over many models: one file per kind, with its configuration and its measure."""
