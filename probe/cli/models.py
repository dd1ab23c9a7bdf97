"""``probe models``: which classes of autoencoders can be probed."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from probe.cli.options import Json


def models(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as a Markdown page.")] = False,
    as_json: Json = False,
) -> None:
    """List the autoencoder classes that can be probed.

    Builds each class at a small size, loads it and iterates it; this takes about a minute.
    """
    from probe.autoencoders import compatibility

    rows = compatibility.compatibility()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    elif markdown:
        print(compatibility.markdown(rows), end="")
    else:
        for row in rows:
            shape = " x ".join(map(str, row.latent))
            print(f"{row.name:32}{row.kind:7}{row.status:11}{shape:15}{row.reason}".rstrip(), flush=True)
