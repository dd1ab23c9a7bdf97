"""Commands, configurations and Python in README and docs exist as they are written there."""

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from probe.cli import remote
from probe.config import parse_yaml
from tests.docs.conftest import ROOT, pages

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(file: Path, *languages: str) -> list[str]:
    return [text for _, language, text in FENCE.findall(file.read_text()) if language in languages]


def command_lines() -> list[tuple[str, str]]:
    """(page, line) of every line of shell that calls ``probe``, or ``jobs.worker``, continued lines joined."""
    found = []
    for file in pages():
        for text in blocks(file, "sh", "bash", "console"):
            for line in text.replace("\\\n", " ").splitlines():
                if re.search(r"(?:^|=\S* )probe |-m (?:jobs\.worker|probe\.cli\.main) ", line.strip()):
                    found.append((str(file.relative_to(ROOT)), line.strip()))
    return found


def words(line: str) -> list[str]:
    """The words of a command after ``probe``, without comment and redirection."""
    given = shlex.split(line, comments=True)
    start = next(i for i, word in enumerate(given) if word in ("probe", "jobs.worker", "probe.cli.main"))
    given = ["run", *given[start + 1 :]] if given[start] == "jobs.worker" else given[start + 1 :]
    return given[: given.index(">")] if ">" in given else given


@pytest.fixture(scope="module")
def tree() -> Any:
    from probe.cli import main

    return get_command(main.app)


def test_there_are_many_commands():
    assert len(command_lines()) > 50


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_exists_with_its_options_and_its_configuration(tree: Any, page: str, line: str):
    given = words(line)
    command = tree
    if given[:1] == ["--server"]:
        command, given = get_command(remote.app), given[2:]
        if given == ["--help"]:
            return
    while hasattr(command, "commands") and (given or not command.invoke_without_command):
        name = given.pop(0)
        assert name in command.commands, f"{page}: there is no `probe {name}`"
        command = command.commands[name]
    options = {flag: option for option in command.params for flag in option.opts if flag.startswith("-")}
    arguments, values = [], []
    while given:
        word = given.pop(0)
        if not word.startswith("--"):
            arguments.append(word)
            continue
        assert word in options, f"{page}: `{command.name}` has no {word}"
        if not options[word].is_flag:
            assert given, f"{page}: {word} has no value in {line}"
            values.append((word, given.pop(0)))
    takes = [p for p in command.params if p.param_type_name == "argument"]
    assert len(arguments) >= sum(p.required for p in takes), f"{page}: too few arguments in {line}"
    assert len(arguments) <= len(takes) or takes[-1].nargs == -1, f"{page}: too many arguments in {line}"
    for word in [*arguments, *(value for _, value in values)]:
        if word.startswith(("configs/", "slurm/")):
            assert (ROOT / word).is_file(), f"{page}: there is no {word}"
    for flag, value in values:
        if flag == "--set":
            key, equals, text = value.partition("=")
            assert equals, f"{page}: --set {value}"
            parse_yaml(text, value)
            assert _known(key), f"{page}: there is no configuration key {key}"


def _known(key: str) -> bool:
    """Whether the dotted key exists in the configuration of any kind of work."""
    from probe.configuration import keys

    pattern = re.compile(r"(datasets|outside)\.[^.]+")
    wanted = pattern.sub(r"\1.NAME", key)
    return any(one.key == wanted or one.key.startswith(f"{wanted}.") for one in keys())


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_make_targets_that_a_page_names_exist(page: Path):
    text = page.read_text()
    for name in re.findall(r"`?((?:configs|slurm)/[\w./]+?\.(?:yaml|j2))", text):
        assert (ROOT / name).is_file(), f"there is no {name}"
    for name in re.findall(r"`((?:probe|jobs|tests|docs)/[\w/]+\.(?:py|yaml|sh|md))`", text):
        if RUN_BY_THEIR_OWN_TESTS in page.name and name.startswith("probe/"):
            continue  # a file that the reader is to write
        assert (ROOT / name).is_file(), f"there is no {name}"
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE):
        assert name in targets, f"there is no `make {name}`"


RUN_BY_THEIR_OWN_TESTS = "recipe"
"""Pages of recipes hold parts of files, too; tests of their own run them."""


@pytest.mark.parametrize(
    "page",
    [page for page in pages() if not page.name.startswith(RUN_BY_THEIR_OWN_TESTS)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_python_parses_and_uses_names_that_exist(page: Path):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("probe", "jobs"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "probe":
                assert hasattr(importlib.import_module("probe"), node.attr), f"probe has no {node.attr}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_yaml_parses(page: Path):
    for text in blocks(page, "yaml"):
        yaml.safe_load(text)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_links_of_the_readme_lead_to_files():
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{file.name}: {link}"
