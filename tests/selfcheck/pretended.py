"""A device that is none: its tensors say that they are on ``lazy``, hold their numbers on the CPU, and are watched.

``lazy`` is one of torch's devices, which means nothing here, and on which derivatives are taken in the main thread. The
code under test takes the branches of a GPU, and computes the right numbers. ``Watch`` notes, with the function of
``probe`` that asked for it, whatever on a GPU would make the host wait, or would not work:

| noted as | what it was |
|---|---|
| read | a number or tensor of the device read by the host |
| sent | a tensor of the host copied to the device |
| sized | an operation whose result has as many rows as the numbers say: nonzero, boolean indexing |
| misplaced | a tensor of the host, other than a number, used with one of the device |
"""

import collections
import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import probe

DEVICE = torch.device("lazy", 0)
ROOM = str(Path(probe.__file__).parent)
aten = torch.ops.aten
SIZED = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave", "equal"}
COPIES = {"_to_copy", "copy_"}


class Pretended(torch.Tensor):
    """A tensor that says it is on ``DEVICE``; ``inner`` has its numbers."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )

    def __init__(self, inner):
        self.inner = inner

    def tolist(self):
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of Watch")


def there(tensor):
    """The tensor on the pretended device."""
    return Pretended(tensor.detach().clone())


class Watch(TorchDispatchMode):
    """Computes with pretended tensors, and counts what is noted by (what, place)."""

    def __init__(self):
        super().__init__()
        self.noted = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        inside = [one for one in tensors if isinstance(one, Pretended)]
        name, device = func._schema.name.split("::")[1], kwargs.get("device")
        on_device = bool(inside) if device is None else torch.device(device) == DEVICE
        if name == "copy_":
            on_device = isinstance(args[0], Pretended)
        self._note(name, args, tensors, inside, on_device)
        if device is not None and torch.device(device) == DEVICE:
            kwargs["device"] = torch.device("cpu")
        known = {id(one.inner): one for one in inside}
        found = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))

        def wrap(value):
            if not isinstance(value, torch.Tensor) or not on_device:
                return value
            return known.get(id(value)) if id(value) in known else Pretended(value)

        return tree_map(wrap, found)

    def _note(self, name, args, tensors, inside, on_device):
        what = None
        if name == "_local_scalar_dense" and inside:
            what = "read"
        elif name in COPIES:
            source = args[1] if name == "copy_" else args[0]
            if isinstance(source, Pretended) != on_device:
                what = "sent" if on_device else "read"
        elif inside and (name in SIZED or (name.startswith("index") and _has_mask(args))):
            what = "sized"
        elif inside and any(one.ndim and not isinstance(one, Pretended) for one in tensors):
            what = "misplaced"
        if what:
            self.noted[what, _place()] += 1


def _inner(value):
    return value.inner if isinstance(value, Pretended) else value


def _has_mask(args):
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


def _place():
    """The innermost function of ``probe`` on the stack, as ``file.function``."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(ROOM):
            return f"{Path(file).stem}.{frame.f_code.co_qualname.replace('.<locals>', '')}"
        frame = frame.f_back
    return "outside"
