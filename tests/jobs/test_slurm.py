"""Submission, cancellation and status against a scheduler that is faked, for the many answers that a real one has."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from jobs.kinds import RUN
from jobs.ood.directory import OodDirectory
from jobs.run.directory import RunDirectory
from jobs.slurm import scheduler
from jobs.slurm.profile import ClusterProfile, load_profile
from jobs.slurm.submit import cancel, render, submit
from jobs.status import read_status
from jobs.study.directory import StudyDirectory
from probe.config import load_config
from probe.errors import Failure, UserError
from probe.studies.ood.config import parse_ood_config
from probe.studies.sweeps.kinds import parse_study_config

from .ood.test_ood import SETTINGS as OOD_SETTINGS

FAKE = """#!{python}
# {name}: writes down how it was called, and does what the test put into {folder}/{name}.do
import json, pathlib, sys, time
folder = pathlib.Path({folder!r})
calls = folder / "calls.jsonl"
number = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
exec((folder / "{name}.do").read_text())
"""
RUN_STAGES = tuple(stage.name for stage in RUN.stages)
ODD = 'it\'s a "run" 50% $HOME; rm -rf'


class Fake:
    """sbatch, squeue and scancel on PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, do in (("sbatch", "print(100 + number)"), ("squeue", ""), ("scancel", "")):
            file = folder / name
            file.write_text(FAKE.format(python=sys.executable, name=name, folder=str(folder)))
            file.chmod(0o755)
            self.does(name, do)

    def does(self, name: str, do: str) -> None:
        """What a command does, in Python; ``number`` counts the calls so far."""
        (self.folder / f"{name}.do").write_text(do)

    def queue(self, *lines: str) -> None:
        """What squeue shows."""
        self.does("squeue", f"print({chr(10).join(lines)!r})")

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of every call of a command."""
        file = self.folder / "calls.jsonl"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [arguments for command, *arguments in calls if command == name]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Fake(tmp_path / "bin")


@pytest.fixture
def profile(root):
    return load_profile(root / "slurm" / "example.yaml")


@pytest.fixture
def run(own, tmp_path):
    return RunDirectory.create(tmp_path / ODD, load_config(own))


def test_stages_are_chained(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    assert list(jobs) == list(RUN_STAGES)
    calls = slurm.calls("sbatch")
    assert not any("--dependency" in option for option in calls[0])
    for before, call in zip(jobs.values(), calls[1:], strict=False):
        assert f"--dependency=afterok:{before}" in call
        assert "--kill-on-invalid-dep=yes" in call  # a failed dependency takes the later jobs out of the queue
    assert all(f"--output={tmp}" in call for call, tmp in zip(calls, _logs(run), strict=True))
    assert all(Path(call[-1]).read_text().startswith("#!/bin/bash") for call in calls)
    assert json.loads((run.path / "slurm" / "jobs.json").read_text())["jobs"] == jobs


def _logs(run):
    return [f"{run.path.resolve()}/logs/slurm-%j-{stage}.log".replace("50%", "50%%") for stage in RUN_STAGES]


@pytest.fixture
def study(tmp_path):
    """Six models."""
    settings = {
        "study": "bottleneck",
        "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 40}, "test": 20, "side": 16}},
        "k": [2, 3, 4],
        "seeds": [0, 1],
    }
    return StudyDirectory.create(tmp_path / ODD, parse_study_config(settings))


def test_the_models_of_a_study_are_an_array(study, profile, root, slurm, tmp_path):
    jobs = submit(study, profile, root / "slurm")
    assert list(jobs) == ["images", "models"]
    assert f"--dependency=afterok:{jobs['images']}" in slurm.calls("sbatch")[1]
    scripts = render(study, profile, root / "slurm")
    assert "--stage images" in scripts["images"]
    assert "--array" not in scripts["images"]
    for line in ("#SBATCH --array=0-3\n", "#SBATCH --nodes=1\n", "#SBATCH --ntasks-per-node=1\n", " --shared "):
        assert line in scripts["models"], line  # four ranks of the profile, one in each task
    for given, tasks in (({"array": 5}, 5), ({"nodes": 2, "tasks_per_node": 8}, 6)):
        wider = ClusterProfile(**given)
        assert f"--array=0-{tasks - 1}\n" in render(study, wider, root / "slurm")["models"]
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
        _shellcheck(tmp_path / name)
        assert _run_directory_in(script) == str(study.path.resolve())


def test_stages_of_a_run_are_arrays_where_the_profile_says_so(run, root, slurm, tmp_path):
    """At most one task per shard; a stage goes on when one task of the array before it is done."""
    profile = ClusterProfile(array=16, stages={"reconstruct": {"array": 2}})
    jobs = submit(run, profile, root / "slurm")
    assert list(jobs) == list(RUN_STAGES)
    after = [call[-2 if len(call) < 6 else -3] for call in slurm.calls("sbatch")[1:]]
    any_of = {name: "?".join(f"afterok:{jobs[name]}_{i}" for i in range(n)) for name, n in TASKS.items()}
    wanted = [f"afterok:{jobs['images']}", *any_of.values()]
    assert [option.removeprefix("--dependency=") for option in after] == wanted
    scripts = render(run, profile, root / "slurm")
    for stage, script in scripts.items():
        assert (f"#SBATCH --array=0-{TASKS.get(stage, 0) - 1}\n" in script) == (stage in TASKS)
        assert (f" --shared --stage {stage} --world-size" in script) == (stage in TASKS)
        (tmp_path / stage).write_text(script)
        _shellcheck(tmp_path / stage)
        assert _run_directory_in(script) == str(run.path.resolve())


TASKS = {"attractors": 10, "dictionary": 16, "reconstruct": 2}
"""Of 10 shards and 40 starts."""


@pytest.mark.parametrize("trained", [True, False])
def test_the_stages_of_an_experiment_are_chained_and_its_ranks_share_the_scores(root, slurm, tmp_path, trained):
    (tmp_path / "own.py").write_text("")
    settings = (
        OOD_SETTINGS
        if trained
        else {
            **OOD_SETTINGS,
            "train": None,
            "model": {"source": f"python:{tmp_path}/own.py:load"},
        }
    )
    ood = OodDirectory.create(tmp_path / ODD, parse_ood_config(settings))
    wide = ClusterProfile(nodes=2, gpus_per_task=1, stages={"images": {"nodes": 1}})
    jobs = submit(ood, wide, root / "slurm")
    stages = ["images", "attractors", "scores", "report"]
    assert list(jobs) == stages
    for before, call in zip(jobs.values(), slurm.calls("sbatch")[1:], strict=False):
        assert f"--dependency=afterok:{before}" in call
    scripts = render(ood, wide, root / "slurm")
    for stage, script in scripts.items():
        assert f"--stage {stage} " in script
        assert "--array" not in script
        assert script.count(" --trust-code &") == (not trained)  # who submits has named the model's code
        (tmp_path / stage).write_text(script)
        _shellcheck(tmp_path / stage)
        assert _run_directory_in(script) == str(ood.path.resolve())
    assert ["--gpus-per-task=1" in scripts[stage] for stage in stages] == [False, True, True, False]
    assert ["--nodes=2" in scripts[stage] for stage in stages] == [False, True, True, True]
    slurm.queue(f"{jobs['images']}|COMPLETED|None", f"{jobs['attractors']}|RUNNING|None")
    shown = [(stage.name, stage.slurm) for stage in read_status(ood.path).stages]
    assert shown[:2] == [("images", "COMPLETED"), ("attractors", "RUNNING")]
    assert cancel(ood.path) == [jobs["attractors"]]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("COMPLETED PENDING RUNNING", "RUNNING"),
        ("COMPLETED PENDING FAILED", "PENDING"),
        ("COMPLETED FAILED COMPLETED", "COMPLETED (1 of 3 tasks FAILED)"),
        ("FAILED CANCELLED", "FAILED"),
        ("COMPLETED COMPLETED", "COMPLETED"),
    ],
)
def test_an_array_is_as_its_most_telling_task(study, profile, root, slurm, tasks, said):
    jobs = submit(study, profile, root / "slurm")
    slurm.queue(*(f"{jobs['models']}|{state}|None" for state in tasks.split()))
    assert [stage.slurm for stage in read_status(study.path).stages] == ["gone from the queue", said, None]
    assert cancel(study.path) == ([jobs["models"]] if said in ("RUNNING", "PENDING") else [])


REFUSALS = [
    ("invalid partition specified: gpuu", "invalid partition specified: gpuu"),
    ("Batch job submission failed: Invalid account or account/partition combination", "Invalid account"),
    ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "time limit"),
    ("", "it gave no reason"),
]


@pytest.mark.parametrize(("answer", "message"), REFUSALS)
def test_a_refusal_is_told_in_slurms_words(run, profile, root, slurm, answer, message):
    slurm.does("sbatch", f"print('sbatch: error: ' + {answer!r} if {answer!r} else '', file=sys.stderr); sys.exit(1)")
    with pytest.raises(UserError, match=message):
        submit(run, profile, root / "slurm")
    assert not (run.path / "slurm" / "jobs.json").exists()


def test_a_refusal_halfway_leaves_nothing_in_the_queue(run, profile, root, slurm):
    slurm.does("sbatch", "sys.exit('limit of submitted jobs') if number > 3 else print(100 + number)")
    with pytest.raises(UserError, match="limit of submitted jobs"):
        submit(run, profile, root / "slurm")
    accepted = len(slurm.calls("sbatch")) - 1
    assert accepted >= 2
    assert len(slurm.calls("scancel")[0]) == accepted


def test_a_scheduler_that_hangs(run, profile, root, slurm, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE", 0.5)
    slurm.does("sbatch", "time.sleep(60)")
    with pytest.raises(Failure, match="sbatch did not answer within"):
        submit(run, profile, root / "slurm")
    slurm.does("squeue", "time.sleep(60)")
    (run.path / "slurm" / "jobs.json").write_text('{"jobs": {"images": "7"}}')
    with pytest.raises(Failure, match="squeue did not answer"):
        submit(run, profile, root / "slurm")
    assert read_status(run.path).slurm.startswith("squeue did not answer")


def test_no_slurm_here(run, profile, root, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch is not on this machine"):
        submit(run, profile, root / "slurm")
    assert read_status(run.path).state == "new"


def test_a_run_is_in_the_queue_once(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(f"{jobs['images']}|RUNNING|None", f"{jobs['attractors']}|PENDING|Dependency", "9|RUNNING|None")
    with pytest.raises(UserError, match="has jobs in the queue"):
        submit(run, profile, root / "slurm")
    assert cancel(run.path) == [jobs["images"], jobs["attractors"]]
    assert slurm.calls("scancel") == [[jobs["images"], jobs["attractors"]]]
    slurm.queue(f"{jobs['images']}|CANCELLED|None", f"{jobs['attractors']}|CANCELLED|Dependency")
    assert cancel(run.path) == []
    assert submit(run, profile, root / "slurm") != jobs


def test_a_job_that_a_killed_submission_left_behind_is_found_by_its_script(run, profile, root, slurm):
    (run.path / "slurm").mkdir()
    script = f"{run.path.resolve()}/slurm/0-images.sbatch"
    slurm.queue(f"7|RUNNING|None|{script}", "8|RUNNING|None|/other/slurm/0-images.sbatch", f"6|COMPLETED|None|{script}")
    with pytest.raises(UserError, match=r"has jobs in the queue \(7\)"):
        submit(run, profile, root / "slurm")
    assert cancel(run.path) == ["7"]
    assert slurm.calls("scancel") == [["7"]]


def test_cancel_without_jobs_and_with_a_dead_controller(run, slurm, profile, root):
    with pytest.raises(UserError, match="was not submitted"):
        cancel(run.path)
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(f"{jobs['images']}|RUNNING|None")
    slurm.does("scancel", "sys.exit('scancel: error: Unable to contact slurm controller')")
    with pytest.raises(Failure, match="Unable to contact slurm controller"):
        cancel(run.path)
    slurm.does("scancel", "sys.exit('scancel: error: Kill job error on job id 100: Invalid job id specified')")
    assert cancel(run.path) == [jobs["images"]]  # it ended in the meantime


def test_status_names_what_slurm_says(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(
        f"{jobs['images']}|COMPLETED|None",
        f"{jobs['attractors']}|FAILED|NonZeroExitCode",
        f"{jobs['dictionary']}|PENDING|DependencyNeverSatisfied",
        f"{jobs['reconstruct']}|TIMEOUT|TimeLimit",
    )
    now = read_status(run.path)
    assert [stage.slurm for stage in now.stages] == [
        "COMPLETED",
        "FAILED (NonZeroExitCode)",
        "PENDING (DependencyNeverSatisfied)",
        "TIMEOUT (TimeLimit)",
        "gone from the queue",
    ]
    assert now.state == "queued"
    slurm.does("squeue", "sys.exit('slurm_load_jobs error: Unable to contact slurm controller')")
    now = read_status(run.path)
    assert [stage.slurm for stage in now.stages] == [None] * 5
    assert now.slurm == "squeue failed: slurm_load_jobs error: Unable to contact slurm controller"


def test_scripts_are_bash_whatever_the_path(run, root, tmp_path):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "stage.sbatch.j2").write_text((root / "slurm" / "stage.sbatch.j2").read_text())
    full = {
        "account": "my_account",
        "modules": ["cuda/12.4"],
        "setup": ["source 'my env/bin/activate'"],
        "environment": {"TOKEN_FILE": "it's here", "A": "$(rm -rf /)"},
        "options": ["--constraint=h100"],
        "stages": {"attractors": {"nodes": 4, "gpus_per_task": 1}},
    }
    (tmp_path / "slurm" / "own.yaml").write_text(yaml.safe_dump(full))
    for file in (root / "slurm" / "example.yaml", tmp_path / "slurm" / "own.yaml"):
        for stage, script in render(run, load_profile(file), file.parent).items():
            path = tmp_path / f"{stage}.sbatch"
            path.write_text(script)
            assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
            _shellcheck(path)
            assert _run_directory_in(script) == str(run.path.resolve())
    _shellcheck(root / "tests" / "jobs" / "cluster.sh")
    assert "#SBATCH --nodes=4" in render(run, load_profile(file), file.parent)["attractors"]
    assert "#SBATCH --nodes=1" in render(run, load_profile(file), file.parent)["report"]
    assert "export A='$(rm -rf /)'" in script


def test_a_profile_anywhere_is_served_by_the_shipped_template(tmp_path, run, root, profile):
    """Alone in a folder, and from a package without `slurm/`; one file, which a profile's own replaces."""
    (tmp_path / "c.yaml").write_text((root / "slurm" / "example.yaml").read_text())
    assert render(run, load_profile(tmp_path / "c.yaml"), tmp_path) == render(run, profile, root / "slurm")
    assert (root / "slurm" / "stage.sbatch.j2").samefile(root / "jobs" / "slurm" / "stage.sbatch.j2")
    (tmp_path / "stage.sbatch.j2").write_text("# mine")
    assert set(render(run, load_profile(tmp_path / "c.yaml"), tmp_path).values()) == {"# mine"}


HOSTILE = (
    "gpu\ntouch {}",
    "gpu$(touch {})",
    "gpu;touch {}",
    "`touch {}`",
    "gpu' touch {} '",
    "a\r\ntouch {}",
    "--x {}",
)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["partition", "account", "qos", "memory", "time", "modules", "options", "python"])
def test_no_value_of_a_profile_is_executed(tmp_path, run, key, value):
    """It is refused, or is a word of the script, which is run here with commands of Slurm's that do nothing."""
    trap = tmp_path / "executed"
    text = value.format(trap)
    content = {key: [f"--comment={text}" if key == "options" else text] if key in ("modules", "options") else text}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with suppress(UserError):
        _run_script(render(run, load_profile(tmp_path / "c.yaml"), tmp_path)["report"])
    assert not trap.exists()


def _run_script(script: str, **environment: str) -> list[str]:
    """What srun is called with, and what the script says, where Slurm does nothing."""
    fakes = (
        'srun() { printf "%s\\n" "$@"; }; squeue() { :; }; module() { printf "module %s\\n" "$*"; }; export -f srun\n'
    )
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", **environment}
    done = subprocess.run(["bash"], input=fakes + script, capture_output=True, text=True, env=env, timeout=20)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.splitlines()


def test_setup_may_use_variables_that_are_not_set_and_tasks_get_the_environment(tmp_path, run):
    setup = ['echo "hook of $CONDA_DEFAULT_ENV and $PS1"', "false", "set -e", "export FROM_SETUP=yes"]
    settings = {"setup": setup, "modules": ["cuda/12.4  gcc/13"], "environment": {"A": "it's\n$(b)"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    script = render(run, load_profile(tmp_path / "c.yaml"), tmp_path)["report"]
    said = _run_script(script, MASTER_ADDR="left.over", RANK="3")
    assert said[:2] == ["module load cuda/12.4 gcc/13", "hook of  and "]
    assert "--export=ALL" in said  # else `sbatch --export=NONE` is handed on to the tasks
    shown = script.replace("\nsrun ", '\nprintf "%s|" "$A" "$FROM_SETUP" "${MASTER_ADDR-}" "${RANK-}"\nsrun ')
    assert "it's\n$(b)|yes|||" in "\n".join(_run_script(shown, MASTER_ADDR="left.over", RANK="3"))


@pytest.mark.parametrize(
    ("answer", "job"),
    [
        ("2026 maintenance!\n4711\n", "4711"),
        ("Welcome.\nYour project has used 30 % of its budget.\n12;federated\n", "12"),
        ("7\nhave a nice day\n", "7"),
        ("  8  \n", "8"),
    ],
)
def test_whatever_a_site_prints_besides_a_job_id(run, profile, root, slurm, answer, job):
    slurm.does("sbatch", f"print({answer!r}, end='')")
    assert set(submit(run, profile, root / "slurm").values()) == {job}
    assert f"--dependency=afterok:{job}" in slurm.calls("sbatch")[1]


@pytest.mark.parametrize("answer", ["", "Submitted batch job", "Welcome to the cluster\n"])
def test_a_job_that_has_no_number_is_told_how_to_find(run, profile, root, slurm, answer):
    slurm.does("sbatch", f"print({answer!r} if number else 100)")
    with pytest.raises(Failure, match=r"no job id, but .*`squeue --me --name=probe-attractors`"):
        submit(run, profile, root / "slurm")
    assert slurm.calls("scancel") == [["100"]]
    assert not (run.path / "slurm" / "jobs.json").exists()


FINAL = """BOOT_FAIL CANCELLED COMPLETED DEADLINE EXPIRED FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED
RECONFIG_FAIL REVOKED TIMEOUT"""


@pytest.mark.parametrize("state", FINAL.split())
def test_final_states_are_final(run, profile, root, slurm, state):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue("Welcome to squeue", *(f"{job}|{state}|None" for job in jobs.values()))
    assert read_status(run.path).state == "new"
    assert cancel(run.path) == []
    assert submit(run, profile, root / "slurm") != jobs


@pytest.mark.parametrize("state", ["PENDING", "SUSPENDED", "REQUEUE_HOLD", "SPECIAL_EXIT", "STAGE_OUT", "A_NEW_ONE"])
def test_all_other_states_are_in_the_queue(run, profile, root, slurm, monkeypatch, state):
    jobs = submit(run, profile, root / "slurm")
    monkeypatch.setenv("SQUEUE_PARTITION", "other")  # of the user's own habits
    slurm.does("squeue", f"import os; 'SQUEUE_PARTITION' in os.environ or print('{jobs['images']}|{state}|None')")
    assert read_status(run.path).state == "queued"
    assert cancel(run.path) == [jobs["images"]]


def test_scancel_is_missing_where_squeue_is_not(run, profile, root, slurm, monkeypatch):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(f"{jobs['images']}|RUNNING|None")
    (slurm.folder / "scancel").unlink()
    monkeypatch.setenv("PATH", str(slurm.folder))
    with pytest.raises(UserError, match=f"run `scancel {jobs['images']}` on a login node"):
        cancel(run.path)


@pytest.mark.parametrize("name", ["-x", "new\nline", "tab\tand 'quote'", 'back`tick` "$(x)"', "Ünïcödé 画像"])
def test_paths_of_all_kinds_reach_the_worker(own, tmp_path, profile, root, slurm, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(Path(name), load_config(own))
    submit(run, profile, root / "slurm")
    for call in slurm.calls("sbatch"):
        assert Path(call[-1]).is_absolute()  # a dash at the beginning would be an option
    script = render(run, profile, root / "slurm")["report"]
    assert "\n".join(["jobs.worker", str(run.path.resolve()), "--stage", "report"]) in "\n".join(_run_script(script))


def test_a_path_that_is_none_for_slurm_is_refused(own, tmp_path, profile, root, slurm):
    run = RunDirectory.create(tmp_path / "back\\slash", load_config(own))
    with pytest.raises(UserError, match="backslash"):
        submit(run, profile, root / "slurm")
    assert slurm.calls("sbatch") == []


def _shellcheck(path: Path) -> None:
    try:
        # SC1091: files of the cluster cannot be followed. SC2016: there may be a dollar in a path.
        command = ["shellcheck", "--exclude=SC1091,SC2016", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        if os.environ.get("PROBE_REQUIRE_SLURM"):
            pytest.fail("shellcheck is not installed; `make debian` installs it")
        pytest.skip("shellcheck is not installed; `make debian` installs it")
    assert done.stdout == ""


def _run_directory_in(script: str) -> str:
    """What bash hands to the worker, in the words of bash: srun is replaced by a function that prints."""
    command = next(line for line in script.splitlines() if line.startswith("srun")).removesuffix("&")
    words = f'srun() {{ printf "%s\\0" "$@"; }}; SLURM_NTASKS=1; {command}'
    said = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True).stdout.split("\0")
    return said[said.index("jobs.worker") + 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"partitoin": "gpu"}, "^cluster profile .*c.yaml: .*did you mean 'partition'"),
        ({"model": {}, "seeds": {}}, "c.yaml is no cluster profile: .* slurm/example.yaml shows one"),
        ({"stages": {"attractor": {}}}, "there is no stage 'attractor'"),
        ({"stages": {"report": {"tme": 1}}}, "did you mean 'time'"),
        ({"nodes": 0}, "greater than or equal to 1"),
        ({"options": ["constraint=h100"]}, "is no option of sbatch"),
        ({"options": ["--comment='half"]}, "is no option of sbatch"),
        ({"options": ["--comment=a\nb"]}, "is no option of sbatch"),
        ({"environment": {"A B": "c"}}, "is no name of an environment variable"),
        ({"environment": {"É": "c"}}, "is no name of an environment variable"),
        ({"environment": {"A": "\0"}}, "NUL"),
        ({"partition": "gpu; rm"}, "without spaces"),
        ({"memory": "64 gigabytes"}, "a size such as 64G"),
        ({"time": "tomorrow"}, "days-hours:minutes:seconds"),
        ({"stages": {"models": {"account": "a\nb"}}}, "without spaces"),
        ({"python": "-c"}, "the path of an interpreter"),
    ],
)
def test_mistakes_in_a_profile(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=message):
        load_profile(tmp_path / "c.yaml")


def test_mistakes_in_a_template(tmp_path, run):
    (tmp_path / "c.yaml").write_text("{partition: gpu, template: mine.j2}")
    with pytest.raises(UserError, match=r"template 'mine\.j2' is not in .*leave out `template`"):
        render(run, load_profile(tmp_path / "c.yaml"), tmp_path)
    for content, reason in (
        (b"{{ 1 / 0 }}", "division by zero"),
        (b"\xff", "codec can't decode"),
        (b"{% if %}", "Exp"),
    ):
        (tmp_path / "mine.j2").write_bytes(content)
        with pytest.raises(UserError, match=f"template mine.j2 .* is wrong: .*{reason}"):
            render(run, load_profile(tmp_path / "c.yaml"), tmp_path)
    (tmp_path / "c.yaml").write_text("partition: gpu")
    (tmp_path / "stage.sbatch.j2").write_text("{{ gpus }}")
    with pytest.raises(UserError, match="'gpus' is undefined"):
        render(run, load_profile(tmp_path / "c.yaml"), tmp_path)


def test_a_profile_takes_paths_of_module_files_and_homes_and_no_digits_of_other_scripts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    path = tmp_path / "cluster.yaml"
    path.write_text("modules: [/apps/modulefiles/cuda gcc/13]\npython: ~/venv/bin/python\n")
    profile = load_profile(path)
    assert profile.modules == ("/apps/modulefiles/cuda gcc/13",)
    assert profile.python == "/home/someone/venv/bin/python"
    for key, value in (("time", "\u0661\u0662"), ("memory", "\uff16\uff14G"), ("modules", "[/a$b]")):
        path.write_text(f"{key}: {value}\n", encoding="utf-8")
        with pytest.raises(UserError, match=key):
            load_profile(path)
