"""What ``probe serve`` was started with. Made once by the command, never changed."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from probe.serve.limits import Limits
from probe.serve.policy import Allowance

OWN = ".probe-serve"
"""The service's own folder in its root: token, index, lock, trash, cache."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Settings:
    """One server over one root.

    Attributes:
        root: absolute real path; run directories are below it.
        host, port: what it binds to; port 0 takes a free one.
        root_path: sub-path behind a reverse proxy, "" or "/like/this".
        token: what every request needs; None: none is asked for.
        slots: local runs at once.
        gpus: device ids for CUDA_VISIBLE_DEVICES, one for each slot in turn; (): runs use cores.
        cores: of this process, shared by the slots.
        cluster: profile for the Slurm executor; None: there is none.
        index: the SQLite file; None: in the root.
        rebuild: make the index new at the start.
        tls: certificate and key.
        behind_proxy: a reverse proxy in front ends TLS, and its X-Forwarded-Proto and -Host are believed.
        hosts: names that the Host header may have, besides those of loopback; without ports.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 8765
    root_path: str = ""
    token: str | None = field(default=None, repr=False)
    slots: int = 1
    gpus: tuple[str, ...] = ()
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    cluster: Path | None = None
    index: Path | None = None
    rebuild: bool = False
    tls: tuple[Path, Path] | None = None
    behind_proxy: bool = False
    hosts: tuple[str, ...] = ()
    allow: Allowance = field(default_factory=Allowance)
    limits: Limits = field(default_factory=Limits)

    @property
    def own(self) -> Path:
        """The service's own folder."""
        return self.root / OWN

    @property
    def index_path(self) -> Path:
        """The SQLite file."""
        return self.index or self.own / "index.sqlite"

    @property
    def scheme(self) -> str:
        """Of the address that this process itself serves."""
        return "https" if self.tls else "http"
