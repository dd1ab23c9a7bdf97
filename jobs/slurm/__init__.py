"""Runs on a Slurm cluster: profile, scripts, submission, states."""
