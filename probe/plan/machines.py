"""What machines do in a second: cards by their published peaks, and this machine by measurement.

A card's time for one evaluation of f at n rows is the longest of three: the FLOPs at the part of the published peak
that f reaches, the bytes at the published bandwidth, and the calls of kernels at the host's pace. That part was
measured on one card, an H100 SXM (docs/benchmarks.md, "On a GPU"), with an autoencoder of Stable Diffusion 1.5's shape,
and is assumed to be the same on all others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from probe.errors import UserError

TERA, GIB = 1e12, 2**30
MEASURED_ON = "H100 SXM"
REACHED: Mapping[str, float] = {
    # rows a second times 0.895 TFLOP, over the published peak
    "float32": 30.5 * 0.895 / 67,
    "tf32": 160 * 0.895 / 495,
    "bfloat16": 185 * 0.895 / 989,
    # a product of matrices of side 8192: the pursuit's steps are such products
    "float64": 61.7 / 67,
}
"""Share of the published peak that the work reaches in each arithmetic; measured on ``MEASURED_ON``."""
COPIED = 2962 / 3350
"""Share of the published bandwidth that a copy within the memory reaches; measured on the same card."""
CALL = 1.2e-3 / 90
"""Seconds of the host for an operation that it hands to the card: a step of 90 took 1.2 ms there."""


class Machine(Protocol):
    """What prices a load."""

    @property
    def name(self) -> str: ...
    @property
    def memory(self) -> float:
        """Bytes."""
        ...

    @property
    def is_card(self) -> bool:
        """Whether it is a GPU by its data sheet."""
        ...

    @property
    def about(self) -> str:
        """What of its figures is measured, and what assumed."""
        ...

    def how(self, flops: float, moved: float, calls: float, arithmetic: str) -> str:
        """In which arithmetic a unit of work is done, and what its time comes from; empty where it is measured."""
        ...

    def seconds(self, what: str, flops: float, moved: float, calls: float, arithmetic: str) -> float:
        """Of one unit of work.

        Args:
            what: the kind of work, for which this machine may know a measured time.
            flops, moved: floating-point operations, and bytes read and written.
            calls: calls of kernels, shared by all rows of a batch.
            arithmetic: ``float32``, ``tf32``, ``bfloat16`` or ``float64``.
        """
        ...


@dataclass(frozen=True)
class Card:
    """A GPU by its data sheet.

    Attributes:
        peaks: operations a second by arithmetic, dense; ``tf32`` is absent where it is float32.
        memory, bandwidth: bytes, and bytes a second.
        source: the data sheet.
    """

    name: str
    memory: float
    bandwidth: float
    peaks: Mapping[str, float]
    source: str
    measured: bool = False
    is_card: ClassVar[bool] = True

    @property
    def about(self) -> str:
        where = "measured on this card" if self.measured else f"measured on an {MEASURED_ON}, and assumed here"
        return (
            f"{self.name}: peaks and bandwidth of {self.source}; the shares of them that the work reaches are {where}"
        )

    def seconds(self, what: str, flops: float, moved: float, calls: float, arithmetic: str) -> float:
        """As ``Machine.seconds``."""
        # Nothing of this overlaps so well that it would be less.
        return max(self._bounds(flops, moved, calls, self._used(arithmetic)).values())

    def how(self, flops: float, moved: float, calls: float, arithmetic: str) -> str:
        """As ``Machine.how``."""
        used = self._used(arithmetic)
        bounds = self._bounds(flops, moved, calls, used)
        slowest = max(bounds, key=lambda one: bounds[one])
        return f" in {used}{slowest}"

    def _used(self, arithmetic: str) -> str:
        return arithmetic if arithmetic in self.peaks else "float32"

    def _bounds(self, flops: float, moved: float, calls: float, used: str) -> dict[str, float]:
        return {
            "": flops / (self.peaks[used] * REACHED[used]),
            ", bound by the bandwidth of memory": moved / (self.bandwidth * COPIED),
            ", bound by the host's calls of kernels": calls * CALL,
        }


def _card(
    name: str, gib: float, gb: float, f32: float, tf32: float, bf16: float, f64: float, source: str, **more: bool
) -> Card:
    given = {"float32": f32, "tf32": tf32, "bfloat16": bf16, "float64": f64}
    peaks = {name: TERA * peak for name, peak in given.items() if peak}
    return Card(name, gib * GIB, gb * 1e9, peaks, f"NVIDIA's data sheet ({source})", **more)


CARDS: tuple[Card, ...] = (
    _card("H100", 80, 3350, 67, 495, 989, 67, "H100 SXM5", measured=True),
    _card("H100-PCIe", 80, 2000, 51, 378, 756, 51, "H100 PCIe"),
    _card("H200", 141, 4800, 67, 495, 989, 67, "H200 SXM"),
    _card("A100-80", 80, 2039, 19.5, 156, 312, 19.5, "A100 SXM4 80 GB"),
    _card("A100-40", 40, 1555, 19.5, 156, 312, 19.5, "A100 SXM4 40 GB"),
    _card("L40S", 48, 864, 91.6, 183, 362, 1.43, "L40S"),
    _card("A10", 24, 600, 31.2, 62.5, 125, 0.49, "A10"),
    _card("RTX4090", 24, 1008, 82.6, 82.6, 165, 1.29, "Ada architecture"),
    _card("V100", 32, 900, 15.7, 0, 0, 7.8, "V100 SXM2 32 GB"),
    _card("T4", 16, 320, 8.1, 0, 0, 0.25, "T4"),
)
"""Peaks in TFLOP/s without sparsity: float32, TF32, bfloat16, float64 (with tensor cores where there are any for it).
GiB of memory as they are called, and GB/s. 0: the card computes it as float32."""

ALIAS: Mapping[str, str] = {
    **dict.fromkeys(("h100-sxm", "h100-sxm5", "h100-80gb", "h100-80gb-hbm3"), "h100"),
    **dict.fromkeys(("a100", "a100-80gb", "a100-sxm4-80gb", "a100-80gb-pcie"), "a100-80"),
    **dict.fromkeys(("a100-40gb", "a100-sxm4-40gb", "a100-pcie-40gb"), "a100-40"),
    **dict.fromkeys(("v100-32gb", "v100-sxm2-32gb"), "v100"),
    "rtx-4090": "rtx4090",
}
"""What else people and nvidia-smi call them, without the maker; the PCIe card with 80 GB has 5 % less bandwidth."""


def card(name: str) -> Card:
    """A card by its name, in any case, or as nvidia-smi prints it; ``A100`` is the one with 80 GB.

    Raises:
        UserError: it is none of ``CARDS``.
    """
    by_name = {one.name.lower(): one for one in CARDS}
    words = [word for word in re.split(r"[\s_-]+", name.lower()) if word not in ("", "nvidia", "tesla", "geforce")]
    asked = "-".join(words)
    if found := by_name.get(ALIAS.get(asked, asked)):
        return found
    raise UserError(
        f"there is no GPU {name!r} in the table, which has {', '.join(by_name[one].name for one in by_name)}."
    )


@dataclass(frozen=True)
class Here:
    """This machine, by what was measured on it.

    Attributes:
        rates: seconds of one unit by the kind of work.
        flops: operations a second by the kind of work, and by arithmetic for all other kinds.
    """

    name: str
    memory: float
    rates: Mapping[str, float]
    flops: Mapping[str, float]
    is_card: ClassVar[bool] = False

    @property
    def about(self) -> str:
        return f"{self.name}: measured just now ({', '.join(self.rates)})"

    def how(self, flops: float, moved: float, calls: float, arithmetic: str) -> str:
        """As ``Machine.how``."""
        return ""

    def seconds(self, what: str, flops: float, moved: float, calls: float, arithmetic: str) -> float:
        """As ``Machine.seconds``."""
        if what in self.rates:
            return self.rates[what]
        return flops / (self.flops.get(what) or self.flops[arithmetic]) if flops else 0.0
