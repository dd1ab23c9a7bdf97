"""The section of every report that compares what was planned with what it took."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from probe.report.page.content import Note, Page, Section, Table
from probe.report.page.text import number
from probe.results.planned import Spent, read_plan, read_spent
from probe.terminal import length, size

HEAD = (
    "stage",
    "planned",
    "wall time",
    "wall / planned",
    "processor time",
    "processor / planned",
    "evaluations planned",
    "made",
    "memory planned",
    "largest",
)


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
        f"Planned for {machine} when the work was begun ({'; '.join(told)}). Wall times are those of all processes and"
        " ranks together, in brackets the bounds of the plan. Where a processor did the work, compare its own time (of"
        " one rank, by thread) with the plan: other work on the machine lengthens the wall time alone. An evaluation is"
        " a row that the decoder was given; where several ranks shared a stage they are not counted. The memory that is"
        " planned is that of tensors; on a processor Python and its libraries take some 0.7 GiB besides."
    )
    return Section("Planned and taken", [Table(HEAD, rows), Note(note)], folded=True)


def with_plan(page: Page, folder: Path) -> Page:
    """The page with this section at its end, if there is one."""
    section = planned_section(folder)
    return replace(page, blocks=[*page.blocks, section]) if section else page


def _row(stage: Mapping[str, Any], took: Spent, ranks: int) -> list[str]:
    low, expected, high = (ranks * value for value in stage["seconds"])
    evaluations = stage["evaluations"][1]
    made, cpu = took.decoded, took.cpu_seconds

    def ratio(seconds: float) -> str:
        return number(seconds / expected if expected else None)

    return [
        stage["name"],
        f"{length(expected)} [{length(low)}, {length(high)}]",
        length(took.rank_seconds),
        ratio(took.rank_seconds),
        "-" if cpu is None else length(cpu),
        "-" if cpu is None else ratio(cpu),
        f"{float(f'{evaluations:.3g}'):,.0f}" if evaluations else "-",
        f"{made:,}" if made else "-",
        size(stage["memory"]),
        size(took.gpu or took.memory),
    ]
