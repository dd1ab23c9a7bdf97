"""``probe convert``: pickles to safetensors."""

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
    """Make safetensors of weights in pickle form; nothing in them is run (torch.load with weights_only)."""
    from probe.autoencoders.convert import convert as write

    for file in write(source, out, revision):
        print(file)
