"""Each room of reports can be imported first: no circle is hidden by what happens to be imported before."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("room", ["run", "study", "ood", "compare", "theory"])
def test_a_room_of_reports_is_imported_first(room: str):
    done = subprocess.run([sys.executable, "-c", f"import probe.report.{room}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_layout_is_light():
    code = "import sys, probe.results.layout; print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
