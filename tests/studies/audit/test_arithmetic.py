"""Ways to run a model: each fault is found under its name, and sound models are not blamed."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Tensor

from probe.autoencoders import load_autoencoder
from probe.config import DatasetConfig, ModelConfig
from probe.data.load import load_images
from probe.results.audit import Finding, Verdict
from probe.studies.audit import ways
from probe.studies.audit.check import answer
from probe.studies.audit.checks import CHECKS
from probe.studies.audit.subject import Subject, opened

FILE = Path(__file__).parent / "fragile.py"
MINE = [
    "float32", "bfloat16", "float16", "headroom", "batch", "slicing", "channels_last", "determinism", "sample", "size",
    "tiling",
]  # fmt: skip


def subject_of(source: str, side: int = 32) -> Subject:
    model, spec = opened(load_autoencoder, ModelConfig(source=source, device="cpu"))
    return Subject(model, spec, load_autoencoder, photographs(side), None if model.side else photographs(2 * side))


@cache
def photographs(side: int) -> Tensor:
    return load_images("photographs", DatasetConfig(n=4, holdout=0), resolution=side).images


def found(subject: Subject, names: list[str] | None = None) -> dict[str, Finding]:
    """Findings by check and number."""
    wanted = [one for one in CHECKS if one.name in (names or MINE)]
    return {f"{one.check} {one.name}": one for check in wanted for one in answer(check, subject)}


def named(findings: dict[str, Finding], verdict: Verdict) -> set[str]:
    return {name for name, one in findings.items() if one.verdict == verdict}


def test_a_sound_model_is_exact_and_nothing_is_wrong_with_it():
    findings = found(subject_of(f"python:{FILE}:sound"))
    assert named(findings, "FAIL") | named(findings, "WARN") == set()
    assert named(findings, "skipped") == {"slicing slicing", "tiling tiling", "sample sample"}
    assert findings["size reconstruction"].numbers["psnr"] > 100


@pytest.mark.parametrize(
    ("model", "failing"),
    [
        ("overflows", {"float16 overflow", "float16 decode", "float16 not finite", "headroom float16"}),
        ("cancels", {"bfloat16 encode"}),
        ("heavyweights", {"float16 weights"}),
        ("onetype", {"bfloat16 runs"}),
        ("acrossthebatch", {"batch encode"}),
        ("random", {"determinism encode"}),
        ("counts", {"determinism decode"}),
        ("layout", {"channels_last encode"}),
        ("onesize", {"size reconstruction"}),
        ("sliced", {"slicing decode"}),
        ("unequalslices", {"slicing runs"}),
        ("tiled", {"tiling seam"}),
        ("cropped", {"tiling shape"}),
    ],
)
def test_each_fault_is_found(model, failing):
    findings = found(subject_of(f"python:{FILE}:{model}"))
    assert failing <= named(findings, "FAIL"), findings
    others = named(findings, "FAIL") - failing
    # A model that gives something else at every call fails wherever it is called again, and one size at the other.
    followers = {"random": "", "counts": "", "onesize": "tiling", "overflows": "size headroom"}
    assert all(model in followers and other.startswith(followers[model]) for other in others), others


def test_nan_in_any_of_the_images_is_found():
    subject = subject_of(f"python:{FILE}:spoilswhite")
    subject.images = torch.cat([subject.images, torch.full_like(subject.images[:1], 255)])
    findings = found(subject, ["float32", "batch", "colour"])
    assert named(findings, "FAIL") == {"float32 not finite", "colour not finite"}
    assert findings["float32 not finite"].sentence == "20 % of D(E(all images))."
    assert findings["colour not finite"].sentence == "Decoded values are NaN in 20 % of the images."


def test_the_first_module_that_overflows_is_named_with_its_largest_activation():
    subject = subject_of(f"python:{FILE}:overflows")
    one = found(subject, ["float16"])["float16 overflow"]
    z = max(float(latents.abs().max()) for latents in (subject.reference.encoded, subject.gaussian()))
    assert one.sentence.startswith("loud is the first module that gives NaN or infinity")
    assert one.value == pytest.approx(2.0**18 * z, rel=1e-5)
    assert one.numbers == {"limit": 65504.0}


def test_little_headroom_is_a_warning():
    findings = found(subject_of(f"python:{FILE}:nearlyoverflows"), ["float16", "headroom"])
    assert named(findings, "FAIL") == set()
    assert named(findings, "WARN") == {"headroom float16"}
    assert "from loud" in findings["headroom float16"].sentence


def test_tiles_that_change_a_picture_smoothly_have_no_seam():
    findings = found(subject_of(f"python:{FILE}:blended"), ["tiling"])
    assert findings["tiling decode"].verdict == "WARN"
    assert findings["tiling seam"].verdict == "OK"


def test_a_seam_is_where_the_tiles_meet_and_as_high_as_the_step():
    one = found(subject_of(f"python:{FILE}:tiled"), ["tiling"])["tiling seam"]
    levels = 0.1 * 255 / 2  # pixels are in [-1, 1]; the pictures are clamped, which takes a little away
    assert one.value == pytest.approx(levels, rel=0.2)
    assert "between columns 15 and 16" in one.sentence


def test_the_embedded_model_does_not_fail():
    findings = found(subject_of("embedded:cifar-attractors"))
    assert named(findings, "FAIL") == set(), findings
    assert named(findings, "skipped") == set()


def test_a_random_model_of_the_shape_of_stable_diffusions_does_not_fail(tiny_vae):
    findings = found(subject_of(str(tiny_vae)))
    assert named(findings, "FAIL") == set(), findings


def test_taef2_does_not_fail(shared, root, monkeypatch):
    monkeypatch.chdir(root)
    findings = found(subject_of("python:tests/models/taef2.py:load"))
    assert named(findings, "FAIL") | named(findings, "WARN") == set(), findings


def loud(folder: Path, factor: float) -> Path:
    """The embedded autoencoder with its decoder's residual stream ``factor`` times as large. Every branch and the end
    normalise it, so the decoder computes the same. This is how SDXL's leaves float16."""
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(str(files("probe") / "autoencoders/embedded/cifar-attractors"))
    for name, parameter in model.decoder.named_parameters():
        writes = re.fullmatch(r"(conv_in|.*\.conv2|.*\.to_out\.0)\.(weight|bias)", name)
        passes = re.fullmatch(r".*\.(conv_shortcut|upsamplers\.0\.conv)\.bias", name)
        if writes or passes:
            parameter.data *= factor
    model.save_pretrained(folder)
    return folder


def test_a_residual_stream_that_leaves_float16_is_found_where_it_does(tmp_path):
    plain, subject = subject_of("embedded:cifar-attractors"), subject_of(str(loud(tmp_path, 2.0**13)))
    assert torch.allclose(subject.reference.decoded, plain.reference.decoded, atol=1e-4)  # the same decoder
    findings = found(subject, ["float32", "bfloat16", "float16", "headroom"])
    assert named(findings, "FAIL") == {"float16 decode", "float16 not finite", "float16 overflow", "headroom float16"}
    one = findings["float16 overflow"]
    first = re.match(r"(\S+) is the first module", one.sentence)
    assert first
    assert one.value == pytest.approx(2.0**13 * plain.activations[first[1]], rel=1e-3)
    assert one.value > 65504
    half = subject.again("float16")  # torch's own, which needs no emulation for so small a model
    assert not half.decode(subject.gaussian().half()).isfinite().all()


def test_what_is_compiled_is_compared_and_given_up_after_a_while(monkeypatch):
    subject = subject_of(f"python:{FILE}:sound")
    monkeypatch.setattr(torch, "compile", lambda function: lambda rows: 1.1 * function(rows))
    assert named(found(subject, ["compile"]), "FAIL") == {"compile encode", "compile decode"}

    def endless(_function):
        while True:
            pass

    monkeypatch.setattr(torch, "compile", endless)
    monkeypatch.setattr(ways, "PATIENCE", 1)
    (one,) = found(subject, ["compile"]).values()
    assert (one.verdict, one.sentence) == ("skipped", "Compiling took more than 1 s.")


def test_a_model_that_does_not_run_in_float64_is_compared_with_float32():
    findings = found(subject_of(f"python:{FILE}:nofloat64"))
    assert findings["float32 float32"].sentence.startswith(
        "It is the reference, as the model does not run in float64: "
    )
    assert named(findings, "FAIL") == {"bfloat16 runs"}
    assert findings["float16 decode"].verdict == "OK"


def test_a_model_that_does_not_run_at_twice_the_size_is_warned_of():
    findings = found(subject_of(f"python:{FILE}:onegrid"), ["size"])
    assert findings["size runs"].verdict == "WARN"
    assert "does not run at 64 px" in findings["size runs"].sentence
