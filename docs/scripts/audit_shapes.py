"""``python docs/scripts/audit_shapes.py OUT [NAME...]``: audits of models with random weights and the configurations of
Stable Diffusion 1.5, SDXL and FLUX, and of the embedded models. Writes OUT/NAME.json and .md; prints what is not OK.

Needs no data: its images are smooth noise. On a GPU, float16 is also emulated, as on a CPU, and compared.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import load_autoencoder
from probe.config import ModelConfig
from probe.data import ImageSet
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
EMBEDDED = ("embedded:cifar-attractors", "embedded:cifar-plain")


def smooth(count: int, side: int) -> Tensor:
    """uint8 (count, 3, side, side): noise of 8 x 8 values, enlarged; the same at all sides."""
    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic", antialias=False)
    return (large.clamp(0, 1) * 255).round().to(torch.uint8)


def source_of(name: str, out: Path) -> str:
    """The model's source; a random one is saved first."""
    if name not in SHAPES:
        return name
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(**BLOCKS, **SHAPES[name]).save_pretrained(out / name)
    return str(out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=[*SHAPES, *EMBEDDED])
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--count", type=int, default=8)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        began = time.perf_counter()
        side = 32 if name in EMBEDDED else given.resolution
        model, spec = opened(load_autoencoder, ModelConfig(source=source_of(name, given.out)))
        images = smooth(given.count, side)
        subject = Subject(model, spec, load_autoencoder, images, smooth(given.count, 2 * side))
        pictures = ImageSet(
            "noise", images, [str(i) for i in range(given.count)], [], images[:0], given.count, [], "", {}
        )
        pictures.source["source"] = "smooth noise"
        report = audited(subject, pictures, [one for one in CHECKS if one.wanted], {})
        file = given.out / name.replace(":", "-")
        file.with_suffix(".json").write_text(report.model_dump_json(indent=1))
        file.with_suffix(".md").write_text(markdown(report))
        print(
            f"{name} at {side} px on {report.model.device}, {time.perf_counter() - began:.0f} s: {summary(report)}",
            flush=True,
        )
        for one in (one for check in report.checks for one in check.findings if one.verdict in ("WARN", "FAIL")):
            print(f"  {one.verdict} {one.check} {one.name} {one.value} ({one.threshold}): {one.sentence}")
        for one in (one for check in report.checks[:4] for one in check.findings if one.value is not None):
            print(f"  {one.check} {one.name}: {one.value:.4g} {one.unit}")
        if model.device.type == "cuda":
            for one in emulated(subject):
                print(f"  emulated {one.check} {one.name}: {one.value or 0:.4g} {one.unit} {one.verdict}")


if __name__ == "__main__":
    main()
