"""An entry that the manifest of an OOD experiment lacks is named in one sentence."""

import json
import shutil
from pathlib import Path

import pytest

from probe.errors import UserError
from probe.report.ood import write_ood_report

FINISHED = Path(__file__).parents[2] / "jobs" / "finished" / "ood"


@pytest.mark.parametrize(
    "entry", ["data.test.n_used", "data.test.sha256", "data.noise.source.source", "data.noise", "model.class"]
)
def test_what_the_manifest_lacks_is_named(tmp_path: Path, entry: str):
    folder = Path(shutil.copytree(FINISHED, tmp_path / "ood"))
    manifest = json.loads((folder / "manifest.json").read_text())
    *path, last = entry.split(".")
    inner = manifest
    for key in path:
        inner = inner[key]
    del inner[last]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=last):
        write_ood_report(folder)
