"""``probe push RUN_DIR --repo OWNER/NAME``: the dictionary of a finished run on the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, RunDir, path_option
from probe.cli.output import print_json


def push(
    run_dir: RunDir,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="OWNER/NAME", help="The repository; made if there is none.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    branch: Annotated[
        str | None, typer.Option("--branch", metavar="NAME", help="Commit there instead of to main; made from main.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="The license that the card states, e.g. apache-2.0.")
    ] = None,
    dry_run: Annotated[
        Path | None, path_option("--dry-run", "FOLDER", "Write the files into a folder, and push nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Push a finished run's dictionary to the Hugging Face Hub.

    One commit with the atoms (safetensors), config.json (model, weights hash, protocol, counts), a card with the run's
    metrics, and a picture. Prints the address of the commit. AttractorDictionary.from_pretrained reads it again, and
    dictionary.source takes its name.
    """
    from probe.api import open_run
    from probe.errors import UserError

    if repo is None and dry_run is None:
        raise UserError("name the repository with --repo OWNER/NAME, or a folder with --dry-run FOLDER.")
    run = open_run(run_dir)
    if run.kind == "run" and (state := run.status.state) != "complete":
        raise UserError(f"{run_dir} is {state}; rerun its `probe run` command to finish it, and push it then.")
    dictionary = run.dictionary
    card = {name: value for name, value in {"repo_id": repo, "license": license}.items() if value}
    if dry_run is None:
        assert repo is not None
        where = dictionary.push_to_hub(repo, branch=branch, private=private or None, model_card_kwargs=card)
        print_json({"commit": where}) if as_json else print(where)
        return
    dictionary.save_pretrained(dry_run, model_card_kwargs=card)
    files = {str(file): file.stat().st_size for file in sorted(dry_run.iterdir()) if file.is_file()}
    said = "\n".join(f"{file}: {size} bytes" for file, size in files.items())
    print_json({"files": files}) if as_json else print(said)
