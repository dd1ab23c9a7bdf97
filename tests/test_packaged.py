"""The configurations in the package: their names, what a CONFIG stands for, and that every command takes them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from probe import UserError, packaged
from probe.cli.main import main
from probe.client import Client, _body, _file
from probe.configuration import models
from probe.kinds import kind_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory away from the repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def status(*arguments: str) -> int:
    """The exit status of a command; typer ends one that did its work by SystemExit."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)


def tracked() -> set[str]:
    """The names of the files in configs/ that git knows."""
    listed = subprocess.run(["git", "ls-files", "configs"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {line.removeprefix("configs/").removesuffix(".yaml") for line in listed.stdout.splitlines()}


def test_every_configuration_of_the_repository_has_a_name():
    assert packaged.files().keys() == tracked()
    assert all(os.path.samefile(file, ROOT / "configs" / f"{name}.yaml") for name, file in packaged.files().items())


@pytest.mark.parametrize("name", sorted(packaged.files()))
def test_every_configuration_is_listed_with_a_command_that_reads_it(name):
    (one,) = [one for one in packaged.packaged() if one.name == name]
    text = packaged.text_of(name)
    assert one.about
    assert one.about in " ".join(line.removeprefix("#").strip() for line in text.splitlines())
    assert one.clone == ("../shared" in text or "tests/" in text)
    if name != "embedded":
        from jobs.kinds import kind_named

        kind = kind_of(packaged.files()[name])
        assert one.command in (kind, "bench dynamics")
        kind_named(kind).directory.parse(read(name))
        assert kind in ("study", *models())
    else:
        from probe.autoencoders.embedded.train import TrainConfig
        from probe.config import validated

        validated(TrainConfig, read(name))
        assert one.command == "train-embedded"


def read(name: str):
    from probe.config import read_yaml

    return read_yaml(packaged.given_config(name))


def test_a_path_wins_over_a_name_and_a_name_over_a_folder(elsewhere):
    assert packaged.given_config("quickstart") == packaged.files()["quickstart"]
    (elsewhere / "quickstart").mkdir()  # as `--out quickstart` makes one: the same command must resume
    assert packaged.given_config("quickstart") == packaged.files()["quickstart"]
    assert packaged.given_folder_or_config("quickstart") == packaged.files()["quickstart"]
    (elsewhere / "quickstart" / "config.yaml").write_text("{}")  # now it is a run directory
    assert packaged.given_folder_or_config("quickstart") == Path("quickstart")
    assert packaged.given_config("quickstart") == packaged.files()["quickstart"]
    assert packaged.given_folder_or_config("taesd") == packaged.files()["taesd"]
    (elsewhere / "taesd").write_text("{}")
    assert packaged.given_config("taesd") == Path("taesd")
    assert packaged.given_folder_or_config("taesd") == Path("taesd")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("quikstart", "did you mean 'quickstart'?"),
        ("configs/quickstart.yaml", "did you mean 'quickstart'?"),
        ("configs/leaderboard/sd15.yaml", "did you mean 'leaderboard/sd15'?"),
        ("quickstart.yaml/more", "did you mean 'quickstart'?"),
        ("zzzz", "`probe configs` lists them."),
        ("", "`probe configs` lists them."),
        ("no\x1b[31m", "`probe configs` lists them."),
    ],
)
def test_an_unknown_name_is_one_sentence_with_the_nearest_names(elsewhere, given, hint):
    (elsewhere / "quickstart.yaml").write_text("{}")
    for reader in (packaged.given_config, packaged.given_folder_or_config) if given else ():
        with pytest.raises(UserError) as caught:
            reader(given)
        said = str(caught.value)
        assert said.endswith(hint)
        assert "\n" not in said
        assert "\x1b" not in said
    with pytest.raises(UserError, match=r"there is no configuration '"):
        packaged.text_of(given)


def test_other_mistakes_with_a_path_are_left_to_its_reader(elsewhere):
    assert packaged.given_config("a\0b") == Path("a\0b")
    assert packaged.given_config(".") == Path(".")
    assert packaged.given_config("zzzz.yaml") == Path("zzzz.yaml")


def test_each_configuration_has_a_line_of_100_columns_and_loses_nothing_on_fewer(elsewhere, capsys, monkeypatch):
    assert status("configs") == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    found = packaged.packaged()
    assert [line.split()[0] for line in lines[1:]] == [one.name for one in found]
    assert all(len(line) <= 100 for line in lines)
    assert all(line.endswith(one.about) for line, one in zip(lines[1:], found, strict=True))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    assert status("configs") == 0
    narrow = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(len(line) for line in narrow.splitlines()) <= 70
    assert sorted(narrow.split()) == sorted(" ".join(lines).split())


def test_a_folder_of_configurations_is_printed_and_listed(elsewhere, capsys):
    assert status("configs", "show", "leaderboard/sd15") == 0
    assert capsys.readouterr().out == (ROOT / "configs" / "leaderboard" / "sd15.yaml").read_text()
    assert status("configs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:]} == tracked()
    assert status("configs", "--json") == 0
    assert {one["name"]: one["command"] for one in json.loads(capsys.readouterr().out)}["study_bottleneck"] == "study"
    assert status("configs", "show", "sd15") == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "of"),
    [
        (["run", "study_bottleneck"], "study"),
        (["study", "quickstart"], "run"),
        (["ood", "quickstart"], "run"),
        (["--server", "http://127.0.0.1:9", "run", "study_bottleneck"], "study"),
    ],
)
def test_commands_take_names(elsewhere, capsys, command, of):
    """A configuration of another kind is named as such, so it was found."""
    assert status(*command) == 2
    assert f"use `probe {of} " in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["run", "taesd"],
        ["study", "study_contraction"],
        ["ood", "ood_mnist_small"],
        ["run", "taesd.yaml"],
        ["images", "taesd"],
        ["plan", "taesd"],
        ["submit", "taesd", "--cluster", "slurm.yaml", "--dry-run"],
        ["bench", "dynamics", "bench_conv"],
        ["bench", "certificates", "bench_conv"],
        ["train-embedded", "embedded", "--data", ".", "--out", "trained"],
        ["--server", "http://127.0.0.1:9", "run", "taesd"],
    ],
)
@pytest.mark.parametrize("text", ["[1]", "{resolutoin: 32, study: contraction, inside: 1}"])
def test_a_mistake_in_a_file_that_hides_a_name_says_that_the_file_was_read(elsewhere, capsys, command, text):
    name = next(word for word in command if (ROOT / "configs" / f"{word.removesuffix('.yaml')}.yaml").exists())
    (elsewhere / name).write_text(text)
    (elsewhere / "data_batch_1.png").touch()
    assert status(*command) == 2
    said = capsys.readouterr().err
    assert ("goes before the configuration" in said) == (name != "taesd.yaml")
    assert (str(elsewhere / name) in said) == (name != "taesd.yaml")


def test_a_name_goes_to_runs_of_that_name_and_is_planned_and_submitted(elsewhere, capsys):
    profile = str(ROOT / "slurm" / "example.yaml")
    assert status("submit", "quickstart", "--cluster", profile, "--dry-run") == 0
    assert "runs/quickstart" in capsys.readouterr().out
    assert status("images", "quickstart", "--set", "datasets={digits: {n: 4, holdout: 2}}") == 0
    assert (elsewhere / "runs" / "quickstart" / "config.yaml").is_file()


def test_roundtrip_takes_a_name_of_a_round_trip_and_leaves_other_words_to_models(elsewhere):
    from probe.cli.roundtrip import asked_for

    config, name, _ = asked_for(["roundtrip"], None, None, None)
    assert (config, name) == (packaged.files()["roundtrip"], "roundtrip")
    assert asked_for(["taesd"], None, None, None)[0] is None  # the configuration of a run, and maybe a model
    (elsewhere / "roundtrip").mkdir()
    assert asked_for(["roundtrip"], None, None, None)[0] is None


def test_python_takes_names(elsewhere):
    import probe

    with pytest.raises(UserError, match=r"solver\.max_steps"):  # read, and found wrong
        probe.run("quickstart", solver__max_steps="some")
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        probe.run("quikstart")
    (elsewhere / "quickstart").write_text("{a: 1}")
    with pytest.raises(UserError, match=r"'a' is unknown.* file /.*quickstart, which goes before"):
        probe.run("quickstart")
    with pytest.raises(UserError) as caught:
        probe.run("taesd", a=1)
    assert "goes before" not in str(caught.value)


def test_the_client_reads_a_named_configuration_here(elsewhere):
    assert _body("quickstart") == {"config_yaml": (ROOT / "configs" / "quickstart.yaml").read_text()}
    assert _file("leaderboard/sd15") == packaged.files()["leaderboard/sd15"]
    assert _file("{}") is None
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        Client("http://127.0.0.1:9").submit("quikstart")
