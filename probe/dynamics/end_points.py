"""How and where starts end, and what collects them as they do."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.dynamics.flow import Group, indices

if TYPE_CHECKING:
    import pandas as pd

STORED = {"extrapolations": "guesses"}
"""Fields whose name in result files is an older one."""
RUNNING = 255
"""Code of a start that has no outcome yet."""


class Outcome(enum.IntEnum):
    """Outcome of one start. The numbers are stored in files: do not renumber."""

    CONVERGED = 0
    CYCLE = 1
    MAX_STEPS = 2
    DIVERGED = 3

    @property
    def label(self) -> str:
        """The name in reports and configuration."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """What the outcome says of the end point."""
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.CONVERGED: "the squared residual ||f(z) - z||^2 of the returned point itself is below the tolerance",
    Outcome.CYCLE: "the iteration returns to the same points again and again, with a period of at least 2",
    Outcome.MAX_STEPS: "the step limit came first: the end point is where the iteration stopped, not a fixed point",
    Outcome.DIVERGED: "the latent became non-finite or its norm passed the stated bound",
}


@dataclass(eq=False)
class EndPoints:
    """Where n starts ended. All tensors have n rows, in the order of the starts.

    Attributes:
        end: the returned points (n, ...). Where a row diverged, its last point within the bound.
        first: f(z0), the starts after one step (n, ...); the one-step control.
        outcome: uint8 codes of ``Outcome``.
        steps: steps from the start to the returned point: applications of f, and extrapolations that f confirmed.
        extrapolations: how many of the steps were extrapolations.
        evaluations: of f, for this start: steps, the last residual, and extrapolations that failed.
        residual: float64, ||f(z) - z||^2 of the returned point itself; infinite where diverged.
        period: the period of a cycle, otherwise 0.
    """

    end: Tensor
    first: Tensor
    outcome: Tensor
    steps: Tensor
    extrapolations: Tensor
    evaluations: Tensor
    residual: Tensor
    period: Tensor

    def counts(self) -> dict[str, int]:
        """Starts by outcome, all outcomes named."""
        return {outcome.label: int((self.outcome == outcome).sum()) for outcome in Outcome}

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each start by name: ``converged``, ``cycle``, ``max_steps``, ``diverged``."""
        return [Outcome(code).label for code in self.outcome.tolist()]

    def to_pandas(self) -> "pd.DataFrame":
        """A row per start: outcome by name, steps, evaluations, residual, period; by index."""
        import pandas as pd

        columns: dict[str, Any] = {"outcome": pd.Categorical(self.outcomes, [outcome.label for outcome in Outcome])}
        columns |= {name: getattr(self, name).tolist() for name in ("steps", "evaluations", "residual", "period")}
        return pd.DataFrame(columns).rename_axis("start")

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts().items() if count)
        return f"<EndPoints: {len(self.end)} starts of {' x '.join(map(str, self.end.shape[1:]))}, {counts}>"

    def _repr_html_(self) -> str:
        return f"<p>{repr(self)[1:-1]}</p>{self.to_pandas().head(10).to_html()}"

    def rows(self, chosen: slice) -> "EndPoints":
        """Some of the starts."""
        return EndPoints(**{name: value[chosen] for name, value in vars(self).items()})

    def stored(self) -> dict[str, Tensor]:
        """The tensors, by their names in ``attractors/``."""
        return {STORED.get(name, name): value for name, value in vars(self).items()}

    @staticmethod
    def of_stored(tensors: "Mapping[str, Tensor]") -> "EndPoints":
        """The inverse of ``stored``."""
        return EndPoints(**{name: tensors[STORED.get(name, name)] for name in EndPoints.__dataclass_fields__})

    @staticmethod
    def concatenate(parts: "list[EndPoints]") -> "EndPoints":
        """Put the rows of several batches behind each other."""
        names = EndPoints.__dataclass_fields__
        return EndPoints(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


class Gathered:
    """End points of batches, put together as their starts end."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[object, EndPoints, int]] = {}
        self.home: dict[int, tuple[int, int]] = {}

    def watch(self, batches: Iterable[tuple[object, Tensor]], size: int) -> Iterator[Group]:
        """The batches as groups of at most ``size`` rows, which get numbers of their own."""
        begun = 0
        for batch, (name, z0) in enumerate(batches):
            if not len(z0):
                raise ValueError("there is no start in a batch")
            if z0.dtype not in (torch.float32, torch.float64):
                raise ValueError(f"latents must be float32 or float64 to be judged, not {z0.dtype}")
            integers = ("steps", "extrapolations", "evaluations", "period")
            ends = EndPoints(
                end=torch.empty_like(z0),
                first=torch.empty_like(z0),
                outcome=torch.full((len(z0),), RUNNING, dtype=torch.uint8, device=z0.device),
                residual=torch.empty(len(z0), dtype=torch.float64, device=z0.device),
                **{name: torch.empty(len(z0), dtype=torch.long, device=z0.device) for name in integers},
            )
            self.open[batch] = (name, ends, len(z0))
            for first in range(0, len(z0), size):
                part = z0[first : first + size]
                starts = list(range(begun + first, begun + first + len(part)))
                self.home |= {start: (batch, start - begun) for start in starts}
                yield _begin(starts, part)
            begun += len(z0)

    def put(self, group: Group) -> Iterator[tuple[object, EndPoints]]:
        """Take rows that have ended; yields the batches that are complete with them."""
        homes = [self.home.pop(start) for start in group.starts]
        for batch in dict.fromkeys(batch for batch, _ in homes):
            name, ends, missing = self.open[batch]
            rows = [row for row, home in enumerate(homes) if home[0] == batch]
            part = group.take(rows).state if len(rows) < len(homes) else group.state
            place = indices([homes[row][1] for row in rows], ends.end.device)
            period = torch.where(part["outcome"] == int(Outcome.CYCLE), part["period"], 0)
            known = {**part, "end": part["z"], "period": period}
            # The outcome last: a row that has one is complete, also when a signal comes between two fields.
            for key in sorted(EndPoints.__dataclass_fields__, key="outcome".__eq__):
                getattr(ends, key)[place] = known[key]
            self.open[batch] = (name, ends, missing - len(rows))
            if missing == len(rows):
                yield name, ends
                del self.open[batch]  # only now has the caller taken it

    def unfinished(self) -> Iterator[tuple[Any, list[int], EndPoints]]:
        """Batches that were not taken whole: the name, the rows that have ended, and their end points on the CPU."""
        for name, ends, _ in self.open.values():
            rows = (ends.outcome != RUNNING).nonzero().flatten()
            if len(rows):
                yield name, rows.tolist(), EndPoints(**{key: value[rows].cpu() for key, value in vars(ends).items()})


def _begin(starts: list[int], z0: Tensor) -> Group:
    zero = torch.zeros(len(z0), dtype=torch.long, device=z0.device)
    state = {
        "z": z0.clone(),
        "first": z0.clone(),
        "steps": zero,
        "extrapolations": zero.clone(),
        "evaluations": zero.clone(),
        "residual0": torch.zeros(len(z0), dtype=z0.dtype, device=z0.device),
    }
    return Group(starts, state)
