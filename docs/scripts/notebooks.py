"""The notebooks of docs/notebooks as pages, with the outputs that they hold; run as a script, this executes them.

    python docs/scripts/notebooks.py [NAME]... [--out FOLDER]

It needs nbclient and ipykernel. A page needs neither: ``make docs`` shows outputs and computes nothing.
"""

import argparse
import base64
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ("first_probe", "own_autoencoder", "reading_a_dictionary", "comparing_checkpoints")
SHOWN = ("image/png", "text/html", "text/plain")
"""Types of outputs that a page can show, best first."""

SETTINGS = {"timeout": None, "record_timing": False, "coalesce_streams": True}


def pages() -> dict[str, str | bytes]:
    """The pages and their pictures, by their paths below docs/."""
    found: dict[str, str | bytes] = {}
    for name in NAMES:
        text = ""
        for place, cell in enumerate(json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]):
            source = "".join(cell["source"])
            text += f"{source}\n\n" if cell["cell_type"] == "markdown" else f"```python\n{source}\n```\n\n"
            for number, output in enumerate(cell.get("outputs", ())):
                kind, data = _best(output)
                if kind == "image/png":
                    picture = f"{name}-{place}-{number}.png"
                    found[f"notebooks/{picture}"] = base64.b64decode(data)
                    text += f"![Output of the cell above]({picture}){{ .output }}\n\n"
                elif kind == "text/html":
                    text += f'<div class="output">\n{_plain(data)}\n</div>\n\n'
                else:
                    text += f"``` {{ .text .output }}\n{data.rstrip()}\n```\n\n"
        found[f"notebooks/{name}.md"] = f"{text}*Download [this notebook]({name}.ipynb).*\n"
    return found


def _best(output: dict[str, Any]) -> tuple[str, str]:
    """The type and the content of what is shown of an output."""
    data = {"text/plain": output["text"]} if output["output_type"] == "stream" else output["data"]
    kind = next(one for one in SHOWN if one in data)
    return kind, "".join(data[kind])


def _plain(html: str) -> str:
    """A table of pandas without its own style, so that it takes that of the site."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    html = re.sub(r'<table border="1" class="dataframe">', "<table>", html)
    return "\n".join(line.strip() for line in html.splitlines() if line.strip())


def executed(name: str) -> Any:
    """A notebook with the outputs of a fresh kernel, which works in a temporary folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= dict.fromkeys(("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"), folder)
        # Sockets in the folder, instead of ports that another test may take first.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, config=sockets, resources=where, **SETTINGS).execute()
    return notebook


def without_progress(notebook: Any) -> Any:
    """A notebook as it is kept: without progress and its times, and without facts about the machine."""
    for number, cell in enumerate(notebook.cells):
        cell.id = str(number)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not _passes(one)]
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def _passes(output: Any) -> bool:
    """Whether an output is progress: on stderr, or a line that is displayed."""
    return output.get("name") == "stderr" or (output.output_type == "display_data" and "image/png" not in output.data)


def main() -> None:
    import nbformat

    parser = argparse.ArgumentParser(description="Execute notebooks and keep their outputs.")
    parser.add_argument("names", nargs="*", default=NAMES, help="default: all")
    parser.add_argument("--out", type=Path, help="write them there as they are, instead of renewing those of docs/")
    given = parser.parse_args()
    for name in given.names:
        found = executed(name)
        nbformat.write(found if given.out else without_progress(found), (given.out or FOLDER) / f"{name}.ipynb")


if __name__ == "__main__":
    main()
