"""What the hub for tests takes: new repositories, files, commits, branches and tags, as huggingface_hub sends them
without Xet."""

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .content import Repository, is_large

if TYPE_CHECKING:
    from .server import Hub


def created(hub: "Hub", asked: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A repository as ``create_repo`` asks for it, and the status: 409 if there is one of its name."""
    kind = asked.get("type", "model")
    name = f"{asked.get('organization') or 'owner'}/{asked['name']}"
    about = {"url": f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}", "name": name}
    if hub.repository(name, kind) is not None:
        return about | {"error": "You already created this repo"}, 409
    private = asked.get("private") or asked.get("visibility") == "private"
    made = hub.create(name, kind, private=bool(private))
    made.write({}, "main", "initial commit")
    return about, 200


def modes(repository: Repository, asked: dict[str, Any], revision: str) -> dict[str, Any]:
    """For each file that is to come, whether it is to be sent to LFS, and its name in git if it is there already."""
    there = repository[revision].files
    return {
        "files": [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": there[file["path"]].sha1 if file["path"] in there else None,
            }
            for file in asked["files"]
        ]
    }


def batch(hub: "Hub", repository: Repository, asked: dict[str, Any]) -> dict[str, Any]:
    """Where the bytes of large files are to be sent; nowhere, if they are there."""
    objects = []
    for one in asked["objects"]:
        entry = {"oid": one["oid"], "size": one["size"]}
        if not (repository.objects / one["oid"]).exists():
            href = f"{hub.cdn}/repos/{one['oid']}?Signature={hub.secret}"
            entry |= {"authenticated": True, "actions": {"upload": {"href": href}}}
        objects.append(entry)
    return {"transfer": "basic", "objects": objects}


def committed(hub: "Hub", repository: Repository, revision: str, body: bytes) -> dict[str, Any]:
    """A commit in lines of JSON: a header, then files with their content, large ones by their names, and deletions."""
    files, title = dict(repository[revision].files), ""
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            title = value["summary"]
        elif line["key"] == "file":
            files[value["path"]] = repository.keep(value["path"], base64.b64decode(value["content"]))
        elif line["key"] == "lfsFile":
            files[value["path"]] = repository.keep(value["path"], repository.objects / value["oid"])
        else:
            gone = value["path"]
            files = {path: file for path, file in files.items() if path != gone and not path.startswith(f"{gone}/")}
    sha = repository.write(files, revision, title).sha
    place = f"{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
    return {"success": True, "commitOid": sha, "commitUrl": f"{hub.url}/{place}/commit/{sha}"}


def posted(hub: "Hub", repository: Repository, verb: str, rest: str, body: bytes) -> dict[str, Any] | None:
    """What a user who may write posts to a repository; None for what this hub does not know."""
    name = unquote(rest)
    if verb == "commit":
        return committed(hub, repository, name, body)
    asked = json.loads(body or b"{}")
    if verb == "preupload":
        return modes(repository, asked, name)
    if verb == "tag":
        repository.tag(asked["tag"], name)
    elif verb == "branch":
        repository.branch(name, asked.get("startingPoint") or "main")
    else:
        return None
    return {}
