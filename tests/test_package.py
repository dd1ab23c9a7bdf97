"""What is installed: a package without extras is enough for the quickstart, and it is small."""

import io
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
QUICKSTART = """
import sys
sys.path.append(sys.argv[1])
from probe.cli.main import main
small = ["seeds.count=8", "solver.max_steps=10", "solver.exponents=0", "solver.certificates=1", "sparse.levels=[4]",
         "datasets={digits: {n: 4, holdout: 8}}"]
status = main(["run", "quickstart", *(word for one in small for word in ("--set", one))])
print(sorted(name for name in sys.modules if "." not in name))
sys.exit(status)
"""


def needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """The distributions that one needs, itself included, by their names in lower case with ``-``."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        one, wanted = waiting.pop()
        try:
            requirements = distribution(one).requires or []
        except PackageNotFoundError:
            continue
        if normal(one) in found and not wanted:
            continue
        found.add(normal(one))
        for requirement in map(Requirement, requirements):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def linked(names: set[str], folder: Path) -> set[str]:
    """Link everything that these distributions installed into a folder; returns the modules of all others."""
    others: set[str] = set()
    for one in distributions():
        tops = {path.parts[0] for path in one.files or () if path.parts[0] not in ("..", "__pycache__")}
        if normal(one.name) not in names:
            others |= {top.removesuffix(".py") for top in tops if "-info" not in top and not top.startswith("_")}
        elif normal(one.name) != "latent-probe":
            for top in tops:
                if not (folder / top).exists():
                    (folder / top).symlink_to(Path(str(one.locate_file(top))).resolve())
    return others


def test_the_quickstart_needs_no_extra(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    core = needed("latent-probe")
    assert {"torch", "diffusers", "typer"} <= core
    others = linked(core, site)
    assert {"open_clip", "torch_fidelity", "transformers", "fastapi", "tensorboard", "pytest"} <= others
    done = subprocess.run(
        [sys.executable, "-S", "-c", QUICKSTART, str(site)],  # -S: without the packages of this environment
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "quickstart" / "report" / "report.html").is_file()
    assert "random orthogonal" in done.stdout
    assert not others & set(re.findall(r"'(\w+)'", done.stdout.splitlines()[-1]))


def test_the_files_of_the_package_are_below_4_mb():
    """As in a wheel; ``.ci/install`` builds the wheel itself, and looks for the configurations in it."""
    listed = subprocess.run(["git", "ls-files", "probe", "jobs", "configs"], cwd=ROOT, capture_output=True, text=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                archive.write(ROOT / name, name)
    assert 1e6 < len(buffer.getvalue()) < 4e6


@pytest.mark.parametrize("name", ["SECURITY.md", "CITATION.cff", "LICENSE"])
def test_files_that_a_repository_has_are_there(name):
    assert (ROOT / name).read_text().strip()


def test_hooks_before_a_commit_are_those_of_make_lint():
    import yaml

    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = {hook["entry"].removesuffix(" --force-exclude").split("/", 2)[2] for hook in local["hooks"]}
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert entries == {line.removesuffix(" .") for line in re.findall(r"\$\(BIN\)/(.*)", lint)}
