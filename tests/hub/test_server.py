"""The hub for tests against the real client: what is asked of it is answered as the client expects."""

import json

import pytest

from ..processes import completed
from .commands import environment
from .server import Hub

SCRIPT = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

api, tmp, found = HfApi(), Path(sys.argv[1]), {}
def refusal(call, *args, **options):
    try:
        call(*args, **options)
    except Exception as error:
        return [type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)]

info = api.model_info("server/model", files_metadata=True)
found["info"] = [info.id, info.sha, sorted([f.rfilename, f.size, bool(f.lfs)] for f in info.siblings)]
found["of the tag"] = api.model_info("server/model", revision="v1").sha
found["tree"] = sorted(e.path for e in api.list_repo_tree("server/model", recursive=True))
found["top"] = sorted(e.path for e in api.list_repo_tree("server/model"))
found["paths"] = sorted(e.path for e in api.get_paths_info("server/model", ["a", "b.txt", "absent"]))
refs = api.list_repo_refs("server/model")
found["refs"] = [sorted(b.name for b in refs.branches), [t.name for t in refs.tags]]
found["commits"] = [c.title for c in api.list_repo_commits("server/model")]
folder = Path(snapshot_download("server/model", revision="v1"))
found["snapshot"] = [folder.name, sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())]
with HfFileSystem().open("server/model/a/large.bin", "rb", block_size=1000) as file:
    file.seek(70_000)
    found["range"] = list(file.read(3))
found["renamed"] = Path(hf_hub_download("server/before", "b.txt")).read_text()
found["refusals"] = [
    refusal(hf_hub_download, "server/absent", "b.txt"),
    refusal(hf_hub_download, "server/model", "absent"),
    refusal(hf_hub_download, "server/model", "b.txt", revision="v9"),
    refusal(hf_hub_download, "server/gated", "b.txt"),
    refusal(hf_hub_download, "server/gated", "b.txt", token=sys.argv[3]),
    refusal(hf_hub_download, "server/absent", "b.txt", token=sys.argv[3]),
    refusal(api.create_repo, "server/new"),
    refusal(api.create_repo, "server/new", token=sys.argv[3]),
]
mine = HfApi(token=sys.argv[2])
found["user"] = mine.whoami()["name"]
mine.create_repo("server/new", private=True)
mine.create_repo("server/new", exist_ok=True)
(tmp / "up" / "deep").mkdir(parents=True)
(tmp / "up" / "README.md").write_text("---\\nlicense: mit\\n---\\nNew\\n")
(tmp / "up" / "deep" / "weights.safetensors").write_bytes(bytes(range(256)) * 1000)
found["uploaded"] = mine.upload_folder(repo_id="server/new", folder_path=tmp / "up", commit_message="All").oid
mine.upload_file(repo_id="server/new", path_or_fileobj=b"more", path_in_repo="more.txt")
mine.delete_file("README.md", "server/new")
mine.create_tag("server/new", tag="v1")
back = Path(mine.snapshot_download("server/new", revision="v1"))
found["back"] = {str(f.relative_to(back)): len(f.read_bytes()) for f in back.rglob("*") if f.is_file()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict:
    tmp = tmp_path_factory.mktemp("server")
    (tmp / "model" / "a" / "deep").mkdir(parents=True)
    (tmp / "model" / "a" / "large.bin").write_bytes(bytes(i % 251 for i in range(100_000)))
    (tmp / "model" / "b.txt").write_text("first")
    for number in range(12):  # more than a page
        (tmp / "model" / "a" / "deep" / f"{number:02}.txt").write_text(str(number))
    model = hub.add("server/model", tmp / "model")
    model.tag("v1")
    model.branch("other")
    (tmp / "model" / "b.txt").write_text("second")
    model.commit(tmp / "model", title="The second version")
    hub.add("server/gated", tmp / "model", gated=True)
    hub.add("server/before", tmp / "model")
    hub.rename("server/before", "server/after")
    done = completed("-c", SCRIPT, tmp, hub.token, hub.stranger, cwd=tmp, only=environment(hub, tmp / "cache"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_repository_holds(found, hub):
    first, second = hub.repository("server/model").history
    assert found["info"][:2] == ["server/model", second.sha]
    assert ["a/large.bin", 100_000, True] in found["info"][2]
    assert ["b.txt", 6, False] in found["info"][2]
    assert found["of the tag"] == first.sha
    assert found["top"] == ["a", "b.txt"]
    assert len(found["tree"]) == 2 + 1 + 12 + 1
    assert found["paths"] == ["a", "b.txt"]
    assert found["refs"] == [["main", "other"], ["v1"]]
    assert found["commits"] == ["The second version", "The first version"]


def test_its_files(found, hub):
    assert found["snapshot"][0] == hub.repository("server/model")["v1"].sha
    assert len(found["snapshot"][1]) == 14
    assert found["range"] == [i % 251 for i in range(70_000, 70_003)]
    assert found["renamed"] == "second"


def test_refusals(found):
    assert found["refusals"] == [
        ["RepositoryNotFoundError", 401],
        ["RemoteEntryNotFoundError", 404],
        ["RevisionNotFoundError", 404],
        ["GatedRepoError", 401],
        ["GatedRepoError", 403],
        ["RepositoryNotFoundError", 404],
        ["HfHubHTTPError", 401],
        ["HfHubHTTPError", 403],
    ]


def test_uploads(found, hub):
    made = hub.repository("server/new")
    assert found["user"] == "owner"
    assert made.private
    assert found["uploaded"] == made.history[1].sha
    assert made.history[1].title == "All"
    assert found["back"] == {"deep/weights.safetensors": 256_000, "more.txt": 4}


def test_no_token_reaches_the_cdn(found, hub):
    assert {request.user for request in hub.requests if request.at == "cdn"} == {None}
