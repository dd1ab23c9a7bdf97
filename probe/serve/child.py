"""The shim around a worker: ``python -I -S child.py RUN_DIR NUMBER COMMAND...``. Run by its path, with the standard
library alone, so that it starts within milliseconds.

It holds RUN_DIR/.service.lock (flock) in a session of its own, and hands it on to the worker: while that lock is held,
something of this attempt lives, whoever was killed. It notes itself in .service-process.json before the worker starts,
and the worker's exit status after its end. It does not end by SIGTERM or SIGINT, which are sent to the whole group: it
waits for the worker and says how that ended.

The first process ends as soon as that is settled: with 0 if the worker is about to start; with 3 if it must not, since
the lock is held or the ticket no longer asks for this attempt; with 1 and a sentence on stderr if it cannot.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

LOCK, PROCESS, LOG, TICKET = ".service.lock", ".service-process.json", ".service.log", ".service.json"
HELD = 3
PATIENCE = 2.0
"""Seconds to wait for the lock, which whoever asks for it holds for an instant."""


def main(folder: str, number: int, command: list[str]) -> int:
    """Start the session in a process of its own, and wait until it has begun."""
    reads, writes = os.pipe()
    if pid := os.fork():
        os.close(writes)
        with os.fdopen(reads, encoding="utf-8") as pipe:
            said = pipe.read()
        if said == "begun":
            return 0
        os.waitpid(pid, 0)
        if said == "held":
            return HELD
        print(said or "the process that was to start it died", file=sys.stderr)
        return 1
    os.close(reads)
    os.setsid()
    for number_of_signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Not SIG_IGN, which the worker would inherit.
        signal.signal(number_of_signal, lambda *_: None)
    try:
        record = _begin(folder, number)
    except BlockingIOError:
        os.write(writes, b"held")
        os._exit(HELD)
    except BaseException as error:
        os.write(writes, str(error).encode()[:2000] or b"it cannot begin")
        os._exit(1)
    os.write(writes, b"begun")
    os.close(writes)
    try:
        _watch(folder, record, command)
    finally:
        os.killpg(0, signal.SIGKILL)  # whatever the worker left behind, and this process
    return 0


def _begin(folder: str, number: int) -> dict[str, object]:
    """Hold the lock, and note this process; BlockingIOError where this attempt must not run."""
    global lock
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    with open(os.path.join(folder, TICKET), encoding="utf-8") as file:
        ticket = json.load(file)
    # A service that was killed and started again may have begun a later attempt, or none.
    if ticket["wanted"] != "run" or ticket["attempts"][-1]["number"] != number:
        raise BlockingIOError
    log = os.open(os.path.join(folder, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    record: dict[str, object] = {"attempt": number, "pid": os.getpid(), "host": socket.gethostname()}
    record |= {"started": _mark(), "begun": _now()}
    _write(folder, record)
    for given, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(given, standard)
    return record


lock = -1


def _watch(folder: str, record: dict[str, object], command: list[str]) -> None:
    """Run the worker, and note how it ended."""
    try:
        status = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,)).wait()
    except OSError as error:
        print(f"probe: {command[0]} cannot be started: {error.strerror}.", file=sys.stderr, flush=True)
        status = 1
    try:
        _write(folder, {**record, "ended": _now(), "exit": status})
    except OSError as error:
        print(f"probe: its end, with status {status}, cannot be noted: {error.strerror}.", file=sys.stderr, flush=True)


def _write(folder: str, record: dict[str, object]) -> None:
    file = os.path.join(folder, PROCESS)
    temporary = f"{file}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as opened:
            json.dump(record, opened)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, file)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _mark() -> "str | None":
    """As jobs.lock: boot id/pid namespace/start time."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        with open("/proc/self/stat", errors="replace") as file:
            started = file.read().rpartition(")")[2].split()[19]
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}/{started}"
    except (OSError, IndexError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
