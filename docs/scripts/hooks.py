"""MkDocs hooks: pages that are written from the code at build time, so that they cannot go stale."""

from collections.abc import Callable

import command_line
import configuration
import notebooks
import python_api
import report_files
import rooms
import run_directory
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES: dict[str, Callable[[], str]] = {
    "developing/architecture.md": rooms.page,
    "reference/cli.md": command_line.page,
    "reference/configuration.md": configuration.page,
    "reference/python.md": python_api.page,
    "reference/report-json.md": report_files.page,
    "reference/run-directory.md": run_directory.page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    for path, content in notebooks.pages().items():
        files.append(File.generated(config, path, content=content))
    return files
