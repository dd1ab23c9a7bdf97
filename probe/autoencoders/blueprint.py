"""A model built without memory, on torch's meta device, to be compared with its files before it is loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from probe.autoencoders.adapter import quiet
from probe.autoencoders.weights import Header, check_types
from probe.errors import UserError, reason_of

LARGEST = 10**6
"""Largest integer in an autoencoder's configuration: sample rates are below 200,000, all others far below."""
LARGEST_OF_LANGUAGE = 10**8
"""The same for a language model: positions reach 10 million."""
LONGEST = 4096
"""Longest list in a configuration."""


class _TooLargeError(Exception):
    """More parameters than the weights can fill."""


def check_bounds(config: Any, there: str, largest: int = LARGEST, key: str = "") -> None:
    """Refuse numbers and lists for which building the model would never end; UserError names the key."""
    if isinstance(config, dict):
        for name, value in config.items():
            check_bounds(value, there, largest, str(name))
    elif isinstance(config, list):
        if len(config) > LONGEST:
            raise UserError(f"{there}: {key[:80]} in config.json has {len(config):,} entries, more than {LONGEST:,}.")
        for value in config:
            check_bounds(value, there, largest, key)
    elif isinstance(config, int) and abs(config) > largest:
        size = f"{config:,}" if abs(config) < 10**18 else "a number of more than 18 digits"
        raise UserError(f"{there}: {key[:80]} in config.json is {size}; at most {largest:,} is possible.")


def blueprint(build: Callable[[], nn.Module] | None, header: Header, there: str) -> nn.Module | None:
    """The model that ``build`` makes, all tensors on the meta device; None if its class cannot be built there.

    Raises:
        UserError: the configuration does not fit the class, or describes far more parameters than there are weights; or
            weights are not real numbers (also without a model).
    """
    model = _built(build, len(header), there) if build else None
    check_types(header, model, there)
    return model


def _built(build: Callable[[], nn.Module], tensors: int, there: str) -> nn.Module | None:
    most = 4 * tensors + 1000  # weight norms make three parameters of one
    try:
        with quiet(), torch.device("meta"), _at_most(most):
            return build()
    except _TooLargeError:
        raise UserError(
            f"{there}: config.json describes a model of more than {most:,} parameters, and the weights have "
            f"{tensors:,} tensors; use the config.json that belongs to them."
        ) from None
    except UserError:
        raise
    except Exception as error:  # whatever a constructor raises
        if "meta" in str(error).lower():
            return None
        raise UserError(f"{there}: no model can be built from config.json: {reason_of(error)}") from error


@contextmanager
def _at_most(limit: int) -> Iterator[None]:
    count = 0

    def registered(_module: nn.Module, _name: str, _value: Any) -> None:
        nonlocal count
        count += 1
        if count > limit:
            raise _TooLargeError

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()
