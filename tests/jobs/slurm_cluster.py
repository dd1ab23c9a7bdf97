"""A real Slurm cluster of two nodes on this machine, from its login node."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..processes import completed
from .conftest import CLEAN, until


class Cluster:
    """The cluster, from its login node."""

    def __init__(self, folder: Path):
        self.env = {**CLEAN, "SLURM_CONF": f"{folder}/slurm.conf"}

    def __call__(self, *command, quiet: bool = False) -> str:
        """stdout of a command that must succeed."""
        done = subprocess.run(list(map(str, command)), env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if not quiet:
            print("$", *command, "\n" + done.stdout + done.stderr)
        return done.stdout

    def probe(self, *arguments) -> str:
        """stdout of a probe command."""
        done = self.tries(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        print("$ probe", *arguments, "\n" + done.stdout + done.stderr)
        return done.stdout

    def tries(self, *arguments) -> "subprocess.CompletedProcess[str]":
        """A probe command, whatever comes of it."""
        return completed("probe.cli.main", *arguments, only=self.env)

    def state(self, job: str) -> str:
        """What the queue says of a job, and how often it began anew."""
        return self("squeue", "-h", "-t", "all", "-j", job, "-o", "%T", quiet=True)[:-1]

    def restarts(self, job: str) -> int:
        """How often a job began anew."""
        facts = self("scontrol", "show", "job", job, quiet=True)
        return int(facts.split("Restarts=")[1].split()[0])

    def stop(self) -> None:
        """No job is left to the next test."""
        self("scancel", "-u", "root")
        for pid in self.workers_on("node1") + self.workers_on("node2"):  # of a test that failed while they were held
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        until(lambda: not self("squeue", "-h", quiet=True))
        for node in self("sinfo", "-h", "-N", "-t", "down", "-o", "%N", quiet=True).split():  # by a test
            self("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def workers_on(self, node: str) -> list[int]:
        """Process ids of the workers on a node of this cluster; other tests may have one of their own."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:  # it ended
                continue
            here = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.env['SLURM_CONF']}".encode()}
            if b"jobs.worker" in command and b"python" in command[0] and here <= set(environment):
                found.append(int(entry.name))
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """All workers stand still meanwhile, so that a machine of any speed is at the same point when they are told."""
        workers = self.workers_on("node1") + self.workers_on("node2")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_on(self, *nodes: str) -> None:
        """What a kernel does that runs out of memory."""
        for pid in (pid for node in nodes for pid in self.workers_on(node)):
            os.kill(pid, signal.SIGKILL)
