"""JSON Schema of the configurations: the pydantic classes, which document every key."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from probe.configuration import OTHERS, models
from probe.serve import shapes
from probe.serve.problems import ProblemDetails

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ABOUT = "The configuration of a kind of work, which its keys tell apart; `probe config` explains them."


def _schemas(template: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The names of the configurations' schemas by kind of work, and all schemas that they need."""
    by_class: dict[type[BaseModel], list[str]] = {}
    for name, model in models().items():
        by_class.setdefault(model, []).append(name)
    refs, found = models_json_schema([(model, "validation") for model in by_class], ref_template=template)
    schemas: dict[str, Any] = found["$defs"]
    kinds: dict[str, list[str]] = {}
    for model, names in by_class.items():
        name = refs[model, "validation"]["$ref"].rpartition("/")[2]
        kinds.setdefault(names[0] if names[0] in OTHERS else "study", []).append(name)
        if names[0] not in OTHERS:  # so that one schema fits
            schemas[name]["properties"]["study"] |= {"enum": names}
    return kinds, schemas


@cache
def of_kind(kind: str) -> dict[str, Any]:
    """A schema that stands alone, of one kind of work."""
    kinds, schemas = _schemas("#/$defs/{model}")
    refs = [{"$ref": f"#/$defs/{name}"} for name in kinds[kind]]
    return {"$schema": DIALECT, **({"oneOf": refs} if len(refs) > 1 else refs[0]), "$defs": _used(refs, schemas)}


def _used(refs: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas that others refer to, and so on."""
    found: dict[str, Any] = {}
    left = [refs]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += one
        elif isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in found:
                found[name] = schemas[name]
                left.append(schemas[name])
            left += one.values()
    return dict(sorted(found.items()))


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the configurations of all kinds and what routes read themselves."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title, version=app.version, openapi_version="3.1.0", description=app.description, routes=app.routes,
        tags=app.openapi_tags, servers=[{"url": app.root_path or "/"}],
    )  # fmt: skip
    template = "#/components/schemas/{model}"
    kinds, schemas = _schemas(template)
    read = [(model, "validation") for model in (shapes.ToSubmit, shapes.ToPlan, shapes.ToCheck)]
    said = [(model, "serialization") for model in (ProblemDetails, shapes.LogFiles)]
    _, more = models_json_schema([*read, *said], ref_template=template)  # type: ignore[list-item]
    refs = [template.format(model=name) for names in kinds.values() for name in names]
    whole = {"title": shapes.CONFIGURATION, "description": ABOUT, "oneOf": [{"$ref": ref} for ref in refs]}
    there = found.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's, which problems replace
        there.pop(name, None)
    there |= more["$defs"] | schemas | {shapes.CONFIGURATION: whole}
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for path in ("/healthz",):
        found["paths"][path]["get"]["security"] = []
    app.openapi_schema = found
    return found
