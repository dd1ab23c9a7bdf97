"""The format of run, study and OOD folders: names and columns of result files, checksummed reading and writing."""
