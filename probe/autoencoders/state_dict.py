"""The weights in a checkpoint: which entries they are, their names, and what else is there."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from probe.errors import UserError

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "weights")
"""Entries under which training frameworks keep the weights; the first one found counts."""
ASIDE = ("optim", "sched", "callbacks", "loops", "rng", "random", "scaler")
"""Parts of the names of entries that are not weights."""
DEEPEST = 64
MOST = 1_000_000
SHOWN = 6


def state_dict_of(content: Any, file: object) -> tuple[dict[str, Tensor], str]:
    """The weights in what ``torch.load`` returned, names of nested entries joined by dots, and a note on what was left
    out, empty if nothing was; UserError (naming ``file``) without any, or for ambiguous names."""
    if not isinstance(content, Mapping):
        kind = "one tensor" if isinstance(content, Tensor) else f"a {type(content).__name__}"
        raise UserError(f"{file} holds {kind}, not a state dict; save model.state_dict().")
    taken: list[str] = []
    left_out: list[str] = []
    tensors: dict[str, Tensor] = {}
    while (key := _container(content)) is not None:
        left_out += [_told(name, value) for name, value in content.items() if name != key]
        taken.append(key)
        content = content[key]
    nested = any(_count(value) for value in content.values() if not isinstance(value, Tensor))
    for name, value in content.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0
        if (nested and scalar) or _is_aside(name, value) or not _count(value):  # a number beside modules counts steps
            left_out.append(_told(name, value))
            continue
        for path, one in _leaves(value, (name,)):
            if not isinstance(one, Tensor):
                left_out.append(".".join(map(str, path)))
                continue
            joined = _joined(path, file)
            if joined in tensors:
                raise UserError(f"{file} has two tensors named {joined!r}; rename one of them.")
            tensors[joined] = one
    if not tensors:
        raise UserError(f"{file} holds no state dict: it has no named tensor.")
    whose = f" of {'.'.join(taken)!r}" if taken else ""
    more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
    note = f"{len(tensors)} tensors{whose} written; left out: {', '.join(left_out[:SHOWN])}{more}"
    return tensors, note if left_out else ""


def _container(content: Mapping[Any, Any]) -> str | None:
    """The entry with the weights: one of the usual names that holds named tensors."""
    if any(isinstance(value, Tensor) and value.ndim for value in content.values()):
        return None
    return next((key for key in CONTAINERS if isinstance(content.get(key), Mapping) and _count(content[key])), None)


def _is_aside(name: Any, value: Any) -> bool:
    """Whether an entry is no tensor, and is by its name or content the state of an optimizer or the like."""
    if isinstance(value, Tensor) or not isinstance(name, str):
        return False
    words = name.lower().replace("-", "_")
    by_name = any(part in words for part in ASIDE) or "ema" in words.split("_")
    return by_name or (isinstance(value, Mapping) and {"state", "param_groups"} <= set(value))


def _told(name: Any, value: Any) -> str:
    count = 0 if isinstance(value, Tensor) else _count(value)
    return f"{name!s:.60}" + (f" ({count} tensors)" if count else "")


def _count(value: Any) -> int:
    return sum(isinstance(one, Tensor) for _, one in _leaves(value))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All values in nested mappings and lists, in order, with their paths of keys."""
    stack, visited = [(path, value)], 0
    while stack:
        path, value = stack.pop()
        visited += 1
        if visited > MOST or len(path) > DEEPEST:
            raise UserError("the checkpoint is nested too deeply, or contains itself; save model.state_dict() alone.")
        if isinstance(value, Mapping):
            stack += reversed([((*path, key), one) for key, one in value.items()])
        elif isinstance(value, list | tuple):
            stack += reversed([((*path, key), one) for key, one in enumerate(value)])
        else:
            yield path, value


def _joined(path: tuple[Any, ...], file: object) -> str:
    for key in path:
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise UserError(f"{file}: {key!r:.60} is not a name of a tensor; names are text.")
    name = ".".join(map(str, path))
    if name == "__metadata__" or not name.isprintable():
        raise UserError(f"{file}: {name!a:.60} cannot be a name of a tensor in safetensors; rename it.")
    return name
