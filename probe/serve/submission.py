"""What was sent, as a submission: a configuration of any kind, checked as the command line checks it."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, get_args

from jobs.kinds import kind_named
from probe.config import Tracked
from probe.errors import UserError
from probe.kinds import WHAT, Kind
from probe.kinds import kind as kind_in
from probe.names import shown
from probe.reading import parse_json, parse_yaml, short
from probe.serve.policy import Refused, refuse
from probe.serve.problems import Located, Problem
from probe.serve.settings import Settings

ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
LONGEST_NAME = 200
LONGEST_KEY = 255
EXECUTORS = ("local", "slurm")
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


@dataclass
class Submission:
    """A run to be made.

    Attributes:
        id: the client's id; None: the service makes one.
        name: for people.
        key: Idempotency-Key.
        digest: checksum of all that was asked for: equal submissions have equal ones, however they were written.
        kind: of work.
        settings: the keys that were set, as JSON; ``probe.configuration.parse`` takes it.
        executor: ``local`` or ``slurm``.
        config: the configuration, with its defaults.
    """

    id: str | None
    name: str
    key: str | None
    digest: str
    kind: Kind
    settings: dict[str, Any]
    executor: str
    config: Tracked


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping in a YAML text that was sent.

    Raises:
        UserError: it is no YAML, or no mapping; or is too large, or has tags.
    """
    data = parse_yaml(text, "the configuration")
    if data is None:
        raise UserError("the configuration is empty; write at least one key, or {} to take every default.")
    if not isinstance(data, dict):
        raise UserError(f"the configuration must be a mapping of keys to values, not {short(data)}.")
    return data


def read_json(body: bytes) -> dict[str, Any]:
    """The object in a JSON body.

    Raises:
        Problem: 400, it is no JSON in UTF-8, or no object.
    """
    try:
        data = parse_json(body.decode("utf-8-sig"), "the body")
    except UserError as error:
        raise Problem(400, str(error)) from None
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body cannot be read: byte {error.start} is not UTF-8.") from None
    if not isinstance(data, dict):
        raise Problem(400, f"the body must hold a JSON object, not {short(data)}.")
    return data


def decoded(body: bytes) -> str:
    """The text of a YAML body.

    Raises:
        Problem: 400, it is not in UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(400, f"the configuration cannot be read: byte {error.start} is not UTF-8.") from None


def checked(data: dict[str, Any], wanted: str | None = None) -> tuple[Kind, Tracked]:
    """The kind and the configuration in a mapping.

    Raises:
        UserError: a mistake, with the sentence of the command line; it is of another kind than the one wanted.
    """
    found = kind_in(data)
    if wanted is not None and wanted not in get_args(Kind):
        raise UserError(f"kind {short(wanted)} is unknown: it is one of {', '.join(get_args(Kind))}.")
    if wanted not in (None, found):
        raise UserError(
            f"the configuration is that of {WHAT[found]}, not of kind {wanted}: leave kind out, or change its keys."
        )
    return found, kind_named(found).directory.parse(data)


def submission(
    data: dict[str, Any],
    settings: Settings,
    *,
    name: str | None = None,
    executor: str | None = None,
    id: str | None = None,
    key: str | None = None,
    kind: str | None = None,
) -> Submission:
    """A mapping as a submission; see ``checked`` for errors.

    Raises:
        Refused: the operator does not allow it.
        UserError: also for a wrong id, name, key or executor.
    """
    found, config = checked(data, kind)
    refuse(config, settings.allow)
    executor = executor or ("slurm" if settings.cluster and not settings.slots else "local")
    if executor not in EXECUTORS:
        raise UserError(f"executor {short(executor)} is unknown: it is local or slurm.")
    if executor == "slurm" and settings.cluster is None:
        raise UserError("executor slurm: this server has no cluster profile; its operator gives one with --cluster.")
    if id is not None and not ID.fullmatch(id):
        raise UserError(
            f"id {short(id)} becomes a folder: take up to 200 letters, digits, '.', '_' and '-', no dot in front."
        )
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise UserError(f"Idempotency-Key must have 1 to {LONGEST_KEY} printable characters.")
    name = shown((name or "").strip()) or id or _named(config, found)
    if len(name) > LONGEST_NAME:
        raise UserError(f"name {short(name)} is too long: at most {LONGEST_NAME} characters.")
    given = config.model_dump(mode="json", exclude_unset=True)
    if model := getattr(config, "model", None):  # written out: lists show it
        given["model"] = {"source": model.source, **given.get("model", {})}
    asked = {"kind": found, "settings": given, "executor": executor, "name": name}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Submission(id, name, key, digest, found, given, executor, config)


def of_yaml(text: str, settings: Settings, **asked: Any) -> Submission:
    """A YAML text as a submission; see ``submission``. A mistake in a key knows its line (``Located``)."""
    try:
        return submission(read_yaml(text), settings, **asked)
    except Refused:
        raise
    except UserError as error:
        raise Located(error, text) from None


def _named(config: Tracked, kind: Kind) -> str:
    """A name for people, from the model or the kind."""
    source = getattr(getattr(config, "model", None), "source", None) or getattr(config, "study", None)
    return shown(str(source or kind))[:LONGEST_NAME]
