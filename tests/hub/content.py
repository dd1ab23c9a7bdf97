"""What the hub for tests keeps: repositories, their commits, branches and tags, and their files by content."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal

Kind = Literal["model", "dataset"]

LARGE = {
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".parquet", ".arrow", ".zip", ".tar", ".gz", ".npy", ".npz"),
    *(".jpg", ".jpeg", ".png", ".webp", ".h5"),
}
"""Endings of files that the hub keeps in LFS: what its .gitattributes name."""
LARGE_BYTES = 10 << 20
"""Any file of this size is kept in LFS."""


@dataclass(frozen=True)
class File:
    """One file of a commit."""

    path: str
    size: int
    sha1: str
    """The object's name in git."""
    sha256: str
    large: bool
    """Whether it is in LFS, and so delivered by the CDN."""
    at: Path
    """Where its bytes are."""

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.sha1

    def entry(self) -> dict[str, Any]:
        """As the trees of the hub's API show it."""
        found = {"type": "file", "oid": self.sha1, "size": self.size, "path": self.path}
        return found | ({"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 134}} if self.large else {})

    def sibling(self, sizes: bool) -> dict[str, Any]:
        """As the hub's info on a repository shows it."""
        if not sizes:
            return {"rfilename": self.path}
        lfs = {"lfs": {"sha256": self.sha256, "size": self.size, "pointerSize": 134}} if self.large else {}
        return {"rfilename": self.path, "size": self.size, "blobId": self.sha1, **lfs}


@dataclass(frozen=True)
class Commit:
    """One commit: its name, title, time and files by path."""

    sha: str
    title: str
    date: str
    files: Mapping[str, File]

    def folder(self, path: str) -> list[dict[str, Any]]:
        """What is in a folder ("" is the root), as the hub's API shows it, folders first."""
        prefix = f"{path}/" if path else ""
        inside = [name.removeprefix(prefix) for name in self.files if name.startswith(prefix)]
        folders = sorted({name.split("/")[0] for name in inside if "/" in name})
        return [folder_entry(prefix + name) for name in folders] + [
            self.files[prefix + name].entry() for name in sorted(inside) if "/" not in name
        ]

    def tree(self, path: str) -> list[dict[str, Any]]:
        """Everything below a folder."""
        found = []
        for entry in self.folder(path):
            found.append(entry)
            if entry["type"] == "directory":
                found.extend(self.tree(entry["path"]))
        return found


def is_large(path: str, size: int) -> bool:
    """Whether the hub keeps a file in LFS."""
    return PurePosixPath(path).suffix.lower() in LARGE or size > LARGE_BYTES


def folder_entry(path: str) -> dict[str, Any]:
    """A folder, as the hub's API shows it."""
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


@dataclass
class Repository:
    """One repository. Its folder of objects holds the bytes of every file, named by their SHA-256."""

    name: str
    kind: Kind
    objects: Path
    gated: bool = False
    private: bool = False
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    history: list[Commit] = field(default_factory=list)

    def commit(self, folder: Path | str, *, branch: str = "main", title: str = "A new version") -> str:
        """A commit of all files of a folder, which replaces what was there; its name (SHA)."""
        return self.write({path: self.keep(path, at) for path, at in _files(Path(folder))}, branch, title).sha

    def write(self, files: Mapping[str, File], branch: str, title: str) -> Commit:
        """A commit of these files on a branch."""
        number = len(self.history)
        content = "".join(f"{path} {file.sha256}\n" for path, file in sorted(files.items()))
        sha = hashlib.sha1(f"{self.kind} {self.name} {number}\n{content}".encode()).hexdigest()
        date = (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        commit = Commit(sha, title, date, dict(files))
        self.history.append(commit)
        self.branches[branch] = commit
        return commit

    def keep(self, path: str, source: Path | bytes) -> File:
        """A file of a commit, with its bytes kept."""
        content = source if isinstance(source, bytes) else source.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        at = self.objects / sha256
        if not at.exists():
            at.write_bytes(content)
        large = is_large(path, len(content))
        sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return File(path, len(content), sha1, sha256, large, at)

    def tag(self, name: str, revision: str = "main") -> None:
        """Name a commit for good."""
        self.tags[name] = self[revision]

    def branch(self, name: str, revision: str = "main") -> None:
        """Begin a branch."""
        self.branches[name] = self[revision]

    def __getitem__(self, revision: str) -> Commit:
        """The commit that a branch, a tag, or (the beginning of) a commit's name means; KeyError if there is none."""
        if (found := self.branches.get(revision) or self.tags.get(revision)) is not None:
            return found
        if len(revision) >= 7:
            for commit in self.history:
                if commit.sha.startswith(revision):
                    return commit
        raise KeyError(revision)

    def info(self, commit: Commit, sizes: bool) -> dict[str, Any]:
        """What the hub's API tells of a repository at a commit."""
        return {
            "_id": hashlib.sha1(self.name.encode()).hexdigest()[:24],
            "id": self.name,
            "author": self.name.split("/")[0],
            "sha": commit.sha,
            "lastModified": commit.date,
            "createdAt": self.history[0].date,
            "private": self.private,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [file.sibling(sizes) for file in commit.files.values()],
        }


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder by their paths in it."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file
