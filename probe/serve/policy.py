"""What may not be asked for over HTTP unless the operator allows it by name: code, files of this machine, addresses."""

from dataclasses import dataclass
from pathlib import Path

from probe.config import Tracked
from probe.errors import UserError


@dataclass(frozen=True)
class Allowance:
    """What the operator allows.

    Attributes:
        python: models that are code, ``python:``.
        remote_code: ``trust_remote_code``.
        urls: ``urls:`` sources, whose addresses this machine fetches.
        folders: real paths below which configurations may name files.
    """

    python: bool = False
    remote_code: bool = False
    urls: bool = False
    folders: tuple[Path, ...] = ()


class Refused(UserError):
    """The operator has not allowed this (HTTP 403)."""


def refuse(config: Tracked, allow: Allowance) -> None:
    """Refuse a configuration that asks for what is not allowed.

    Raises:
        Refused: with the key and the option that allows it.
    """
