"""Real processes of `probe` and `jobs.worker` that begin without their imports.

To read torch and what stands on it takes five seconds of a core, most of the life of a process in a test. So one
process (the fork server of ``multiprocessing``) reads it once, and the others are forked from it, each with its own
environment, streams, signals and exit status. Libraries that read where the hub is when they are imported are read
again where it is elsewhere. Tests of a process while it reads its modules, of launchers and of the cluster start Python
itself.
"""

import multiprocessing
import multiprocessing.connection
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from . import once
from .figures import are_drawn, drawn

READ = [
    "torch",
    "torch._decomp.decompositions_for_jvp",
    "torchmetrics.functional.image",
    "torch.distributed",
    "accelerate",
    "diffusers",
    "faiss",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "matplotlib.backends.backend_agg",
    "sklearn.datasets",
    "skimage.io",
    "pillow_heif",
    "tabulate",
    "jobs.doing",
    "jobs.kinds",
    "jobs.worker",
    "jobs.world",
    "jobs.slurm.submit",
    "probe.api",
    "probe.cli.main",
    "probe.report.run.write",
]

OF_THE_HUB = {"accelerate", "datasets", "diffusers", "huggingface_hub", "jobs", "probe", "transformers"}
"""Packages that keep what the variables of the hub (HF_...) said when they were imported, or what such a one gave."""

ONE_THREAD = threading.Lock()
"""At a time begins a process or asks for an exit status, since to begin one asks for those of all others."""


class Process:
    """What ``subprocess.Popen`` is for a command: ``python -m module arguments``, or ``python -c code arguments``."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[object],
        env: dict[str, str],
        out: Path,
        err: Path | None = None,
        cwd: Path | None = None,
    ):
        """Begin.

        Args:
            module: its name, or "-c".
            out, err: the files that stdout and stderr are appended to; without the second, stderr goes to the first.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(READ)
        for file in {out, err or out}:
            file.touch()
        given = (module, list(map(str, arguments)), env, str(out), str(err or out), cwd or Path.cwd(), are_drawn())
        self._process = context.Process(target=_begin, args=given)
        # One thread is what torch is told when it is loaded, by the first process of all.
        with ONE_THREAD, mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        with ONE_THREAD:
            return self._process.exitcode

    def poll(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it lives."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when there is one.

        Raises:
            subprocess.TimeoutExpired: it lives on.
        """
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        if (status := self.returncode) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def completed(
    module: str, *arguments: object, cwd: Path | None = None, only: dict[str, str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """``subprocess.run(["python", "-m", module, ...], capture_output=True, text=True)``.

    Args:
        only: the environment; by default this process's.
        env: what is added to it.
    """
    with tempfile.TemporaryDirectory(prefix="probe-said-") as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        status = Process(module, arguments, {**(only or os.environ), **env}, out, err, cwd).wait(1800)
        return subprocess.CompletedProcess(list(arguments), status, out.read_text(), err.read_text())


def _begin(
    module: str, arguments: list[str], env: dict[str, str], out: str, err: str, cwd: Path, figures: bool
) -> None:
    """In the new process: become the command; its figures are drawn if those of the test are."""
    for file, number in ((out, 1), (err, 2)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    was = _of_the_hub(os.environ)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if _of_the_hub(env) != was:
        for name in [name for name in sys.modules if name.partition(".")[0] in OF_THE_HUB]:
            del sys.modules[name]
    once.keep()
    with drawn(figures):
        if module == "-c":
            sys.argv = ["-c", *arguments[1:]]
            exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [module, *arguments]
            sys.modules.pop(module, None)  # it is run, and not the one that was read
            runpy.run_module(module, run_name="__main__", alter_sys=True)


def _of_the_hub(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("HF_")}
