"""The format of a run directory: names and columns of result files, checksummed reading and writing."""
