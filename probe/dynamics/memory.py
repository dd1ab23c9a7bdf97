"""The largest batch that fits: when a device runs out of memory, the batch is halved and the work continues."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("probe")


class Fitting:
    """A function of rows, evaluated in parts if the whole does not fit into the device's memory.

    It maps tensors of n rows each to one such tensor or a tuple of them, each row by itself. ``rows`` is the largest
    part that is tried, which becomes smaller when memory runs out; None: all rows.
    """

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]], rows: int | None = None):
        self.function = function
        self.rows = rows

    def __call__(self, *arguments: Tensor):  # type: ignore[no-untyped-def]
        """The function's value at rows of any number; torch.OutOfMemoryError if not even one row fits."""
        while True:
            rows = min(self.rows or len(arguments[0]), len(arguments[0]))
            try:
                return self._in_parts(arguments, rows)
            except torch.OutOfMemoryError:
                if rows <= 1:
                    raise
                self.rows = -(-rows // 2)
            # Outside the handler, whose traceback would hold on to what is to be freed.
            log.warning(f"out of memory with {rows} rows at once; continuing with {self.rows}")
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _in_parts(self, arguments: tuple[Tensor, ...], rows: int):  # type: ignore[no-untyped-def]
        if rows >= len(arguments[0]):
            return self.function(*arguments)
        parts: list[Any] = [self.function(*part) for part in zip(*(a.split(rows) for a in arguments), strict=True)]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        return tuple(map(torch.cat, zip(*parts, strict=True)))
