"""The paper's experiments, composed from the rooms of the library; no files, no processes."""
