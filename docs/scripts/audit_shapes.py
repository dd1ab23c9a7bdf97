"""``python docs/scripts/audit_shapes.py OUT [NAME...]``: audits of models with random weights and the configurations of
Stable Diffusion 1.5, SDXL and FLUX, and of the embedded models. Writes OUT/NAME.json and .md; prints what is not OK.

NAME may also be any source of a model. Needs no data: its images are smooth noise. On a GPU, float16 is also emulated,
as on a CPU, and compared.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import load_autoencoder
from probe.config import ModelConfig
from probe.data.load import ImageSet
from probe.report.audit.build import audited
from probe.report.audit.text import markdown, summary
from probe.studies.audit.checks import CHECKS
from probe.studies.audit.precision import emulated
from probe.studies.audit.subject import Subject, opened

BLOCKS: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SHAPES: dict[str, dict[str, Any]] = {
    "sd15": {"latent_channels": 4, "sample_size": 512, "scaling_factor": 0.18215},
    "sdxl": {"latent_channels": 4, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    "flux": {
        "latent_channels": 16,
        "sample_size": 1024,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": True,
    },
}
"""The config.json of each, as far as it differs from the class's defaults."""
TYPES = ("float32", "tf32", "bfloat16", "float16")
EMBEDDED = ("embedded:cifar-attractors", "embedded:cifar-plain")


def smooth(count: int, side: int) -> Tensor:
    """uint8 (count, 3, side, side): noise of 8 x 8 values, enlarged; the same at all sides."""
    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic", antialias=False)
    return (large.clamp(0, 1) * 255).round().to(torch.uint8)


def source_of(name: str, folder: str) -> str:
    """The model's source; a random one is saved in the folder first."""
    if name not in SHAPES:
        return name
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(**BLOCKS, **SHAPES[name]).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=[*SHAPES, *EMBEDDED])
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--count", type=int, default=8)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            one(name, folder, given.out, 32 if name in EMBEDDED else given.resolution, given.count)


def one(name: str, folder: str, out: Path, side: int, count: int) -> None:
    """Audit one model."""
    began = time.perf_counter()
    model, spec = opened(load_autoencoder, ModelConfig(source=source_of(name, folder)))
    images = smooth(count, side)
    subject = Subject(model, spec, load_autoencoder, images, smooth(count, 2 * side))
    ids = [str(row) for row in range(count)]
    pictures = ImageSet("noise", images, ids, [], images[:0], count, [], "", {"source": "smooth noise"})
    report = audited(subject, pictures, [check for check in CHECKS if check.wanted], {})
    file = out / f"{re.sub('[:/]', '-', name)}.json"
    file.write_text(report.model_dump_json(indent=1))
    file.with_suffix(".md").write_text(markdown(report))
    print(
        f"{name} at {side} px on {report.model.device}, {time.perf_counter() - began:.0f} s: {summary(report)}",
        flush=True,
    )
    for found in (found for check in report.checks for found in check.findings):
        if found.verdict in ("WARN", "FAIL") or (found.check in TYPES and found.value is not None):
            number = "" if found.value is None else f"{found.value:.4g} {found.unit}".rstrip()
            print(f"  {found.verdict} {found.check} {found.name} {number} ({found.threshold}): {found.sentence}")
    if model.device.type == "cuda":
        for found in emulated(subject):
            print(
                f"  emulated {found.check} {found.name}: {found.value or 0:.4g} {found.unit} {found.verdict}",
                flush=True,
            )


if __name__ == "__main__":
    main()
