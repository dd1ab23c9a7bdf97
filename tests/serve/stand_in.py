"""A worker that does what the name of its run says, without torch: ``python stand_in.py RUN_DIR``.

done: finish the run at once; wait: work until it is told to end, then end with status 75; stubborn: the same, but it
does not hear; child: the same, with a child in a session of its own; exit N, kill N: end so; slow: finish after a
second.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FINISHED = Path(__file__).parents[1] / "jobs" / "finished" / "run"


def main(path: Path) -> None:
    name = json.loads((path / ".service.json").read_text())["name"]
    alone = os.open(path / ".alone", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        (path / ".doubled").touch()
    if name == "wait":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    if name in ("stubborn", "child"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name == "child":
        lock = next(fd for fd in range(3, 30) if os.path.realpath(f"/proc/self/fd/{fd}").endswith(".service.lock"))
        command = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
        subprocess.Popen(command, pass_fds=(lock,), start_new_session=True)
    with (path / ".lives").open("a") as lives:  # once it is deaf, or hears
        lives.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('OMP_NUM_THREADS')}\n")
    what, _, number = name.partition(" ")
    if what == "exit":
        print("probe: it is not to be done.", file=sys.stderr)
        sys.exit(int(number))
    if what == "kill":
        os.kill(os.getpid(), int(number))
    if what in ("wait", "stubborn", "child"):
        time.sleep(600)
    if what == "slow":
        time.sleep(1)
    for file in FINISHED.rglob("*"):
        if file.is_file() and file.name != "config.yaml":
            there = path / file.relative_to(FINISHED)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, there)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
