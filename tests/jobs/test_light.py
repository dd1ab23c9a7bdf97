"""Looking at directories computes nothing, so it imports none of the libraries that compute."""

import subprocess
import sys
from pathlib import Path

from jobs.doing import DOINGS
from jobs.kinds import KINDS
from probe.report.study.kinds import KINDS as STUDY_KINDS
from probe.studies.sweeps.contraction import backbones
from probe.studies.sweeps.kinds import STUDIES, backbone_names

FINISHED = Path(__file__).parent / "finished"
LOOK = """
import sys
from pathlib import Path

import jobs.slurm.profile
import jobs.slurm.submit
from jobs.kinds import KINDS, kind_of
from jobs.status import read_status
from probe.config import read_yaml
from probe.configuration import example, models

finished, scratch = map(Path, sys.argv[1:])
seen = set()
for name in models():
    file = scratch / f"{name}.yaml"
    file.write_text(example(name))
    kind = kind_of(file)
    settings = kind.directory.parse(read_yaml(file))
    kind.directory.create(scratch / name, settings)
    assert read_status(scratch / name).stages[-1].done == 0
    for stage in kind.stages:
        assert stage.array is None or stage.array(settings) >= 0
    seen.add(kind.name)
assert seen == {kind.name for kind in KINDS}
for folder in (file for file in finished.iterdir() if (file / "manifest.json").exists()):
    assert read_status(folder).stages[-1].name == "report"
    kind_of(folder).directory.open(folder).made_with
heavy = {"torch", "pandas", "diffusers", "transformers", "matplotlib", "scipy"}
print(*sorted(heavy & sys.modules.keys()))
"""


def test_a_status_and_a_new_directory_of_every_kind_need_no_torch(tmp_path):
    command = [sys.executable, "-c", LOOK, str(FINISHED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_what_a_kind_is_and_what_is_done_in_it_name_the_same_stages():
    assert [doing.kind for doing in DOINGS] == [*KINDS]
    for doing in DOINGS:
        names = [stage.name for stage in doing.kind.stages]
        assert [*doing.make] == names
        assert doing.summary.keys() <= {*names}
        assert doing.work.__orig_bases__[0].__args__ == (doing.kind.directory,)


def test_what_a_study_is_asked_and_what_it_measures_name_the_same_kinds():
    assert [kind.name for kind in STUDY_KINDS] == [study.name for study in STUDIES]


def test_the_architectures_of_a_contraction_study_are_known_without_building_one():
    assert backbone_names() == tuple(backbones())
