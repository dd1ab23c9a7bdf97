"""Each room of reports can be imported first: no circle is hidden by what happens to be imported before."""

import subprocess
import sys

ROOMS = """
import importlib, os, sys
import matplotlib.figure, numpy, pandas, pyarrow.parquet, pydantic, scipy.stats, torch

assert not [name for name in sys.modules if name.partition(".")[0] in ("probe", "jobs")]
for room in ("run", "study", "ood", "compare", "theory"):
    if not (child := os.fork()):  # each in a process of its own, which need not read the libraries
        importlib.import_module(f"probe.report.{room}")
        sys.exit()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"probe.report.{room}")
"""


def test_each_room_of_reports_is_imported_first():
    done = subprocess.run([sys.executable, "-c", ROOMS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_layout_is_light():
    code = "import sys, probe.results.layout; print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
