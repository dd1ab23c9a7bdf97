"""The two errors of the tool: a mistake that the user can fix, and a failure. And what messages of others may say."""

import re

_SECRETS = re.compile(r"(https?://[^\s?'\"<>]+\?)[^\s'\"<>)]+|\b(hf_)[A-Za-z0-9]{8,}")
"""The query of an address, which may be its signature; a token of the hub."""
_USER = re.compile(r"(https?://)[^\s/?'\"<>@]+@")
"""A name and password before an address, as mirrors of the hub may have it."""


class UserError(Exception):
    """A mistake that the user can fix: one sentence naming the thing, what is wrong and what to do. Exit status 2."""


class Failure(Exception):
    """Something outside the user's command went wrong (a full disk, a lost process): one sentence. Exit status 1."""


def leaves(error: BaseException) -> bool:
    """Whether an exception only ends the process, without an error: SystemExit, typer's Exit."""
    return isinstance(error, SystemExit) or type(error).__module__.partition(".")[0] in ("click", "typer")


class Interruption(BaseException):
    """The work must stop now. Not an ``Exception``, so that no handler catches it by accident."""


def without_secrets(text: str) -> str:
    """A text without tokens of the hub and without the queries and passwords of addresses."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}...", _USER.sub(r"\1", text))


def reason_of(error: BaseException, most: int = 200) -> str:
    """What an exception says, on one line of at most ``most`` characters, without secrets; its type if it says
    nothing."""
    return without_secrets(" ".join(str(error).split()) or type(error).__name__)[:most]
