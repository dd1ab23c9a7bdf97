"""leaderboard.json, and the JSON of ``GET /v1/board``, key by key. ``null`` stands where a number does not exist."""

from typing import Literal

from pydantic import Field

from probe.report.model import ReportModel

RULE = (
    "Runs are ranked among those of one protocol: the same images, resolution, number of starts, solver, dictionary "
    "rule and controls. A run is ahead of another if the 95 % interval of its latent MSE at 5 % of d, as a ratio to "
    "its own random orthogonal basis, lies below the other's on at least one data set and above it on none. A rank is "
    "a range: 1 + the models that are ahead of the run, up to the number of models less those that are behind it. Runs "
    "of one model share a place: another model is ahead of a run if each of its runs is. Ranks on one data set count "
    "that set alone. These intervals are over images and draws of starts. Intervals that overlap may still differ when "
    "images are paired: probe compare decides that for two runs. Ratios to the strongest control have intervals over "
    "images alone, and give no rank."
)


class Cell(ReportModel):
    """A number of a run, with its 95 % interval if it has one; ``text`` is what to show instead of the number alone."""

    value: float | None
    low: float | None = None
    high: float | None = None
    text: str = Field(description="the number and its interval in words, three significant digits")


class Column(ReportModel):
    key: str
    title: str
    meaning: str
    best: Literal["low", "high"] | None = Field(description="which values are better; null: neither")
    dataset: str | None = Field(None, description="the data set that the column is about")


class Row(ReportModel):
    """A finished run."""

    id: str
    name: str
    model: str = Field(description="class and source of the autoencoder")
    weights_sha256: str | None
    rank: tuple[int, int] | None = Field(description="best and worst place by ``rule``; null if it has none")
    ranks: dict[str, tuple[int, int]] = Field(description="the same on each data set alone; empty without a rank")
    unranked: str = Field(description="why it has no rank, in a sentence; empty if it has one")
    repeats: list[str] = Field(description="ids of the other runs of this protocol with the same weights")
    cells: dict[str, Cell] = Field(description="by key of ``columns``")


class Differing(ReportModel):
    key: str
    values: dict[str, str] = Field(description="by id of a run")


class Group(ReportModel):
    """The runs of one protocol, best rank first, runs without a rank last."""

    title: str
    protocol: dict[str, str] = Field(description="what all runs share, by key")
    apart: str = Field(description="in what the protocol differs from that of the first group; empty for the first")
    models: int = Field(description="models among the ranked runs: different weights")
    columns: list[Column]
    rows: list[Row]
    differs: list[Differing] = Field(description="settings in which the runs differ although their protocol is one")


class Refused(ReportModel):
    id: str
    reason: str


class Board(ReportModel):
    schema_version: Literal[1] = 1
    rule: str = RULE
    groups: list[Group] = Field(description="by protocol, the one with most runs first")
    refused: list[Refused] = Field(description="folders that are no finished runs with errors to rank by")
