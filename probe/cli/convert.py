"""``probe convert``: pickles to safetensors."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from probe.names import given_path


def convert(
    source: Annotated[str, typer.Argument(help="A .bin, .pt, .pth or .ckpt file, a folder, or a hub id.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The new .safetensors file, or the new folder.", parser=given_path)
    ],
    revision: Annotated[str | None, typer.Option(help="Of the hub id.")] = None,
) -> None:
    """Make safetensors of weights in pickle form; nothing in them is run (torch.load with weights_only).

    Names of nested entries are joined by dots; what is left out is said on stderr.
    """
    from probe.autoencoders.convert import convert as write

    for file in write(source, out, revision, on_note=lambda note: print(f"probe: {note}", file=sys.stderr)):
        print(file)
