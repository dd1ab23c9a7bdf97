"""Rows a second of f = E(D(z)) of an autoencoder of Stable Diffusion 1.5's shape with random weights, at 256 px."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from probe.bench.device import arithmetic, flops, seconds
from probe.selfcheck.autoencoder_kl import AutoencoderKL, sd_shaped
from probe.selfcheck.check import Check, Row, Setting
from probe.selfcheck.speed_device import peak, target

SHARE = 0.6
"""Of the peak that a matrix product reaches in the same arithmetic, in the first part of the way."""
GRAPHED = (1, 8)
"""Rows of the CUDA graphs: what they save is the host's time, which small batches wait for."""


@dataclass(frozen=True)
class Way:
    """How f is computed.

    Attributes:
        precision: ``float32``, ``tf32`` or ``bfloat16``, as in the loop.
        weights: bfloat16 weights and activations throughout, instead of autocast, which normalises in float32.
        channels_last: weights and activations in that order.
        tuned: cuDNN tries its algorithms on each shape.
        compiled: by torch.compile.
    """

    precision: str
    weights: bool = False
    channels_last: bool = False
    tuned: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        extras = ("weights", "channels_last", "tuned", "compiled")
        said = {"weights": "bfloat16 weights", "tuned": "cudnn.benchmark", "compiled": "torch.compile"}
        return ", ".join([self.precision, *(said.get(one, one) for one in extras if getattr(self, one))])


@dataclass(frozen=True)
class Speed:
    """Rows a second in batches of so many rows."""

    rows: int
    per_second: float


@cache
def operations(small: bool) -> float:
    """Of f for one row, counted; a multiply-add is two."""
    return flops(sd_shaped(torch.device("meta"), small=small), starts(Setting(torch.device("meta"), small), 1))


def starts(setting: Setting, n: int) -> Tensor:
    """Latents (n, 4, 32, 32) of images of 256 px; small: of 32."""
    side = 4 if setting.small else 32
    if setting.device.type == "meta":
        return torch.empty(n, 4, side, side, device="meta")
    return torch.randn(n, 4, side, side, generator=torch.Generator().manual_seed(0)).to(setting.device)


@contextmanager
def prepared(model: AutoencoderKL, way: Way, device: torch.device) -> "Iterator[Callable[[Tensor], Tensor]]":
    """f in this way; within, the global settings are its own."""
    before = torch.backends.cudnn.benchmark
    with ExitStack() as stack:
        stack.enter_context(arithmetic("float32" if way.weights else way.precision, device))
        stack.callback(setattr, torch.backends.cudnn, "benchmark", before)
        torch.backends.cudnn.benchmark = way.tuned
        model = model.to(torch.bfloat16 if way.weights else torch.float32)
        model = model.to(memory_format=torch.channels_last if way.channels_last else torch.contiguous_format)  # type: ignore[call-overload]
        f: Callable[[Tensor], Tensor] = torch.compile(model, dynamic=False) if way.compiled else model

        def computed(z: Tensor) -> Tensor:
            return f(z.to(torch.bfloat16)).float() if way.weights else f(z)

        yield computed


def swept(f: Callable[[Tensor], Tensor], setting: Setting, sizes: Sequence[int]) -> Iterator[Speed]:
    """Rows a second in batches of these sizes, until memory ends or time."""
    for rows in sizes:
        z = starts(setting, rows)
        try:
            taken = seconds(lambda z=z: f(z), setting.device, repeats=5, limit=0.3)  # type: ignore[misc]
        except torch.OutOfMemoryError:
            return
        yield Speed(rows, rows / taken)
        if setting.left() < 6 * taken:
            return


def _row(way: Way, speed: Speed, setting: Setting, extra: str = "") -> Row:
    return Row(f"{way}{extra}, {speed.rows} rows", speed.per_second, "rows/s", note=_share(way, speed, setting)[1])


def _share(way: Way, speed: Speed, setting: Setting) -> tuple[float, str]:
    reached = speed.per_second * operations(setting.small)
    share = reached / peak(setting.device, way.precision, setting.small)
    return share, f"{reached / 1e12:.3g} TFLOP/s, {100 * share:.0f} % of the peak"


def _map(setting: Setting) -> Iterator[Row]:
    yield Row("operations of f", operations(setting.small) / 1e12, "TFLOP/row", note="counted")
    model = sd_shaped(setting.device, small=setting.small)
    shares: list[tuple[float, str]] = []
    for way, sizes in (
        (Way("float32"), (1, 2, 4, 8)),
        (Way("tf32"), (1, 2, 4, 8, 16, 32)),
        (Way("bfloat16"), (1, 8, 32)),
        (Way("bfloat16", weights=True), (1, 8, 32)),
        (Way("tf32", channels_last=True), (16,)),
        (Way("bfloat16", weights=True, channels_last=True), (16,)),
    ):
        with prepared(model, way, setting.device) as f:
            for speed in swept(f, setting, (1, 2) if setting.small else sizes):
                yield _row(way, speed, setting)
                if way.precision != "float32":
                    shares.append((_share(way, speed, setting)[0], f"{way}, {speed.rows} rows"))
    share, name = max(shares)
    yield target("share of the peak, far part", 100 * share, "%", ">=", 100 * SHARE, name)


def _tuned(setting: Setting) -> Iterator[Row]:
    """Trying takes cuDNN long in full float32: few rows."""
    model = sd_shaped(setting.device, small=setting.small)
    for way, rows in ((Way("tf32", tuned=True), 16), (Way("float32", tuned=True), 4)):
        with prepared(model, way, setting.device) as f:
            z = starts(setting, 2 if setting.small else rows)
            taken = seconds(lambda f=f, z=z: f(z), setting.device, repeats=3)  # type: ignore[misc]
            yield _row(way, Speed(len(z), len(z) / taken), setting)


def _graphs(setting: Setting) -> Iterator[Row]:
    model = sd_shaped(setting.device, small=setting.small)
    for way in (Way("bfloat16", weights=True), Way("tf32")):
        with prepared(model, way, setting.device) as f:
            for rows in GRAPHED:
                z = starts(setting, rows)
                plain = rows / seconds(lambda f=f, z=z: f(z), setting.device, repeats=5)  # type: ignore[misc]
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    f(z)
                yield _row(
                    way, Speed(rows, rows / seconds(graph.replay, setting.device, repeats=5)), setting, ", graph"
                )
                yield _row(way, Speed(rows, plain), setting, ", no graph")
                del graph


def _compiled(setting: Setting) -> Iterator[Row]:
    """Each arithmetic is compiled anew: the first one takes longest."""
    model = sd_shaped(setting.device, small=setting.small)
    for way, rows in (
        (Way("tf32", compiled=True), 8),
        (Way("bfloat16", weights=True, compiled=True), 8),
        (Way("float32", compiled=True), 4),
    ):
        began, z = setting.left(), starts(setting, 2 if setting.small else rows)
        with prepared(model, way, setting.device) as f:
            f(z)
            taken = began - setting.left()
            yield Row(f"{way}: compiling", taken, "s")
            once = seconds(lambda f=f, z=z: f(z), setting.device, repeats=5)  # type: ignore[misc]
            yield _row(way, Speed(len(z), len(z) / once), setting)
        torch._dynamo.reset()
        if setting.left() < taken:
            return


CHECKS = (Check("map", "speed", "rows of f a second, by arithmetic, layout and batch", 20, _map),)
FURTHER = (
    Check("map-compiled", "speed", "the same by torch.compile", 60, _compiled, cuda=True),
    Check("map-graph", "speed", "the same in a CUDA graph", 10, _graphs, cuda=True),
    Check("map-tuned", "speed", "the same with cuDNN's own choice", 12, _tuned),
)
"""After the others: they change nothing in how the tool computes."""
