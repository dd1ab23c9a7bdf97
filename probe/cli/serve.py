"""``probe serve``: a queue, an index and pages over the run directories below one folder."""

import errno
import ipaddress
import os
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import count, path_option
from probe.errors import UserError

if TYPE_CHECKING:
    from probe.serve.policy import Allowance

GIB = 1 << 30


def serve(
    root: Annotated[Path, path_option("--root", "FOLDER", "Folder that holds the run directories; made if absent.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: a free one.")] = 8765,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    slots: Annotated[
        int | None, count("Local runs at once. Default: one for each GPU, or one.", "--slots", least=0)
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="IDS", help='GPUs for local runs, such as 0,1; "": none. Default: all.')
    ] = None,
    cluster: Annotated[
        Path | None, path_option("--cluster", "FILE", "Cluster profile; runs can then be submitted to Slurm.")
    ] = None,
    index: Annotated[
        Path | None, path_option("--index", "FILE", "SQLite index, on a local disk. Default: in FOLDER.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index new from the run directories.")] = False,
    token_file: Annotated[
        Path | None, path_option("--token-file", "FILE", "File of mode 0600 with the token. Default: made in FOLDER.")
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for no token: every user of this machine can then use the server.")
    ] = False,
    tls_cert: Annotated[Path | None, path_option("--tls-cert", "FILE", "Certificate, in PEM.")] = None,
    tls_key: Annotated[Path | None, path_option("--tls-key", "FILE", "Key of the certificate, in PEM.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy ends TLS; believe its X-Forwarded-Proto and -Host.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name that the server goes by; repeatable.")
    ] = None,
    root_path: Annotated[str, typer.Option(metavar="PATH", help="Sub-path at the reverse proxy, such as /probe.")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Allow python, remote-code, urls or trackers in configurations; repeatable."),
    ] = None,
    allow_folder: Annotated[
        list[Path] | None,
        path_option("--allow-folder", "FOLDER", "Allow configurations to name files below it; repeatable."),
    ] = None,
    quota_run: Annotated[float, typer.Option(min=0, metavar="GIB", help="Disk for a run; 0: no bound.")] = 50.0,
    quota_total: Annotated[float, typer.Option(min=0, metavar="GIB", help="Disk for all runs; 0: no bound.")] = 0.0,
    queue: Annotated[int, count("Runs that may wait.", "--queue")] = 100,
) -> None:
    """Serve the runs below a folder over HTTP and on a page.

    Takes submissions, runs them here or on Slurm, and shows progress, logs and reports. The first line printed says the
    address and which file holds the token.
    """
    try:
        from probe.serve.app import run
        from probe.serve.security import make_token, read_token
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("probe", "jobs"):
            raise
        raise UserError(f"probe serve needs {error.name}; pip install 'latent-probe[serve]'.") from None
    from probe.serve.limits import Limits
    from probe.serve.settings import OWN, Settings

    tls = _tls(tls_cert, tls_key)
    local = _is_loopback(host)
    if not local and tls is None and not behind_proxy:
        raise UserError(
            f"--host {host} is reached from other machines, and the token would cross the network in the clear: give "
            "--tls-cert and --tls-key, or --behind-proxy where a reverse proxy ends TLS."
        )
    if no_token and (not local or token_file or behind_proxy):
        raise UserError("--no-token is for loopback alone, without --token-file and --behind-proxy; leave it out.")
    root = _root(root)
    if cluster is not None:
        from jobs.slurm.profile import load_profile

        load_profile(cluster)
    limits = Limits(
        queue=queue,
        run_bytes=int(quota_run * GIB) or None,
        total_bytes=int(quota_total * GIB) or None,
    )
    devices = _gpus(gpus)
    allowed = _allowance(root, allow or [], allow_folder or [])
    place = token_file or root / OWN / "token"
    token = None if no_token else read_token(place) if token_file else make_token(place)
    with _listening(host, port) as sock:
        settings = Settings(
            root=root,
            host=host,
            port=sock.getsockname()[1],
            root_path=_sub_path(root_path),
            token=token,
            slots=slots if slots is not None else len(devices) or 1,
            gpus=devices,
            cluster=cluster,
            index=index,
            rebuild=rebuild,
            tls=tls,
            behind_proxy=behind_proxy,
            hosts=_names(host, host_name or []),
            allow=allowed,
            limits=limits,
        )
        shown = f"[{host}]" if ":" in host else host
        about = "no token is asked for" if no_token else f"token in {place}"
        line = f"{settings.scheme}://{shown}:{settings.port}{settings.root_path}/ serves {root}; {about}"
        run(settings, sock, lambda: print(line, flush=True))


def _root(root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return root.resolve(strict=True)
    except OSError as error:
        raise UserError(f"--root {root} cannot be made: {error.strerror}; choose another folder.") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(host: str, more: list[str]) -> tuple[str, ...]:
    """Names that the Host header may have: the address, unless it stands for all, and those given."""
    for name in more:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]", name):
            raise UserError(f"--host-name {name!r} is no name of a host; give it without scheme and port.")
    own = f"[{host}]" if ":" in host else host
    return (*(() if host in ("0.0.0.0", "::") else (own,)), *more)


def _sub_path(path: str) -> str:
    path = path.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path) or {".", ".."} & {*path.split("/")}:
        raise UserError(f"--root-path {path!r} must read /like/this, in letters, digits and ._~-.")
    return path


def _tls(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UserError("--tls-cert and --tls-key belong together: give both.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        raise UserError(
            f"--tls-cert {certificate} and --tls-key {key} do not load: {error.strerror or error}; give a certificate "
            "in PEM and its key without a password."
        ) from None
    return certificate, key


def _allowance(root: Path, names: list[str], folders: list[Path]) -> "Allowance":
    from probe.serve.policy import Allowance

    known = ("python", "remote-code", "urls", "trackers")
    for name in names:
        if name not in known:
            raise UserError(f"--allow {name}: allow {', '.join(known)}, or --allow-folder FOLDER.")
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--allow-folder {folder} is no folder; give one that is there.")
    flags = {name.replace("-", "_"): True for name in names}
    return Allowance(**flags, folders=tuple(map(Path.resolve, folders)), runs=root)


def _gpus(given: str | None) -> tuple[str, ...]:
    """Device ids: those given, else those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists."""
    if given is None:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return tuple(str(number) for number in range(_listed()))
    ids = tuple(one.strip() for one in given.split(",") if one.strip())
    for one in ids:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", one):
            return ()  # CUDA too takes an id that it does not know, such as -1, for the end of the list
    return ids


def _listed() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in answer.stdout.splitlines()) if answer.returncode == 0 else 0


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is taken; give another with --port, or 0 for a free one.") from None
        raise UserError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another.") from None
