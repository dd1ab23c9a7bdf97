"""``probe quality MODEL``: PSNR, SSIM, LPIPS and rFID of one pass, each number with its protocol."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli.options import Json, Overrides, config_of_model, count, path_option
from probe.cli.output import print_json
from probe.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from probe.report.quality.schema import QualityReport

DEFAULT = "photographs"
Specs = Annotated[
    list[str] | None,
    typer.Option(
        "--images", metavar="SPEC", help=f"A preset, or parquet:PATH, folder:PATH, ...; repeatable. Default: {DEFAULT}."
    ),
]


def quality(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As model.source: a folder, hub id, python:...")],
    images: Specs = None,
    n: Annotated[int, count("Images of each set.", "--count")] = 500,
    resolution: Annotated[
        int | None, typer.Option(min=1, max=8192, help="Side of the images; default: the model's, or 32.")
    ] = None,
    batch: Annotated[int, count("Images encoded at once.", "--batch")] = 16,
    eight_bits: Annotated[
        bool, typer.Option("--eight-bits", help="Round reconstructions to 8 bits before all metrics, not only rFID.")
    ] = False,
    overrides: Overrides = None,
    out: Annotated[Path | None, path_option("--out", "DIR", "Folder for quality.json and images.csv.")] = None,
    as_json: Json = False,
) -> None:
    """Measure PSNR, SSIM, LPIPS and rFID of D(E(x)).

    Each number has a 95 % interval over images, and stands beside its protocol: number of images, resolution, crop,
    resize, clamp and rounding, and the weights of the metric's network. LPIPS and rFID need the extra `perceptual` and
    weights in torch's cache or in a file: --set perceptual.lpips=FILE, --set perceptual.inception=FILE.
    """
    config = config_of_model(model, overrides)
    if resolution is not None:
        config = config.model_copy(update={"resolution": resolution})

    from jobs.provenance import describe_process
    from probe import load_autoencoder
    from probe.cli.watch import watching
    from probe.config import PerceptualConfig
    from probe.report.quality import quality_report, set_quality
    from probe.studies.inputs import drawn
    from probe.studies.perceptual import load_perceptual
    from probe.studies.quality import one_pass

    loaded = load_autoencoder(config.model)
    if loaded.kind == "audio":
        raise UserError(f"{model} is an audio model and takes no images; `probe quality` compares images.")
    side = loaded.side if loaded.side and not (resolution or "resolution" in config.model_fields_set) else None
    side = side or config.resolution
    loaded.latent_shape(side)  # refuses a resolution that does not suit the model
    perceptual = load_perceptual(config.perceptual or PerceptualConfig(), loaded.device)
    sets, tables = {}, []
    with watching("quality") as watch:
        for spec in dict.fromkeys(images or [DEFAULT]):
            watch.say(f"drawing images of {spec}")
            data = drawn(loaded, spec, n, side)
            every = len(data.images)

            def tell(done: int, spec: str = spec, every: int = every) -> None:
                watch.say(f"{spec}: {done} of {every} images")

            tell(0)
            found = one_pass(loaded, data.images, perceptual, together=batch, eight_bits=eight_bits, on_images=tell)
            sets[spec] = set_quality(data, found, perceptual.protocols, eight_bits=eight_bits)
            tables.append(_rows(spec, data.ids, found.errors))
    facts = {
        "source": model,
        "class": loaded.class_name,
        "weights_sha256": loaded.weights_sha256(),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "device": str(loaded.device),
        "tf32": False,
        "tiling": config.model.tiling,
    }
    report = quality_report(facts, sets, perceptual.missing, describe_process())
    if out:
        _write(out, report, tables)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)


def _rows(spec: str, ids: list[str], errors: dict[str, Any]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({"images": spec, "id": ids, **{name: values.numpy() for name, values in errors.items()}})


def _write(out: Path, report: "QualityReport", tables: "list[pd.DataFrame]") -> None:
    import pandas as pd

    from probe.files import write_atomically

    write_atomically(out / "images.csv", pd.concat(tables).to_csv(index=False))
    write_atomically(out / "quality.json", report.model_dump_json(indent=1) + "\n")


def _show(report: "QualityReport") -> None:
    """Print the tables; what is missing and what to be careful with goes to stderr."""
    from probe.report.quality import shown
    from probe.terminal import console

    model = report.model
    print(f"{model['class']} of {model['source']}, weights {model['weights_sha256'][:12]}, {model['dtype']}")
    for name, one in report.sets.items():
        console().print(shown(name, one))
    for sentence in (*report.missing, *report.warnings):
        print(sentence, file=sys.stderr)
