"""The command line as a process: statuses, streams, sentences."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from probe.cli.main import app
from probe.cli.work import read_settings
from probe.config import parse_config

from ..processes import completed

pytestmark = pytest.mark.usefixtures("undrawn")


def probe(*arguments: str, cwd=None) -> subprocess.CompletedProcess[str]:
    return completed("probe.cli.main", *arguments, cwd=cwd)


@pytest.fixture
def config(tiny_vae, tmp_path):
    file = tmp_path / "small.yaml"
    settings = {
        "model": {"source": str(tiny_vae)},
        "resolution": 16,
        "seeds": {"count": 6},
        "solver": {"max_steps": 5, "exponents": 0},
        "sparse": {"levels": [2]},
        "datasets": {"digits": {"n": 4, "holdout": 2}},
    }
    file.write_text(yaml.safe_dump(settings))
    return file


def test_run_and_stages(config, tmp_path):
    out = tmp_path / "run"
    done = probe("run", str(config), "--out", str(out), "--set", "seeds.count=7", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solver"]["n"] == 7
    assert "attractors: 7 starts" in done.stderr
    other = probe("run", str(config), "--out", str(out))
    assert (other.returncode, other.stderr.count("holds another run")) == (2, 1)
    assert not (out / "error.json").exists()
    table = probe("report", str(out))
    assert "digits" in table.stdout
    assert sum(json.loads(probe("attractors", str(out), "--json").stdout).values()) == 7
    assert json.loads(probe("reconstruct", str(out), "--json").stdout) == {"digits": 4}
    assert int(json.loads(probe("dictionary", str(out), "--json").stdout)["atoms"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "name a CONFIG"),
        (["run", "absent.yaml"], "absent.yaml cannot be read: No such file"),
        (["study", "absent.yaml"], "absent.yaml cannot be read: No such file"),
        (["study", "CONFIG"], "is the configuration of a run: use `probe run "),
        (["study", "CONFIG", "--sharde"], "No such option"),
        (["run", "CONFIG", "--set", "solver.max_stps=3"], "did you mean 'max_steps'"),
        (["run", "CONFIG", "--set", "solver.max_steps=soon"], "valid integer"),
        (["run", "CONFIG", "--set", "resolution=17"], "not divisible by 4"),
        (["run", "CONFIG", "--set", "datasets.digits.source=parquet:absent.parquet"], "absent.parquet"),
        (["run", "CONFIG", "--set", "datasets.digits.source=folder:."], "holds no image files"),
        (["run", "CONFIG", "--set", "datasets={digit: {}}"], "digits"),
        (["run", "CONFIG", "--set", "model.source=nobody/nothing"], "HF_HUB_OFFLINE is set"),
        (["attractors", "."], "is not the directory of a run"),
        (["attract", "."], "No such command"),
        (["run", "CONFIG", "--ouT", "x"], "No such option"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(config, tmp_path, arguments, message):
    work = tmp_path / "work"
    work.mkdir()
    done = probe(*(str(config) if a == "CONFIG" else a for a in arguments), cwd=work)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert message.lower() in done.stderr.lower()
    assert done.stdout == ""


def test_a_model_is_enough_and_the_bundled_data_sets_are_taken(tiny_vae):
    settings = parse_config(read_settings("run", None, [f"model.source={tiny_vae}", "resolution=16"]))
    assert settings.model.source == str(tiny_vae)
    assert list(settings.datasets) == ["photographs", "histology", "retina", "astronomy", "textures", "digits"]
    assert not parse_config(read_settings("run", None, ["datasets={}"])).datasets


def test_a_probe_needs_no_data_sets(config, tmp_path):
    file = tmp_path / "bare.yaml"
    settings = yaml.safe_load(config.read_text())
    file.write_text(yaml.safe_dump({**settings, "datasets": {}}))
    # Python itself, from its first import on.
    command = [sys.executable, "-m", "probe.cli.main", "run", str(file), "--out", str(tmp_path / "bare")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Of 6 starts" in done.stdout


def test_status_watch_and_cancel(config, tmp_path):
    out = tmp_path / "run"
    assert probe("run", str(config), "--out", str(out)).returncode == 0
    now = json.loads(probe("status", str(out), "--json").stdout)
    assert (now["state"], {stage["state"] for stage in now["stages"]}) == ("complete", {"complete"})
    watched = probe("status", str(out), "--watch")
    assert watched.returncode == 0
    assert all(stage in watched.stdout for stage in ("images", "attractors", "dictionary", "reconstruct", "report"))
    done = probe("cancel", str(out))
    assert (done.returncode, "was not submitted" in done.stderr) == (2, True)


def test_images_of_a_config_begin_the_run(config, tmp_path):
    out = tmp_path / "run"
    begin = ["images", str(config), "--out", str(out), "--set", "seeds.count=5", "--json"]
    done = probe(*begin)
    assert (done.returncode, json.loads(done.stdout or "{}")) == (0, {"digits": 4}), done.stderr
    assert json.loads(probe("images", str(out), "--json").stdout) == {"digits": 4}
    whole = probe("run", str(config), "--out", str(out), "--set", "seeds.count=5", "--json")
    assert json.loads(whole.stdout)["solver"]["n"] == 5, whole.stderr
    fixed = probe("images", str(out), "--set", "seeds.count=6")
    assert (fixed.returncode, "its configuration is fixed" in fixed.stderr) == (2, True)
    for key, message in (("study: bottleneck", "'datasets' is missing"), ("inside: {}", "'inside.train' is missing")):
        other = tmp_path / "other.yaml"
        other.write_text(key)
        refused = probe("images", str(other), cwd=tmp_path)
        assert (refused.returncode, message in refused.stderr) == (2, True), refused.stderr


def test_a_dry_run_prints_the_scripts_and_leaves_nothing(config, tmp_path, root):
    out = tmp_path / "run"
    arguments = [
        "submit",
        str(config),
        "--cluster",
        str(root / "slurm" / "example.yaml"),
        "--out",
        str(out),
        "--dry-run",
    ]
    scripts = json.loads(probe(*arguments, "--json").stdout)
    assert list(scripts) == ["images", "attractors", "dictionary", "reconstruct", "report"]
    assert probe(*arguments).stdout == "".join(script + "\n" for script in scripts.values())
    assert not out.exists()


def test_doctor_says_what_a_model_is(tiny_vae):
    done = probe("doctor", "--model", str(tiny_vae), "--set", "resolution=16", "--json")
    found = json.loads(done.stdout)
    assert (found["class"], found["latent_shape"], found["d"]) == ("AutoencoderKL", [4, 4, 4], 64)
    assert found["flops_per_step"] > 0
    bad = probe("doctor", "--model", str(tiny_vae), "--set", "resolution=17")
    assert (bad.returncode, bad.stdout, "not divisible by 4" in bad.stderr) == (2, "", True)


def test_help_groups_commands_in_lines_that_are_whole():
    done = probe("--help")
    lines = done.stdout.splitlines()
    panels = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert panels == ["Options:", "Probe:", "Study:", "Analyse:", "Check:", "Jobs:", "Models:", "Reports:", "Serve:"]
    rows = [line.split(None, 1) for line in lines[lines.index("Probe:") :] if line.startswith("  ")]
    assert {name for name, _ in rows} == {command.name for command in app.registered_commands} | {"bench", "configs"}
    assert all(text.endswith(".") and "..." not in text for _, text in rows)
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("command", "instead"),
    [("contraction", "probe study study_contraction"), ("convergence", "probe theory runs/convergence")],
)
def test_removed_commands_say_what_to_run_instead(command, instead):
    for more in ([], ["x", "--out", "y"], ["--help"]):
        done = probe(command, *more)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert instead in done.stderr


def test_completion_writes_to_stdout_and_ends_well():
    command = [sys.executable, "-c", "import sys; from probe.cli.main import main; sys.exit(main())"]
    setting = {**os.environ, "_PROBE_COMPLETE": "complete_bash", "COMP_WORDS": "probe rec", "COMP_CWORD": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=setting, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["reconstruct"], "")
    source = subprocess.run(command, capture_output=True, text=True, check=False,
                            env={**os.environ, "_PROBE_COMPLETE": "source_bash"})  # fmt: skip
    assert (source.returncode, source.stderr) == (0, "")
    assert "complete" in source.stdout
    assert "_PROBE_COMPLETE=complete_bash" in source.stdout


def test_help_needs_no_torch():
    script = "import sys, probe.cli.main; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
