"""The section of every report that compares what was planned with what it took."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from probe.report.page.content import Note, Page, Section, Table
from probe.report.page.text import number
from probe.results.planned import Spent, read_plan, read_spent
from probe.terminal import span

HEAD = ("stage", "planned", "taken", "taken / planned", "evaluations planned", "made", "memory planned", "largest")


def planned_section(folder: Path) -> Section | None:
    """The table, by stage; None for a work without a plan, such as one of an early version."""
    plan, spent = read_plan(folder), read_spent(folder)
    if plan is None:
        return None
    try:
        stages = [stage for stage in plan["stages"] if stage["name"] in spent]
        rows = [_row(stage, spent[stage["name"]], plan["ranks"]) for stage in stages]
        told = [f"{stage['name']}: {stage['assumes']}" for stage in stages if stage["assumes"]]
        machine = plan["machine"]
    except (KeyError, TypeError, ValueError):  # damaged; it is no result
        return None
    if not rows:
        return None
    note = (
        f"Planned for {machine} when the work was begun ({'; '.join(told)}). Times are those of all processes and ranks"
        " together, in brackets the bounds of the plan. An evaluation is a row that the decoder was given; where"
        " several ranks shared a stage they are not counted. The memory that is planned is that of tensors; on a"
        " processor Python and its libraries take some 0.7 GiB besides."
    )
    return Section("Planned and taken", [Table(HEAD, rows), Note(note)], folded=True)


def with_plan(page: Page, folder: Path) -> Page:
    """The page with this section at its end, if there is one."""
    section = planned_section(folder)
    return replace(page, blocks=[*page.blocks, section]) if section else page


def _row(stage: Mapping[str, Any], took: Spent, ranks: int) -> list[str]:
    low, expected, high = (ranks * value for value in stage["seconds"])
    ratio = took.rank_seconds / expected if expected else None
    evaluations = stage["evaluations"][1]
    made = took.decoded
    return [
        stage["name"],
        f"{span(expected)} [{span(low)}, {span(high)}]",
        span(took.rank_seconds),
        number(ratio),
        f"{evaluations:.3g}" if evaluations else "-",
        f"{made:.3g}" if made else "-",
        _size(stage["memory"]),
        _size(took.gpu or took.memory),
    ]


def _size(value: float) -> str:
    return f"{value / 2**30:.2g} GiB" if value >= 2**30 else f"{value / 2**20:.3g} MiB"
