"""The shapes that people use, small and with random weights, and the README's example, through the whole job."""

import json
import re

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from probe.cli.main import main

KL = {
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 4,
}
UNQUANTISED = {"use_quant_conv": False, "use_post_quant_conv": False}
SHAPES = {
    "SD": lambda: AutoencoderKL(**KL, latent_channels=4, scaling_factor=0.18215),
    "SDXL": lambda: AutoencoderKL(**KL, latent_channels=4, scaling_factor=0.13025, force_upcast=True),
    "SD3": lambda: AutoencoderKL(**KL, **UNQUANTISED, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609),
    "FLUX": lambda: AutoencoderKL(**KL, **UNQUANTISED, latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159),
    "TAESD": lambda: AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    ),
}
SMALL = [
    *("resolution=32", "seeds.count=8", "solver.max_steps=20", "sparse.levels=[2, 8]"),
    *("datasets={digits: {n: 4, holdout: 4}, textures: {n: 4, holdout: 4}}", "model.device=cpu"),
]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run(source, *settings): `probe run --model` as a user would; its report."""
    monkeypatch.chdir(tmp_path)

    def begin(source, *settings):
        words = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
        with pytest.raises(SystemExit) as ended:
            main(["run", "--model", source, "--out", "run", "--json", *words])
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return json.loads(said.out)

    return begin


@pytest.mark.parametrize(
    "name", ["FLUX", *(pytest.param(name, marks=pytest.mark.slow) for name in SHAPES if name != "FLUX")]
)
def test_every_shape_goes_from_noise_to_the_report(name, run, tmp_path):
    torch.manual_seed(0)
    SHAPES[name]().save_pretrained(tmp_path / "pipeline" / "vae")
    report = run("pipeline", "model.latents=scaled")
    channels = 16 if name in ("SD3", "FLUX") else 4
    assert report["model"]["latent_shape"] == [channels, 4, 4]
    assert sum(report["solver"]["outcomes"].values()) == 8
    assert set(report["datasets"]) == {"digits", "textures"}
    assert (tmp_path / "run" / "report" / "report.html").exists()


def test_the_example_of_the_readme_runs(run, tmp_path, root):
    blocks = re.findall(r"```python\n(# my_vae\.py\n.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "my_vae.py").write_text(blocks[0])
    report = run("python:my_vae.py:load")
    assert report["model"]["class"] == "MyVAE"
    assert report["model"]["latent_shape"] == [4, 4, 4]
