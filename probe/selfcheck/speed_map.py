"""Rows a second of f = E(D(z)) of an autoencoder of Stable Diffusion 1.5's shape with random weights, at 256 px."""

from collections.abc import Callable, Iterator
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
FAR = "bfloat16"
KNEE = 1.03
"""A batch of twice the rows pays if it gives this much more rows a second."""
MOST_ROWS = 64
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
    """The batch beyond which more rows gain nothing, and its rows a second."""

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


def swept(f: Callable[[Tensor], Tensor], setting: Setting, most: int = MOST_ROWS) -> Iterator[Speed]:
    """Batches of 1, 2, 4, ... rows until twice the rows gain little, memory ends, or time."""
    rows, before = 1, 0.0
    while rows <= (4 if setting.small else most):
        z = starts(setting, rows)
        try:
            taken = seconds(lambda z=z: f(z), setting.device, repeats=5, limit=0.4)  # type: ignore[misc]
        except torch.OutOfMemoryError:
            return
        yield Speed(rows, rows / taken)
        if rows / taken < KNEE * before or setting.left() < 6 * taken:
            return
        rows, before = 2 * rows, rows / taken


def _row(way: Way, speed: Speed, setting: Setting, extra: str = "") -> Row:
    return Row(f"{way}{extra}, {speed.rows} rows", speed.per_second, "rows/s", note=_share(way, speed, setting)[1])


def _share(way: Way, speed: Speed, setting: Setting) -> tuple[float, str]:
    reached = speed.per_second * operations(setting.small)
    share = reached / peak(setting.device, way.precision, setting.small)
    return share, f"{reached / 1e12:.3g} TFLOP/s, {100 * share:.0f} % of the peak"


def _map(setting: Setting) -> Iterator[Row]:
    yield Row("operations of f", operations(setting.small) / 1e12, "TFLOP/row", note="counted")
    model = sd_shaped(setting.device, small=setting.small)
    best: tuple[float, str] = 0.0, ""
    for way in (
        Way("float32"), Way("tf32"), Way("bfloat16"), Way("bfloat16", weights=True),
        Way("bfloat16", channels_last=True), Way("bfloat16", weights=True, channels_last=True),
        Way("tf32", channels_last=True), Way("float32", channels_last=True),
    ):  # fmt: skip
        fastest: Speed | None = None
        with prepared(model, way, setting.device) as f:
            for speed in swept(f, setting, 16 if way.precision == "float32" else MOST_ROWS):
                yield _row(way, speed, setting)
                fastest = max(speed, fastest or speed, key=lambda one: one.per_second)
        if way.precision == FAR and fastest:
            best = max(best, (_share(way, fastest, setting)[0], f"{way}, {fastest.rows} rows"))
    yield target(f"share of the peak, {FAR}", 100 * best[0], "%", ">=", 100 * SHARE, best[1])


def _tuned(setting: Setting) -> Iterator[Row]:
    model, rows = sd_shaped(setting.device, small=setting.small), 2 if setting.small else 16
    z = starts(setting, rows)
    for way in (
        Way("bfloat16", weights=True, channels_last=True, tuned=True), Way("tf32", tuned=True),
        Way("tf32", channels_last=True, tuned=True), Way("float32", tuned=True),
        Way("float32", channels_last=True, tuned=True),
    ):  # fmt: skip
        with prepared(model, way, setting.device) as f:
            yield _row(way, Speed(rows, rows / seconds(lambda f=f: f(z), setting.device, repeats=3)), setting)  # type: ignore[misc]


def _graphs(setting: Setting) -> Iterator[Row]:
    model = sd_shaped(setting.device, small=setting.small)
    for way in (Way("bfloat16"), Way("bfloat16", weights=True, channels_last=True), Way("tf32")):
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
    rows = 2 if setting.small else 16
    model, z = sd_shaped(setting.device, small=setting.small), starts(setting, rows)
    for way in (
        Way("bfloat16", weights=True, compiled=True),
        Way("bfloat16", compiled=True),
        Way("tf32", compiled=True),
    ):
        began = setting.left()
        with prepared(model, way, setting.device) as f:
            f(z)
            yield Row(f"{way}: compiling", began - setting.left(), "s")
            yield _row(way, Speed(rows, rows / seconds(lambda f=f: f(z), setting.device, repeats=5)), setting)  # type: ignore[misc]
        torch._dynamo.reset()
        if setting.left() < began / 2:
            return


CHECKS = (
    Check("map", "speed", "rows of f a second, by arithmetic, layout and batch", 45, _map),
    Check("map-graph", "speed", "the same in a CUDA graph", 15, _graphs, cuda=True),
    Check("map-tuned", "speed", "the same with cuDNN's own choice", 20, _tuned),
)
COMPILED = Check("map-compiled", "speed", "the same by torch.compile", 75, _compiled)
