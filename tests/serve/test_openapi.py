"""What the OpenAPI document promises holds for requests that schemathesis makes up from it, at a real server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from .service import Service, served

load_all_checks()
pytestmark = [pytest.mark.busy, pytest.mark.slow]
OLD = Path(__file__).parents[1] / "jobs" / "finished"
LEFT_OUT = ["/v1/models", "/v1/plan", "/v1/events"]
"""The first two start Python and torch, and what they read of a request others read, too; the third has no end."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that starts nothing, with a finished run: ``done``."""
    root = tmp_path_factory.mktemp("openapi") / "root"
    shutil.copytree(OLD / "run", root / "done")
    with served(root, slots=0) as found:
        yield found


def test_answers_are_as_documented(service: Service):
    loaded = schemathesis.openapi.from_dict(service.http.get("/v1/openapi.json").json())
    loaded.config.update(base_url=f"http://127.0.0.1:{service.port}")
    token = {"Authorization": service.http.headers["Authorization"]}
    wrong, asked = [], 0
    for found in loaded.get_all_operations():
        operation: Any = found.ok()
        if operation.path in LEFT_OUT:
            continue

        @settings(
            max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(operation.as_strategy())
        def holds(case: Any) -> None:
            nonlocal asked
            asked += 1
            if len(str(case.path_parameters.get("id", ""))) % 2:
                case.path_parameters["id"] = "done"
            case.call_and_validate(checks=CHECKS, headers=token, timeout=60)

        try:
            holds()
        except (Exception, FailureGroup) as error:
            wrong.append(f"{operation.label}: {error}")
    assert not wrong, "\n\n".join(wrong)
    assert asked > 200


def test_nothing_but_its_health_is_told_without_a_token(service: Service):
    paths = service.http.get("/v1/openapi.json").json()["paths"]
    told = []
    for path, operations in paths.items():
        for method in operations:
            url = str(service.http.base_url.join(path.format(id="done", kind="run", ending="json", path="x", name="x")))
            answer = service.http.build_request(method.upper(), url)
            del answer.headers["Authorization"]
            status = service.http.send(answer).status_code
            told += [path] if status != 401 else []
    assert told == ["/healthz"]
