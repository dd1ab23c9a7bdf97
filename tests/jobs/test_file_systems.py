"""File systems that lack something (fsync, flock), and errors of the operating system that are not the run's."""

import errno
import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import torch

from jobs.kinds import RUN
from jobs.lock import MARKER, exclusive, if_free, is_there, this_process
from jobs.worker import guarded, work
from probe.config import load_config
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.results.layout import OWNER
from probe.training.checkpoint import save_model

NAMES = errno.errorcode


def _raising(number: int, folders: bool = True, files: bool = True):
    """os.fsync of a file system that answers so for folders, files or both."""

    def fsync(descriptor: int) -> None:
        if files if stat.S_ISREG(os.fstat(descriptor).st_mode) else folders:
            raise OSError(number, os.strerror(number))

    return fsync


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES], ids=NAMES.get
)
def test_folders_without_fsync(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", _raising(number, files=False))
    write_atomically(tmp_path / "a" / "b", "whole")
    assert (tmp_path / "a" / "b").read_text() == "whole"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EISDIR, errno.EINVAL], ids=NAMES.get)
def test_folders_that_cannot_be_opened(tmp_path, monkeypatch, number):
    def opened(path, flags, *more, real=os.open, **others):
        if os.path.isdir(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", opened)
    write_atomically(tmp_path / "b", "whole")
    assert (tmp_path / "b").read_text() == "whole"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS], ids=NAMES.get)
def test_files_without_fsync(tmp_path, monkeypatch, number):
    from probe.autoencoders.convolutional import ConvAutoencoder

    monkeypatch.setattr(os, "fsync", _raising(number))
    write_atomically(tmp_path / "b", "whole")
    assert (tmp_path / "b").read_text() == "whole"
    torch.manual_seed(0)
    save_model(ConvAutoencoder(1, 16, 2, 4), tmp_path / "model")
    assert (tmp_path / "model" / "config.json").is_file()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=NAMES.get)
def test_a_full_or_broken_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch, number):
    write_atomically(tmp_path / "b", "old")
    monkeypatch.setattr(os, "fsync", _raising(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_atomically(tmp_path / "b", "new")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY, errno.EACCES], ids=NAMES.get)
def test_a_file_that_cannot_be_renamed_is_named(tmp_path, monkeypatch, number):
    def replace(a, b):
        raise OSError(number, os.strerror(number), str(a), None, str(b))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_atomically(tmp_path / "b", "new")
    assert caught.value.filename == str(tmp_path / "b")
    assert not list(tmp_path.iterdir())


NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]


@pytest.fixture(params=NO_LOCKS, ids=NAMES.get)
def no_flock(request, monkeypatch):
    """A file system whose flock answers with an error."""

    def flock(descriptor, operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_where_there_is_no_flock(tmp_path, no_flock):
    with exclusive(tmp_path / "run"):
        owner = json.loads((tmp_path / "run" / MARKER).read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(UserError) as caught, exclusive(tmp_path / "run", 0.1):
            pass
        for part in (f"process {os.getpid()} on {socket.gethostname()}, since 20", f"remove {tmp_path}/run/{MARKER}"):
            assert part in str(caught.value)
        with if_free(tmp_path / "run" / "shard") as mine, if_free(tmp_path / "run" / "shard") as twice:
            assert (mine, twice) == (True, False)
        with if_free(tmp_path / "run" / "shard") as mine:
            assert mine
    assert sorted(file.name for file in (tmp_path / "run").iterdir() if file.is_file()) == [".lock"]
    with exclusive(tmp_path / "run", 0):
        pass


@pytest.fixture(scope="module")
def dead() -> dict:
    """What a process wrote down that is gone."""
    code = "import json; from jobs.lock import this_process; print(json.dumps(this_process()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@pytest.fixture
def enolck(monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_the_marker_of_a_process_that_is_gone_is_no_lock(tmp_path, enolck, dead):
    (tmp_path / MARKER).write_text(json.dumps(dead))
    with exclusive(tmp_path, 0):
        assert json.loads((tmp_path / MARKER).read_text())["pid"] == os.getpid()
    (tmp_path / MARKER).write_text(json.dumps({**this_process(), "started": dead["started"]}))  # its number lives on
    with if_free(tmp_path) as mine:
        assert mine
    assert not list(tmp_path.glob(f"{MARKER}*"))


@pytest.mark.parametrize(
    "marker",
    [
        lambda dead: json.dumps({**dead, "host": "elsewhere"}),
        lambda dead: json.dumps({**dead, "started": "another-boot/1/2"}),  # or another machine of the same name
        lambda dead: json.dumps(this_process()),
        lambda dead: "",  # made a moment ago, and not yet written
        lambda dead: "{junk",
        lambda dead: "[1]",
        lambda dead: json.dumps({**dead, "pid": "x"}),
    ],
)
def test_the_marker_of_any_other_process_is_one(tmp_path, enolck, dead, marker):
    content = marker(dead)
    (tmp_path / MARKER).write_text(content)
    with if_free(tmp_path) as mine:
        assert not mine
    with pytest.raises(UserError, match=r"is being worked on by .*remove .* and rerun"), exclusive(tmp_path, 0.1):
        pass
    assert (tmp_path / MARKER).read_text() == content


def test_many_processes_that_find_a_dead_marker_hold_it_one_at_a_time(tmp_path, dead):
    code = """
import errno, fcntl, os, random, sys, time
from pathlib import Path
def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
from jobs import lock
read = lock._read
def slowly(file):  # so that processes come between each other's steps
    found = read(file)
    time.sleep(random.random() * 0.02)
    return found
lock._read = slowly
folder = Path(sys.argv[1])
for _ in range(5):
    with lock.exclusive(folder, 60):
        with open(folder / "inside", "x"):
            time.sleep(0.01)
        os.unlink(folder / "inside")
"""
    (tmp_path / MARKER).write_text(json.dumps(dead))
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(6)]
    assert [process.wait(600) for process in processes] == [0] * 6
    assert not (tmp_path / MARKER).exists()


def test_a_folder_that_cannot_be_locked_for_another_reason(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="cannot be written: Input/output error"), exclusive(tmp_path):
        pass


def test_what_is_there_is_told_of_processes_here_only(dead):
    assert is_there(this_process()) is True
    assert is_there(dead) is False
    assert is_there({**dead, "host": "elsewhere"}) is None
    assert is_there({}) is is_there({**dead, "pid": -1}) is is_there({**dead, "pid": None}) is None
    assert is_there({"host": socket.gethostname(), "pid": os.getpid()}) is True  # as an older version wrote it
    child = subprocess.Popen([sys.executable, "-c", ""])
    child_record = {"host": socket.gethostname(), "pid": child.pid}
    child.wait()
    assert is_there(child_record) is False


def _oserror(number: int, *files: object) -> OSError:
    return OSError(number, os.strerror(number), *files)


def _told(own: Path, out: Path, error: Exception) -> str:
    """What a run says whose work ends so."""

    def do(stages):
        raise error

    with pytest.raises(Failure) as caught:
        work(out, RUN, do, load_config(own))
    assert "Traceback" in (out / "logs" / "rank-0000.log").read_text()
    assert json.loads((out / "error.json").read_text())["message"] == str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


ELSEWHERE = [
    (_oserror(errno.EACCES, "/data/cats/1.png"), "/data/cats/1.png cannot be read"),
    (_oserror(errno.ENOENT, "/data/cats/1.png"), "/data/cats/1.png cannot be read: No such file"),
    (_oserror(errno.ENOSPC, "/scratch/x"), "/scratch/x cannot be written: No space left"),
    (_oserror(errno.EIO, "/data/" + "x" * 3000), "xxx cannot be "),
    (_oserror(errno.EXDEV, "/a/1", None, "/b/2"), "/a/1 cannot be"),
    (_oserror(errno.EMFILE, "/anything"), "ulimit -n"),
    (_oserror(errno.ENOMEM), "memory"),
    (_oserror(errno.ENOSPC), "a disk cannot be written: No space left"),
    (_oserror(errno.EBADF), "Bad file descriptor; the traceback is in logs/"),
    (_oserror(errno.EIO, 7), "Input/output error; the traceback"),
    (OSError("no weights here"), "OSError: no weights here; the traceback"),
    (OSError(), "OSError; the traceback"),
    (ConnectionResetError(104, "Connection reset by peer"), "a connection failed"),
    (BrokenPipeError(32, "Broken pipe"), "a connection failed"),
    (TimeoutError("timed out"), "a connection failed"),
    (socket.gaierror(-2, "Name or service not known"), "a connection failed"),
    (requests.ConnectionError("no route"), "a connection failed"),
]


@pytest.mark.parametrize(("error", "said"), ELSEWHERE, ids=[str(i) for i in range(len(ELSEWHERE))])
def test_an_error_elsewhere_is_not_blamed_on_the_run(own, tmp_path, error, said):
    out = tmp_path / "out"
    sentence = _told(own, out, error)
    assert said in sentence
    assert "rerun to resume" in sentence
    assert str(out) not in sentence


def test_an_error_inside_the_run_is(own, tmp_path):
    out = tmp_path / "out"
    full = _told(own, out, _oserror(errno.ENOSPC, str(out / "attractors" / "1")))
    assert full == f"{out}/attractors/1 cannot be written: No space left on device; fix this and rerun to resume."
    assert f"{out}/x cannot be" in _told(own, out, _oserror(errno.EACCES, "/elsewhere", None, os.fsencode(out / "x")))
    beside = _told(own, out, _oserror(errno.EACCES, f"{out}-of-another/x"))
    assert beside.startswith(f"{out}-of-another/x cannot be")


CACHES = [
    ("HF_HOME", "hub/models--a/blob"),
    ("HF_HUB_CACHE", "models--a/blob"),
    ("HF_DATASETS_CACHE", "parquet/x.lock"),
    ("TORCHINDUCTOR_CACHE_DIR", "fxgraph/x"),
    ("TRITON_CACHE_DIR", "x"),
    ("TORCH_HOME", "hub/checkpoints/x"),
    ("XDG_CACHE_HOME", "sklearn/x"),
    ("MPLCONFIGDIR", "fontlist.json"),
    ("NUMBA_CACHE_DIR", "kernel_1/x.nbi"),
]


@pytest.mark.parametrize(("variable", "file"), CACHES)
def test_a_cache_is_named_with_its_variable(own, tmp_path, monkeypatch, variable, file):
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    sentence = _told(own, tmp_path / "out", _oserror(errno.EACCES, str(tmp_path / "cache" / file)))
    assert f"{tmp_path}/cache/{file} cannot be used: Permission denied" in sentence
    assert f"set {variable} to a folder" in sentence


def test_caches_where_no_variable_is_set(own, tmp_path, monkeypatch):
    for variable, _ in CACHES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for file, variable in (
        ("/home/me/.cache/huggingface/hub/x", "HF_HOME"),
        ("/home/me/.cache/torch/x", "TORCH_HOME"),
        ("/home/me/.cache/other/x", "XDG_CACHE_HOME"),
        ("/home/me/.config/matplotlib/x", "MPLCONFIGDIR"),
    ):
        assert f"set {variable} " in _told(own, tmp_path / "out", _oserror(errno.EROFS, file))
    monkeypatch.setenv("TMPDIR", "/scratch")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/scratch")
    assert "set TMPDIR " in _told(own, tmp_path / "out", _oserror(errno.ENOSPC, "/scratch/tmpabc"))
    missing = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']")
    assert "set TMPDIR " in _told(own, tmp_path / "out", missing)


def test_what_a_cache_led_to_names_the_cache(own, tmp_path, monkeypatch):
    """torch.compile wraps what goes wrong in errors of its own."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    wrapped = RuntimeError("backend='inductor' raised something")
    wrapped.__context__ = _oserror(errno.EACCES, str(tmp_path / "cache" / "x"))
    assert "set TORCHINDUCTOR_CACHE_DIR " in _told(own, tmp_path / "out", wrapped)

    def bug(stages):
        raise RuntimeError("a bug of ours") from _oserror(errno.EACCES, "/elsewhere")

    with pytest.raises(RuntimeError, match="a bug of ours"):
        work(tmp_path / "out", RUN, bug, load_config(own))


def test_a_file_of_any_command_is_a_sentence(capsys):
    def command():
        raise _oserror(errno.EACCES, "/data/x.png")

    assert guarded(command) == 1
    assert capsys.readouterr().err.startswith("probe: /data/x.png cannot be read")


def test_the_owner_of_a_run_is_written_down(tmp_path):
    with exclusive(tmp_path):
        assert is_there(json.loads((tmp_path / OWNER).read_text())) is True
    assert not (tmp_path / OWNER).exists()
