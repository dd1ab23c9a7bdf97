"""``probe audit MODEL``: is a checkpoint safe to use at half precision, tiled, at this size?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, Overrides, config_of_model, count, path_option
from probe.cli.watch import watching
from probe.errors import Failure, UserError

if TYPE_CHECKING:
    from probe.report.audit.schema import AuditReport

IMAGES, GREY = "bundled:photographs", "bundled:digits"
RESOLUTION = 128
"""At most, unless another is asked for: a processor takes minutes at 256."""
OURS = ("dtype", "tiling", "slicing", "channels_last")
"""Settings of ``model`` that the audit chooses."""
STYLES = {"FAIL": "bold red", "WARN": "yellow", "OK": "green", "info": "", "skipped": "dim"}


def audit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As model.source: a folder, hub id, python:...")],
    images: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="A preset, or folder:PATH, parquet:PATH, ...; default: bundled photographs."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, max=8192, help="Side of the images; default: the model's, up to 128.")
    ] = None,
    n: Annotated[int, count("Images for statistics; arithmetic is compared on the first 4.", "--count", least=4)] = 16,
    device: Annotated[str, typer.Option(help="Where the model runs; auto: a GPU if there is one.")] = "auto",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this check only; repeatable.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Also check torch.compile, which takes minutes.")] = False,
    overrides: Overrides = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if a check fails.")] = False,
    out: Annotated[Path | None, path_option("--out", "FILE", "Also write the audit to FILE.json or FILE.md.")] = None,
    as_json: Json = False,
) -> None:
    """Check a model at half precision, tiled, at this size.

    Compares the model in float32, bfloat16, float16, tiled, sliced, and so on with float64, on images and on Gaussian
    latents, and looks at its latents. Prints a table of OK, WARN and FAIL with each number and its threshold. Exit
    status 0 whatever is found, unless --strict.
    """
    if out and out.suffix not in (".json", ".md"):
        raise UserError(f"--out {out} must end in .json or .md.")
    config = config_of_model(model, [*(overrides or ()), f"model.device={device}"])
    if taken := config.model.model_fields_set & set(OURS):
        raise UserError(f"the audit runs the model in every type and way by itself; leave model.{min(taken)} out.")

    from jobs.provenance import describe_process
    from probe.autoencoders import load_autoencoder
    from probe.files import write_atomically
    from probe.report.audit.build import audited
    from probe.report.audit.text import markdown, summary
    from probe.studies.audit.check import chosen
    from probe.studies.audit.checks import CHECKS
    from probe.studies.audit.subject import Subject, opened
    from probe.studies.inputs import drawn

    checks = chosen(CHECKS, only or [], ["compile"] if compiled else [])
    with watching("audit") as watch:
        watch.say("loading")
        loaded, spec = opened(load_autoencoder, config.model)
        if loaded.kind == "audio":
            raise UserError(
                f"{model} is an audio model, and the audit compares on images; give an image or video model."
            )
        set_side = config.resolution if "resolution" in config.model_fields_set else None
        side = resolution or set_side or loaded.side or min(loaded.sample_size or RESOLUTION, RESOLUTION)
        named = images or (GREY if loaded.channels == 1 else IMAGES)
        pictures = drawn(loaded, named, n, side)
        larger = None if loaded.side else drawn(loaded, named, n, 2 * side).images
        subject = Subject(loaded, spec, load_autoencoder, pictures.images, larger, config.seeds.seed)
        report = audited(subject, pictures, checks, describe_process(), watch.say)
    text = report.model_dump_json(indent=1) + "\n"
    if out:
        write_atomically(out, text if out.suffix == ".json" else markdown(report))
    if as_json:
        print(text, end="")
    else:
        _show(report)
        if report.images.note:
            print(report.images.note)
        print(summary(report))
    if strict and report.verdict == "FAIL":
        failed = [check.name for check in report.checks if check.verdict == "FAIL"]
        raise Failure(f"{len(failed)} of {len(report.checks)} checks fail: {', '.join(failed)}.")


def _show(report: "AuditReport") -> None:
    """Print the table."""
    from rich.table import Table
    from rich.text import Text

    from probe.report.audit.text import HEADINGS, rows, subject_of
    from probe.terminal import console

    table = Table(title=f"Audit of {report.model.source}: {subject_of(report)}", title_justify="left")
    for name in HEADINGS:
        table.add_column(name, justify="right" if name == "found" else "left")
    before = None
    for check, what, verdict, found, threshold, sentence in rows(report.checks):
        if before not in (None, check):
            table.add_section()
        name, before = ("" if check == before else check), check
        table.add_row(name, what, Text(verdict, STYLES[verdict]), found, threshold, sentence)
    console().print(table)
