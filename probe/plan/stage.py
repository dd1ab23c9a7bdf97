"""A stage before it is begun, and a plan: stages priced on a machine."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from probe.plan.machines import Machine

DECODED = ("f", "certificates", "exponents", "plain checks", "basins", "decode", "pictures")
"""Loads whose unit is a row that the decoder is given, or takes as long."""


class Range(NamedTuple):
    """A number that is not known yet: its bounds, and what is expected."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> "Range":
        return cls(value, value, value)

    @classmethod
    def total(cls, parts: "Iterable[Range]") -> "Range":
        return cls(*(sum(values) for values in zip((0.0, 0.0, 0.0), *parts, strict=True)))

    def times(self, factor: "float | Range") -> "Range":
        other = factor if isinstance(factor, Range) else Range.exactly(factor)
        return Range(*(a * b for a, b in zip(self, other, strict=True)))

    def cubed(self) -> "Range":
        return Range(*(value**3 for value in self))

    def at_most(self, bound: float) -> "Range":
        return Range(*(min(value, bound) for value in self))


@dataclass(frozen=True)
class Load:
    """Work of one kind within a stage.

    Attributes:
        what: the kind; a machine may know its measured time by this name.
        units: how many.
        flops, moved: of one unit.
        calls: kernel calls of one unit, after division by the rows of a batch.
        arithmetic: in which it is done.
        alone: done by one rank while the others wait.
        seconds: of one unit on any machine, for what the processor does whatever the card is.
        kind: what a machine knows it by; default: ``what``.
        elsewhere: operations of one unit by the method that a CPU takes, where that is another; default: ``flops``.
    """

    what: str
    units: Range
    flops: float = 0.0
    moved: float = 0.0
    calls: float = 0.0
    arithmetic: str = "float32"
    alone: bool = False
    seconds: float | None = None
    kind: str = ""
    elsewhere: float | None = None

    def named(self, machine: Machine) -> str:
        """The kind, on a card with its arithmetic, and with what bounds its time where that is not its peak."""
        if self.seconds is not None:
            return self.what
        return self.what + machine.how(self.flops, self.moved, self.calls, self.arithmetic)

    def on(self, machine: Machine, ranks: float = 1) -> Range:
        """Seconds on each of ``ranks`` machines of that kind."""
        one = self.seconds
        if one is None:
            flops = self.flops if machine.is_card or self.elsewhere is None else self.elsewhere
            one = machine.seconds(self.kind or self.what, flops, self.moved, self.calls, self.arithmetic)
        return self.units.times(one / (1 if self.alone else ranks))


@dataclass(frozen=True)
class StagePlan:
    """A stage before it is begun, on no machine in particular.

    Attributes:
        name: as in jobs/kinds.py.
        unit, units: what it counts, and how many.
        loads: its work.
        memory: bytes of tensors at the peak on the device that computes, where there is so much; batches become smaller
            where there is not.
        least: bytes that it needs of these; ``host``: bytes in main memory beside them.
        disk, files: bytes and number of files that it leaves.
        scratch: bytes that it writes and removes.
        shards: parts that ranks share; more ranks than these wait.
        assumes: one line on what the figures rest on.
    """

    name: str
    unit: str
    units: float
    loads: tuple[Load, ...] = ()
    memory: float = 0.0
    least: float = 0.0
    host: float = 0.0
    disk: float = 0.0
    files: int = 0
    scratch: float = 0.0
    shards: int = 1
    assumes: str = ""

    @property
    def flops(self) -> Range:
        return Range.total(load.units.times(load.flops) for load in self.loads)

    @property
    def moved(self) -> Range:
        return Range.total(load.units.times(load.moved) for load in self.loads)

    @property
    def evaluations(self) -> Range:
        """Rows that the decoder is given."""
        return Range.total(load.units for load in self.loads if load.what in DECODED)

    def taken(self, machine: Machine) -> float:
        """Bytes at the peak on a machine: on a card of its own memory, elsewhere with what lies in main memory."""
        host = 0.0 if machine.is_card else self.host
        return max(min(self.memory + host, machine.memory), self.least + host)

    def fits(self, machine: Machine) -> bool:
        """Whether there is what it needs at least."""
        return self.least + (0.0 if machine.is_card else self.host) <= machine.memory

    def seconds(self, machine: Machine, ranks: int = 1) -> Range:
        """From the first of its ranks to the last."""
        return Range.total(load.on(machine, self.at_work(ranks)) for load in self.loads)

    def at_work(self, ranks: int) -> float:
        """How many of the ranks work in the mean, where each takes one shard after the other."""
        return max(self.shards, 1) / self.rounds(ranks)

    def rounds(self, ranks: int) -> int:
        """How many shards the busiest rank takes."""
        return ceil(max(self.shards, 1) / ranks)

    def enough(self, ranks: int) -> int:
        """The fewest ranks that take as many rounds."""
        return ceil(max(self.shards, 1) / self.rounds(ranks))


class Share(NamedTuple):
    """A part of the expected time."""

    stage: str
    what: str
    share: float


class Advice(NamedTuple):
    """A change of the configuration, and what the plan of the changed one says.

    Attributes:
        change: as ``--set`` takes it.
        seconds: expected, of the changed plan.
        share: of the expected time before that this saves, from 0 to 1.
        price: what is lost by it, in words.
    """

    change: str
    seconds: float
    share: float
    price: str


@dataclass(frozen=True)
class Plan:
    """Stages on a machine.

    Attributes:
        kind: ``run``, ``study``, ``ood`` or ``roundtrip``.
        ranks: machines of that kind at work, one rank each.
        advice: changes that would save most, best first, each by itself.
        halving: changes that together take half of the time; None where none are known.
    """

    kind: str
    stages: tuple[StagePlan, ...]
    machine: Machine
    ranks: int = 1
    advice: tuple[Advice, ...] = ()
    halving: Advice | None = None

    @property
    def seconds(self) -> Range:
        """From the begin to the end."""
        return Range.total(stage.seconds(self.machine, self.ranks) for stage in self.stages)

    @property
    def machine_hours(self) -> Range:
        """Hours for which machines are held: all ranks, idle ones included."""
        return self.seconds.times(self.ranks / 3600)

    @property
    def flops(self) -> Range:
        return Range.total(stage.flops for stage in self.stages)

    @property
    def memory(self) -> float:
        return max((stage.taken(self.machine) for stage in self.stages), default=0.0)

    @property
    def disk(self) -> float:
        return sum(stage.disk for stage in self.stages)

    @property
    def files(self) -> int:
        return sum(stage.files for stage in self.stages)

    @property
    def dominating(self) -> Sequence[Share]:
        """Loads by their share of the expected time, largest first."""
        found: Counter[tuple[str, str]] = Counter()
        for stage in self.stages:
            for load in stage.loads:
                taken = load.on(self.machine, stage.at_work(self.ranks)).expected
                found[stage.name, load.named(self.machine)] += taken / (self.seconds.expected or 1.0)  # type: ignore[assignment]
        return [Share(*names, share) for names, share in found.most_common()]
