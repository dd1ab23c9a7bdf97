"""A study of ``probe study``."""
