"""``probe audit``: what it prints, writes, and exits with."""

import json
from pathlib import Path

import pytest
from PIL import Image

from probe.cli.main import app, main
from probe.report.audit.build import few
from probe.report.audit.schema import AuditReport

SOUND = f"python:{Path(__file__).parents[1] / 'studies/audit/fragile.py'}:sound"
BATCH = SOUND.replace(":sound", ":acrossthebatch")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(["audit", *arguments, "--resolution", "16", "--count", "4", "--device", "cpu"])
    except SystemExit as end:  # typer's, after a command that succeeds
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_json_is_the_documented_schema_and_stdout_holds_nothing_else(capsys):
    status, out, _ = run(capsys, SOUND, "--json", "--only", "float32", "--only", "slicing")
    report = AuditReport.model_validate_json(out)
    assert status == 0
    assert [check.name for check in report.checks] == ["float32", "slicing"]
    assert (report.model.class_name, report.model.latent_shape) == ("Sound", [48, 4, 4])
    assert (report.images.resolution, report.images.larger, report.images.count) == (16, 32, 4)
    assert report.verdict == "OK"
    assert report.counts == {"FAIL": 0, "WARN": 0, "OK": 2, "info": 0, "skipped": 1}
    threshold = report.checks[0].findings[0].threshold
    assert threshold
    assert threshold.reason


def test_the_resolution_may_be_a_key(capsys):
    arguments = ["audit", SOUND, "--set", "resolution=16", "--count", "4", "--only", "float32", "--json"]
    app(arguments, standalone_mode=False)
    assert AuditReport.model_validate_json(capsys.readouterr().out).images.resolution == 16


def test_the_table_shows_number_threshold_and_verdict(capsys):
    status, out, _ = run(capsys, BATCH, "--only", "batch")
    assert status == 0
    row = next(line for line in out.splitlines() if "batch" in line and "encode" in line)
    assert "FAIL" in row
    assert "WARN > 0.001, FAIL > 0.03" in row
    assert out.splitlines()[-1] == "FAIL: batch; 0 checks OK."


def test_strict_exits_with_1_and_names_what_fails(capsys):
    status, _, err = run(capsys, BATCH, "--only", "batch", "--strict")
    assert status == 1
    assert "1 of 1 checks fail: batch." in err
    assert run(capsys, SOUND, "--only", "batch", "--strict")[0] == 0


def test_files_of_both_kinds(capsys, tmp_path):
    run(capsys, SOUND, "--only", "batch", "--out", str(tmp_path / "audit.json"))
    assert json.loads((tmp_path / "audit.json").read_text())["verdict"] == "OK"
    run(capsys, SOUND, "--only", "batch", "--out", str(tmp_path / "audit.md"))
    page = (tmp_path / "audit.md").read_text()
    assert page.startswith(f"# Audit of {SOUND}\n")
    assert "| batch | encode | OK |" in page


def test_few_images_are_told(capsys, tmp_path):
    for number in range(2):
        Image.new("RGB", (16, 16), (90 * number, 40, 200)).save(tmp_path / f"{number}.png")
    page = tmp_path / "audit.md"
    _, out, _ = run(capsys, SOUND, "--images", f"folder:{tmp_path}", "--only", "batch", "--out", str(page))
    note = "Of 2 images (4 were asked for): statistics of so few mean little."
    assert out.splitlines()[-2:] == [note, "1 check OK."]
    assert note in page.read_text().splitlines()
    _, out, _ = run(capsys, SOUND, "--only", "batch", "--json")
    images = AuditReport.model_validate_json(out).images
    assert (images.planned, images.note) == (4, "Of 4 images: statistics of so few mean little.")


@pytest.mark.parametrize(
    ("few_of", "says"),
    [((16, 16), ""), ((8, 8), ""), ((9, 16), "9 of 16 images that were asked for were used.")],
)
def test_enough_images_need_no_word(few_of, says):
    assert few(*few_of) == says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "fp16"], "there is no check 'fp16'; the checks are determinism, "),
        (["--set", "model.dtype=float64"], "leave model.dtype out."),
        (["--out", "audit.txt"], "--out audit.txt must end in .json or .md."),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, says):
    status, out, err = run(capsys, SOUND, *arguments)
    assert (status, out) == (2, "")
    assert says in err


def test_a_size_that_the_model_does_not_take(capsys):
    status = main(["audit", SOUND, "--resolution", "18", "--count", "4", "--device", "cpu"])
    assert status == 2
    assert (
        "decodes the latent of an image (1, 3, 18, 18) to (1, 3, 16, 16); decode must return the same height and width:"
        " set --resolution"
    ) in capsys.readouterr().err


GREY = """
import torch

class Own(torch.nn.Module):
    {declared}
    def __init__(self):
        super().__init__()
        self.down, self.up = torch.nn.Conv2d(1, 4, 4, stride=4), torch.nn.ConvTranspose2d(4, 1, 4, stride=4)
    def encode(self, x):
        return self.down(x)
    def decode(self, z):
        return self.up(z)
"""


def test_a_model_of_grey_images_declares_them(capsys, tmp_path):
    (tmp_path / "grey.py").write_text(GREY.format(declared=""))
    status, _, err = run(capsys, f"python:{tmp_path / 'grey.py'}:Own", "--only", "batch")
    assert status == 2
    assert "a model of grey images declares it by the attribute channels = 1." in err
    assert "--resolution" not in err
    (tmp_path / "grey.py").write_text(GREY.format(declared="channels = 1"))
    status, out, _ = run(capsys, f"python:{tmp_path / 'grey.py'}:Own", "--only", "batch", "--json")
    assert status == 0
    assert AuditReport.model_validate_json(out).images.source == "bundled:digits"


def test_a_random_model_is_audited_all_the_same(capsys):
    status, out, _ = run(capsys, SOUND.replace(":sound", ":random"), "--only", "determinism")
    assert status == 0
    assert "FAIL" in out
