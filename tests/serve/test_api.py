"""The API over HTTP, against a real uvicorn."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from probe.configuration import OTHERS, examples, models
from probe.errors import UserError
from probe.serve import files, problems, shapes
from probe.serve.problems import composed, line_of
from probe.serve.routes.events import _changes
from probe.serve.settings import Settings
from probe.serve.submission import of_yaml

from ..jobs.conftest import configure
from .http import Served, serving
from .test_index import ROW

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, Any]]]:
    """A server, and its run on a known map, which is done; tests of the module only read it."""
    folder = tmp_path_factory.mktemp("served")
    settings = {**yaml.safe_load(configure(folder).read_text()), "datasets": {"digits": {"n": 6, "holdout": 2}}}
    settings |= {"sparse": {"levels": [1], "controls": ["random_orthogonal"], "random_bases": 1}}
    with serving(folder / "root") as served:
        answer = served.http.post("/v1/runs", json={"config": settings, "id": "one", "name": "One <b>"})
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == "/v1/runs/one"
        yield served, served.wait("one")


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Served]:
    """A server that starts nothing."""
    with serving(tmp_path / "root", slots=0) as served:
        yield served


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """What a problem says, which must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    shapes_of_problem = {"type", "title", "status", "detail", "instance", "errors"}
    assert content.keys() <= shapes_of_problem
    return content


def test_a_run_from_submission_to_report(finished):
    served, run = finished
    assert (run["state"], run["name"], run["kind"], run["ours"]) == ("done", "One <b>", "run", True)
    report = served.http.get("/v1/runs/one/report.json")
    assert report.headers["content-type"] == "application/json"
    assert report.json()["dictionary"]["atoms"] == run["summary"]["atoms"]
    page = served.http.get("/v1/runs/one/report.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "sandbox" in page.headers["content-security-policy"]
    assert page.content.startswith(b"<!doctype html>") or b"<html" in page.content[:200]
    assert served.http.get("/v1/runs/one/report.md").headers["content-type"] == "text/markdown; charset=utf-8"
    shapes.Run.model_validate(run, strict=False)


def test_answers_have_the_shapes_of_the_document(finished):
    served, _ = finished
    document = served.http.get("/v1/openapi.json").json()
    below = [f"/v1/{name}" for name in ("runs", "presets", "board", "runs/{id}", "runs/{id}/artifacts")]
    for path in ("/healthz", "/readyz", *below):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
        validator.validate(served.http.get(path.replace("{id}", "one")).json())


def test_a_connection_outlives_the_pools_of_its_clients(waiting):
    """A pool of httpx keeps one for 5 seconds without a request; a server that closes it then may do so under one."""
    host, _, port = waiting.url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    for pause in (0, 6):
        time.sleep(pause)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
    connection.close()


def test_the_same_key_is_the_same_run_and_another_body_a_conflict(waiting):
    def send(seed: int, **more: Any) -> httpx.Response:
        return waiting.http.post("/v1/runs", json={"config": {"seeds": {"seed": seed}}, **more}, headers=key)

    key = {"Idempotency-Key": "k1"}
    first, again = send(1), send(1)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert "submission" in problem(send(2), 409)["detail"]
    key = {}
    assert send(3, id="mine").status_code == 201
    assert send(3, id="mine").status_code == 200
    problem(send(4, id="mine"), 409)
    # The same as YAML, whose numbers are text until they are read.
    same = waiting.http.post("/v1/runs?id=mine&name=mine", content="seeds:\n  seed: 3\n", headers=YAML)
    assert same.status_code == 200, same.text


def test_many_at_once_with_one_key_make_one_run(waiting):
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(
            httpx.post(f"{waiting.url}/v1/runs", json={"config": {}}, timeout=60,
                       headers={**waiting.headers, "Idempotency-Key": "once"})
        )  # fmt: skip

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_pages_of_the_list_hold_every_run_once(waiting):
    made = [waiting.http.post("/v1/runs", json={"config": {}, "id": f"r{n}"}).json()["id"] for n in range(7)]
    seen, cursor = [], None
    while True:
        page = waiting.http.get("/v1/runs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [run["id"] for run in page["runs"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(seen) == sorted(made)
    assert waiting.http.get("/v1/runs?state=done&state=failed").json() == {"runs": [], "next": None}
    assert len(waiting.http.get("/v1/runs?state=queued&kind=run&model=embedded:cifar-attractors").json()["runs"]) == 7
    problem(waiting.http.get("/v1/runs?cursor=nonsense"), 422)
    assert problem(waiting.http.get("/v1/runs?state=nonsense"), 422)["errors"][0]["key"].startswith("state")


def test_cancel_resume_and_delete_a_run_that_waits(waiting):
    waiting.http.post("/v1/runs", json={"config": {}, "id": "a"})
    assert waiting.http.post("/v1/runs/a/cancel").status_code == 202
    assert waiting.wait("a", seconds=30)["state"] == "cancelled"
    assert waiting.http.post("/v1/runs/a/resume").json()["state"] == "queued"
    waiting.http.post("/v1/runs/a/cancel")
    waiting.wait("a", seconds=30)
    assert waiting.http.delete("/v1/runs/a").status_code == 204
    problem(waiting.http.get("/v1/runs/a"), 404)
    problem(waiting.http.post("/v1/runs/a/cancel"), 404)


@pytest.mark.parametrize("kind", sorted(models()))
def test_every_kind_of_work_is_taken(kind, waiting, tmp_path):
    config = examples()[kind] | ({"study": kind} if kind not in OTHERS else {})
    answer = waiting.http.post("/v1/validate", json={"config_yaml": yaml.safe_dump(config)})
    if answer.status_code == 403:  # folders and addresses that nobody has allowed
        return
    assert answer.json() == {"ok": True, "kind": kind if kind in OTHERS else "study"}
    assert waiting.http.post("/v1/runs", json={"config": config, "id": kind}).status_code == 201


def test_a_mistake_has_the_sentence_of_the_command_line_its_key_and_line(waiting):
    from probe.config import parse_config

    text = "# a comment\nsolver:\n  max_stepz: 3\nseeds: {count: -1}\nsparse:\n  levels:\n  - 1\n  - -3\n"
    found = problem(waiting.http.post("/v1/validate", content=text, headers=YAML), 422)
    with pytest.raises(UserError) as error:
        parse_config(yaml.safe_load(text.replace("-1", "'-1'").replace("-3", "'-3'")))
    assert found["detail"] == str(error.value)
    assert [(one["key"], one["line"]) for one in found["errors"]] == [
        ("solver.max_stepz", 3), ("seeds.count", 4), ("sparse.levels.1", 8),
    ]  # fmt: skip
    assert "did you mean 'max_steps'?" in found["errors"][0]["message"]
    found = problem(waiting.http.post("/v1/runs", json={"config_yaml": "a: [1,\nb: }"}), 422)
    assert found["errors"][0]["line"] == 2
    found = problem(waiting.http.post("/v1/validate", json={"config_yaml": "\nstudy: nonsense"}), 422)
    assert (found["errors"][0]["key"], found["errors"][0]["line"]) == ("study", 2)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"config": {}, "config": {}}', "application/json", 400),
        (b'{"config": NaN}', "application/json", 400),
        (b'{"config": "\xff"}', "application/json", 400),
        (b"\xff\xfe", "application/yaml", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json", 422),
        (b'{"config": {}, "config_yaml": "{}"}', "application/json", 422),
        (b'{"config": {}, "nonsense": 1}', "application/json", 422),
        (b'{"config": {}, "id": "../x"}', "application/json", 422),
        (b'{"config": {}, "id": ".x"}', "application/json", 422),
        (b'{"config": {}, "executor": "slurm"}', "application/json", 422),
        (b'{"config": {}, "kind": "ood"}', "application/json", 422),
        (b"", "application/yaml", 422),
        (b"- 1", "application/yaml", 422),
        (b"a: !!python/object/apply:os.system [ls]", "application/yaml", 422),
        (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((n + 1, n + 1) + (n,) * 9) for n in range(97, 106)
        ), "application/yaml", 422),
        (b"{" * 100, "application/yaml", 422),
    ],
)  # fmt: skip
def test_bodies_that_are_wrong(content, kind, status, waiting):
    begun = time.process_time()
    problem(waiting.http.post("/v1/runs", content=content, headers={"Content-Type": kind}), status)
    assert time.process_time() - begun < 5  # a bomb takes hours, or all memory
    assert waiting.http.get("/v1/runs").json()["runs"] == []


def test_problems_of_the_framework_are_problems_too(waiting):
    assert "there is nothing at /v1/nonsense" in problem(waiting.http.get("/v1/nonsense"), 404)["detail"]
    answer = waiting.http.put("/v1/runs")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, POST"
    problem(waiting.http.get("/v1/runs?limit=0"), 422)
    problem(waiting.http.get("/v1/runs/nonsense"), 404)
    problem(waiting.http.get("/v1/schema/nonsense"), 404)
    problem(waiting.http.get("/v1/compare"), 422)
    problem(waiting.http.get("/v1/compare?runs=a,b"), 404)
    problem(waiting.http.get("/v1/runs/a/report.pdf"), 422)
    page = waiting.http.get("/nonsense", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("id", ["%00", "%ff", "%ed%a0%80", "...", ".x", "~", "a~b~c~d", "a" * 300, "%2e%2e%2fx", "\\"])
def test_ids_that_name_nothing(id, waiting):
    for path in ("", "/logs", "/events", "/artifacts", "/artifacts/config.yaml", "/report.json"):
        answer = waiting.http.get(f"/v1/runs/{id}{path}")
        assert answer.status_code in (404, 422)
    assert waiting.http.delete(f"/v1/runs/{id}").status_code in (404, 405, 422)


def test_ranges(finished):
    served, _ = finished
    at = "/v1/runs/one/artifacts/config.yaml"
    whole = served.http.get(at)
    size, tag = len(whole.content), whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"

    def ask(value: str, **more: str) -> httpx.Response:
        return served.http.get(at, headers={"Range": value, **more})

    for value, wanted, says in [
        ("bytes=0-9", whole.content[:10], f"bytes 0-9/{size}"),
        ("bytes=10-", whole.content[10:], f"bytes 10-{size - 1}/{size}"),
        ("bytes=-5", whole.content[-5:], f"bytes {size - 5}-{size - 1}/{size}"),
        ("bytes=5-99999999", whole.content[5:], f"bytes 5-{size - 1}/{size}"),
    ]:
        part = ask(value)
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, wanted, says)
    for value in ("bytes=9-2", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5", "bytes=-"):
        assert (ask(value).status_code, ask(value).content) == (200, whole.content)
    for value in (f"bytes={size}-", "bytes=-0", "bytes=99999999999999999999-"):
        answer = ask(value)
        problem(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{size}"
    assert ask("bytes=0-9", **{"If-Range": tag}).status_code == 206
    assert ask("bytes=0-9", **{"If-Range": '"other"'}).status_code == 200
    assert served.http.get(at, headers={"If-None-Match": tag}).status_code == 304
    head = served.http.head(at)
    assert (head.headers["content-length"], head.content) == (str(size), b"")


def test_no_path_leads_out_of_the_run_nor_to_a_hidden_file(finished, tmp_path):
    served, _ = finished
    folder = served.supervisor.folder("one")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "ticket").symlink_to(folder / ".service.json")
    (folder / "alias.yaml").symlink_to("config.yaml")
    (folder / "page.svg").write_text("<svg/>")
    try:
        bad = ["out", "folder/secret", "ticket", ".service.json", ".lock", "report/.x", "report", "", "/etc/passwd",
               "..%2fone%2fconfig.yaml", "%2e%2e/one/config.yaml", "..%5cconfig.yaml", "config.yaml%00", "config.yaml/",
               "report/../config.yaml", "report//report.json", "%2fetc%2fpasswd", "logs/..%2f.lock"]  # fmt: skip
        for name in bad:
            connection = HTTPConnection(served.url.removeprefix("http://"))  # httpx would tidy the path
            connection.request("GET", f"/v1/runs/one/artifacts/{name}", headers=served.headers)
            assert connection.getresponse().status == 404, name
            connection.close()
        for name in (".service.log", "logs/../.service.json", "../one/config.yaml", "config.yaml"):
            problem(served.http.get("/v1/runs/one/logs", params={"file": name}), 404)
        listed = {one["path"] for one in served.http.get("/v1/runs/one/artifacts").json()["artifacts"]}
        assert "alias.yaml" in listed
        assert not listed & {"out", "ticket", "folder/secret", ".service.json"}
        for name in listed:
            assert served.http.get(f"/v1/runs/one/artifacts/{name}").status_code == 200
        drawn = served.http.get("/v1/runs/one/artifacts/page.svg")
        assert "sandbox" in drawn.headers["content-security-policy"]
        assert drawn.headers["x-content-type-options"] == "nosniff"
    finally:
        for name in ("out", "folder", "ticket", "alias.yaml", "page.svg"):
            (folder / name).unlink()


def test_logs(finished):
    served, _ = finished
    listed = served.http.get("/v1/runs/one/logs?list=1").json()
    assert listed["default"] == "logs/rank-0000.log"
    assert "service.log" in listed["files"]
    whole = served.http.get("/v1/runs/one/logs").text
    lines = whole.splitlines(keepends=True)
    assert served.http.get("/v1/runs/one/logs?tail=2").text == "".join(lines[-2:])
    assert served.http.get("/v1/runs/one/logs?tail=100000").text == whole
    assert served.http.get("/v1/runs/one/logs", headers={"Range": "bytes=-9"}).text == whole[-9:]
    assert served.http.get("/v1/runs/one/logs?follow=1").text == whole  # it is over
    assert served.http.get("/v1/runs/one/logs?follow=1&tail=1").text == lines[-1]
    assert served.http.get("/v1/runs/one/logs?file=service.log").status_code == 200


def test_a_log_is_followed_as_it_grows_until_the_run_is_over(waiting):
    waiting.http.post("/v1/runs", json={"config": {}, "id": "a"})
    log = waiting.supervisor.folder("a") / "logs" / "rank-0000.log"
    assert waiting.http.get("/v1/runs/a/logs").text == ""
    with waiting.http.stream("GET", "/v1/runs/a/logs?follow=1") as answer:
        text = answer.iter_text()
        log.parent.mkdir()
        log.write_text("one\n")
        assert next(text) == "one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert next(text) == "two\n"
        waiting.http.post("/v1/runs/a/cancel")
        assert list(text) == []


def events(answer: httpx.Response) -> Iterator[tuple[int, dict[str, Any]]]:
    """Id and data of the events in a stream."""
    id = 0
    for line in answer.iter_lines():
        if line.startswith("id: "):
            id = int(line[4:])
        if line.startswith("data: "):
            yield id, json.loads(line[6:])


def test_events_of_a_run_end_with_it_and_go_on_after_the_last_one_known(waiting):
    waiting.http.post("/v1/runs", json={"config": {}, "id": "a"})
    with waiting.http.stream("GET", "/v1/runs/a/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["x-accel-buffering"], answer.headers["cache-control"]) == ("no", "no-cache")
        stream = events(answer)
        rev, run = next(stream)
        assert (run["state"], run["rev"]) == ("queued", rev)
        waiting.http.post("/v1/runs/a/cancel")
        later = list(stream)
    assert later[-1][1]["state"] == "cancelled"
    assert [id for id, _ in later] == sorted({id for id, _ in later})
    assert later[0][0] > rev
    with waiting.http.stream("GET", "/v1/runs/a/events", headers={"Last-Event-ID": str(rev)}) as answer:
        assert next(events(answer))[0] > rev
    known = {"Last-Event-ID": str(later[-1][0])}
    assert waiting.http.get("/v1/runs/a/events", headers=known).status_code == 204


def test_events_of_all_runs_after_a_revision(waiting):
    first = waiting.http.post("/v1/runs", json={"config": {}, "id": "a"}).json()
    waiting.http.post("/v1/runs", json={"config": {}, "id": "b"})
    with waiting.http.stream("GET", f"/v1/events?after={first['rev']}") as answer:
        stream = events(answer)
        assert next(stream)[1]["id"] == "b"
        waiting.http.post("/v1/runs", json={"config": {}, "id": "c"})
        assert next(stream)[1]["id"] == "c"


def test_a_change_while_an_event_is_sent_is_sent_too(waiting):
    async def follow() -> list[str]:
        found = _changes(waiting.supervisor, 0, lambda: False, waiting.supervisor.index.since)
        waiting.supervisor.index.put(ROW)
        first = await anext(found)
        waiting.supervisor.index.put(replace(ROW, id="b"))  # the stream is not at work here
        second = await asyncio.wait_for(anext(found), 5)
        return [first.id, second.id]

    assert asyncio.run(follow()) == ["a", "b"]


def test_events_after_a_revision_that_is_still_to_come_and_of_a_run_that_is_deleted(waiting):
    row = waiting.http.post("/v1/runs", json={"config": {}, "id": "a"}).json()
    later = {"Last-Event-ID": str(row["rev"] + 10**12)}  # known from before the clock was put back
    with waiting.http.stream("GET", "/v1/runs/a/events", headers=later) as answer:
        stream = events(answer)
        assert next(stream)[1]["state"] == "queued"
        waiting.http.delete("/v1/runs/a")
        assert list(stream) == []
    with waiting.http.stream("GET", f"/v1/events?after={10**30}") as answer:
        waiting.http.post("/v1/runs", json={"config": {}, "id": "b"})
        assert next(events(answer))[1]["id"] == "b"


def test_who_leaves_a_stream_leaves_nothing_behind(waiting):
    waiting.http.post("/v1/runs", json={"config": {}, "id": "a"})
    tasks = waiting.server.server_state.tasks
    for _ in range(3):
        for path in ("/v1/runs/a/events", "/v1/events?after=0", "/v1/runs/a/logs?follow=1"):
            with httpx.Client(base_url=waiting.url, headers=waiting.headers) as client, client.stream("GET", path):
                pass
    end = time.monotonic() + 30
    while tasks or waiting.supervisor._waiting:
        assert time.monotonic() < end, "streams are still open"
        time.sleep(0.05)
    assert waiting.run("a")["state"] == "queued"


def test_a_server_that_stops_ends_streams_properly(tmp_path):
    with serving(tmp_path / "root", slots=0) as served:
        served.http.post("/v1/runs", json={"config": {}, "id": "a"})
        with (
            served.http.stream("GET", "/v1/runs/a/events") as one,
            served.http.stream("GET", "/v1/runs/a/logs?follow=1") as other,
        ):
            stream = events(one)
            next(stream)
            served.server.should_exit = True
            assert list(stream) == []  # httpx raises an error for an answer that is cut off
            assert other.read() == b""


def test_the_document_is_valid_and_says_what_every_key_means(waiting):
    from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

    document = waiting.http.get("/v1/openapi.json").json()
    assert list(OPENAPI_31_VALIDATOR.iter_errors(document)) == []
    components = document["components"]["schemas"]
    names = [one["$ref"].rpartition("/")[2] for one in components["Configuration"]["oneOf"]]
    assert len(names) == len(set(models().values()))
    for name, model in {model.__name__: model for model in models().values()}.items():
        assert name in names
        assert components[name]["properties"].keys() == model.model_fields.keys()
        for key, field in model.model_fields.items():
            assert components[name]["properties"][key].get("description") == field.description, (name, key)
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
    assert all(id.isidentifier() for id in ids)


@pytest.mark.parametrize("kind", ["run", "study", "ood", "roundtrip"])
def test_the_schema_of_a_kind_takes_its_examples_and_no_unknown_key(kind, waiting):
    schema = waiting.http.get(f"/v1/schema/{kind}").json()
    validator = jsonschema_rs.Draft202012Validator(schema)
    given = {name: one for name, one in examples().items() if (name if name in OTHERS else "study") == kind}
    for name, one in given.items():
        assert validator.is_valid(one), (name, [str(error) for error in validator.iter_errors(one)])
        assert not validator.is_valid({**one, "nonsense": 1})


def test_metrics_count_requests_by_route(waiting):
    waiting.http.post("/v1/runs", json={"config": {}, "id": "a"})
    for id in ("a", "b", "c"):
        waiting.http.get(f"/v1/runs/{id}")
    text = waiting.http.get("/metrics").text
    assert 'probe_runs{state="queued"} 1.0' in text
    assert 'probe_http_requests_total{method="GET",route="/v1/runs/{id}",status="404"} 2.0' in text
    assert 'route="/v1/runs/b"' not in text
    assert "probe_slots 0.0" in text


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a: 1\nb:\n  c: 2\n", ("b", "c"), 3),
        ("a: 1\nb:\n  c: 2\n", ("b", "missing"), 2),
        ("a:\n- x\n- y: 1\n", ("a", 1, "y"), 3),
        ("a: &x {b: 1}\nc: *x\n", ("c", "b"), 1),
        ("a: 1", ("z",), None),
        ("a: [", ("a",), None),
    ],
)
def test_lines_of_keys(text, path, line):
    assert line_of(composed(text), path) == line


def test_a_text_with_many_mistakes_is_gone_through_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(problems, "composed", lambda text: asked.append(text) or composed(text))
    text = "".join(f"k{number}: 1\n" for number in range(300))
    with pytest.raises(UserError) as wrong:
        of_yaml(text, Settings(root=tmp_path))
    found = problems.mistakes(wrong.value)
    assert [one.line for one in found] == list(range(1, problems.MOST + 1))
    assert asked == [text]


def test_the_server_never_imports_torch(tmp_path):
    """Also after requests of every kind: torch takes seconds and hundreds of megabytes."""
    script = f"""
import asyncio, pathlib, socket, sys, threading, time
import httpx
from probe.serve.app import Server, create_app
from probe.serve.settings import Settings
root = pathlib.Path({str(tmp_path)!r})
sock = socket.create_server(("127.0.0.1", 0))
settings = Settings(root=root, port=sock.getsockname()[1], slots=0)
server = Server(create_app(settings), settings)
thread = threading.Thread(target=lambda: asyncio.run(server.serve([sock])))
thread.start()
client = httpx.Client(base_url=f"http://127.0.0.1:{{settings.port}}", timeout=60)
assert client.get("/healthz").status_code == 200
for config in {list(examples().values())!r}:
    client.post("/v1/validate", json={{"config": config}})
assert client.post("/v1/runs", json={{"config": {{"datasets": {{"digits": {{}}}}}}, "id": "a"}}).status_code == 201
for path in ("runs", "runs/a", "runs/a/logs", "runs/a/artifacts", "runs/a/report.json", "presets", "schema/run",
             "openapi.json", "board", "compare?runs=a,b", "events?after=0"):
    if path.startswith("events"):
        with client.stream("GET", "/v1/" + path):
            pass
    else:
        client.get("/v1/" + path)
client.get("/metrics"), client.get("/readyz")
client.post("/v1/runs/a/cancel")
client.delete("/v1/runs/a")
server.should_exit = True
thread.join()
print([name for name in ("torch", "diffusers", "pandas", "sklearn", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", done.stdout


def test_files_of_a_run_are_named_by_their_endings():
    for name, kind in {
        "a.json": "application/json", "a.md": "text/markdown; charset=utf-8", "a.png": "image/png",
        "a.safetensors": "application/octet-stream", "a.log": "text/plain; charset=utf-8",
        "a.html": "text/html; charset=utf-8",
    }.items():  # fmt: skip
        assert files.media_type(Path(name)) == kind
