"""``probe convert``: pickles to safetensors."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from probe.names import given_path


def convert(
    source: Annotated[str, typer.Argument(help="A .bin, .pt, .pth or .ckpt file, a folder, or a hub id.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The .safetensors file or the folder to write.", parser=given_path)
    ],
    revision: Annotated[str | None, typer.Option(help="Revision of the hub id.")] = None,
) -> None:
    """Convert pickled weights to safetensors without running code.

    Reads with torch.load(weights_only=True). Names of nested entries are joined by dots; entries that are left out are
    listed on stderr.
    """
    from probe.autoencoders.convert import convert as write

    for file in write(source, out, revision, on_note=lambda note: print(f"probe: {note}", file=sys.stderr)):
        print(file)
