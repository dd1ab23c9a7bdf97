"""The page of report.json and its relatives, from the pydantic models that write them."""

import importlib
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

TITLE = """# Report files

Every command that measures something writes a JSON file. This page lists their keys. It is written from the pydantic
models in `probe/report/*/schema.py` and `probe/board/schema.py` when the site is built.

`null` stands where a number does not exist; the files hold no NaN and no infinity. The keys listed here are stable, and
`schema_version` changes with their meaning. Later versions may add keys, so ignore the ones you do not know.

In Python, `probe.open_run(path).report` reads the file into these models.

"""

FILES = (
    ("A run", "RUN_DIR/report/report.json", "report.run", "Report"),
    ("A study", "STUDY_DIR/report/report.json", "report.study", "StudyReport"),
    ("An OOD experiment", "OOD_DIR/report/report.json", "report.ood", "OodReport"),
    ("A round trip", "ROUNDTRIP_DIR/report/report.json", "report.roundtrip", "RoundtripReport"),
    ("A comparison", "runs/compare/compare.json", "report.compare", "ComparisonReport"),
    ("A leaderboard", "runs/leaderboard/leaderboard.json", "board", "Board"),
    ("`probe quality`", "DIR/quality.json", "report.quality", "QualityReport"),
    ("An audit", "probe audit --out FILE.json, or --json", "report.audit", "AuditReport"),
)
"""Heading, path, package below probe, and the model of the whole file."""


def page() -> str:
    """The page as Markdown: for each file its symbols, then a table of keys for every model in it."""
    text = TITLE
    for heading, path, place, name in FILES:
        module, package = importlib.import_module(f"probe.{place}.schema"), place.rpartition(".")[2]
        text += f"## {heading}\n\n`{path}`\n\n{_introduction(module)}"
        for model in reachable(getattr(module, name)):
            text += _table(model, package)
    return text


def reachable(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and all models inside of it, each once, in the order in which a reader meets them."""
    found = [model]
    for above in found:
        for field in above.model_fields.values():
            found += [inner for inner in _models(field.annotation, model.__module__) if inner not in found]
    return found


def _models(kind: Any, module: str) -> Iterator[type[BaseModel]]:
    """The models in a type; for the base class without fields, which stands for any of them, those of the module."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from [kind] if kind.model_fields else _below(kind, module)
    for inner in typing.get_args(kind):
        yield from _models(inner, module)


def _below(kind: type[BaseModel], module: str) -> Iterator[type[BaseModel]]:
    for inner in kind.__subclasses__():
        if inner.__module__ == module and not inner.__subclasses__():
            yield inner
        yield from _below(inner, module)


def _introduction(module: types.ModuleType) -> str:
    """What the module's docstring says after its first sentence: the symbols."""
    paragraphs = (module.__doc__ or "").strip().split("\n\n")[1:]
    return "\n\n".join(paragraphs) + "\n\n" if paragraphs else ""


def _table(model: type[BaseModel], package: str) -> str:
    text = f"### {model.__name__} {{ #{_anchor(model, package)} }}\n\n"
    said = model.__doc__ if model.__doc__ and not model.__doc__.startswith("!!!") else ""
    if said and "__doc__" in vars(model):
        text += " ".join(said.split()) + "\n\n"
    text += "| key | type | meaning |\n|---|---|---|\n"
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        text += f"| `{field.alias or name}` | {_kind(field.annotation, package)} | {meaning} |\n"
    return text + "\n"


def _kind(kind: Any, package: str) -> str:
    """A type in words, with links to the models in it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _kind(inner[0], package)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(part, package) for part in inner)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (list, tuple):
        parts = [part for part in inner if part is not Ellipsis]
        count = f"{len(parts)} " if origin is tuple and len(parts) == len(inner) > 1 else ""
        return f"list of {count}{_kind(parts[0], package)}"
    if origin is dict:
        return f"mapping to {_kind(inner[1], package)}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not kind.model_fields:
            return "one of the tables below, by `study`"
        return f"[{kind.__name__}](#{_anchor(kind, package)})"
    names: dict[Any, str] = {type(None): "null", str: "text", int: "integer", float: "number", bool: "true or false"}
    return names.get(kind, "any")


def _anchor(model: type[BaseModel], package: str) -> str:
    return f"{package}-{model.__name__.lower()}"
