"""A plan as a table, as sentences, and as JSON."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from probe.plan.stage import Plan, Range, StagePlan
from probe.terminal import amount, digits, length, size

UNITS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
SAID = {"f": "iterating f", "pictures": "decoding and judging", "pursuit": "sparse codes"}
NAMED = 3
"""Loads that are named as the ones that dominate."""
FULL = 0.9
"""Share of the ranks that work in the mean, below which it is said how many would take as long."""


def table(plans: Sequence[Plan]) -> Table:
    """A row per stage: what it does, and its time on every machine of the plans."""
    first = plans[0]
    found = Table(title=f"What this {first.kind} will cost, expected (least to most)", title_justify="left")
    for name in ("stage", "work", "FLOPs", "bytes moved", "memory", "disk", "files"):
        found.add_column(name, justify="left" if name in ("stage", "work") else "right", no_wrap=name == "stage")
    for plan in plans:
        found.add_column(_machine(plan), justify="right")
    for stage in first.stages:
        times = [span(stage.seconds(plan.machine, plan.ranks)) for plan in plans]
        found.add_row(*_row(stage, plans), *times)
    found.add_section()
    totals = ("", si(first.flops.expected), "", "", size(first.disk), str(first.files))
    found.add_row("all", *totals, *(span(plan.seconds) for plan in plans))
    if any(plan.machine.is_card for plan in plans):
        found.add_row("GPU hours", *[""] * 6, *(hours(plan.machine_hours) for plan in plans))
    return found


def _machine(plan: Plan) -> str:
    return plan.machine.name if plan.ranks == 1 else f"{plan.ranks} x {plan.machine.name}"


def _row(stage: StagePlan, plans: Sequence[Plan]) -> tuple[str, ...]:
    work = amount(round(stage.units), stage.unit)
    work = (
        work
        if stage.unit == "shards" or stage.shards in (1, round(stage.units))
        else f"{work}, {amount(stage.shards, 'shards')}"
    )
    memory = " / ".join(dict.fromkeys(_memory(stage, plan) for plan in plans))
    moved = size(stage.moved.expected) if stage.moved.expected else ""
    return (stage.name, work, si(stage.flops.expected), moved, memory, size(stage.disk), str(stage.files))


def _memory(stage: StagePlan, plan: Plan) -> str:
    """What it takes at the peak; and what it needs, where batches become smaller."""
    taken = stage.taken(plan.machine)
    shown = size(taken) if taken else ""
    return f"{shown} (needs {size(stage.least)})" if taken < stage.memory else shown


def lines(plans: Sequence[Plan]) -> Iterator[str]:
    """What dominates, what would take less, and what all of it rests on."""
    for plan in plans:
        yield ""
        yield f"On {_machine(plan)}:"
        yield from _about(plan)
    yield ""
    yield "These figures rest on:"
    for stage in plans[0].stages:
        if stage.assumes:
            yield f"- {stage.name}: {stage.assumes}"
    for plan in plans:
        yield f"- {plan.machine.about}"


def _about(plan: Plan) -> Iterator[str]:
    shares = [
        f"{one.share:.0%} {_said(one.what)} ({one.stage})" for one in plan.dominating[:NAMED] if one.share >= 0.03
    ]
    yield f"- The time goes to: {', '.join(shares)}."
    for stage in plan.stages:
        if not stage.fits(plan.machine):
            yield (
                f"- {stage.name} needs {size(stage.taken(plan.machine))} of memory, and {plan.machine.name} has "
                f"{size(plan.machine.memory)}: it will not fit."
            )
        elif stage.shards < plan.ranks and stage.seconds(plan.machine, plan.ranks).expected > 60:
            yield f"- {stage.name} has {amount(stage.shards, 'shards')} to share: more than so many ranks wait there."
        elif stage.at_work(plan.ranks) < FULL * plan.ranks and stage.seconds(plan.machine, plan.ranks).expected > 60:
            yield (
                f"- {stage.name} has {stage.shards} shards, {stage.rounds(plan.ranks)} rounds of {plan.ranks} ranks: "
                f"{stage.enough(plan.ranks)} ranks take as long."
            )
    for one in plan.advice:
        yield f"- {_set(one.change)}: {one.share:.0%} less, {length(one.seconds)} in all; {one.price}."
    if plan.halving:
        yield f"- To halve it: {_set(plan.halving.change)}: {length(plan.halving.seconds)}; {plan.halving.price}."


def _said(what: str) -> str:
    kind, _, arithmetic = what.partition(" in ")
    return SAID.get(kind, kind) + (f" in {arithmetic}" if arithmetic else "")


def _set(change: str) -> str:
    """Changes as options, to be copied into a shell."""
    return " ".join(f"--set {shlex.quote(one)}" for one in change.split())


def as_json(plan: Plan) -> dict[str, Any]:
    """All numbers of a plan; ranges are lists of low, expected, high."""
    return {
        "kind": plan.kind,
        "machine": plan.machine.name,
        "about": plan.machine.about,
        "ranks": plan.ranks,
        "seconds": list(plan.seconds),
        "machine_hours": list(plan.machine_hours),
        "flops": list(plan.flops),
        "disk": plan.disk,
        "files": plan.files,
        "stages": [_stage(stage, plan) for stage in plan.stages],
        "dominating": [one._asdict() for one in plan.dominating if one.share >= 0.001],
        "advice": [one._asdict() for one in plan.advice],
        "halving": plan.halving and plan.halving._asdict(),
    }


def _stage(stage: StagePlan, plan: Plan) -> dict[str, Any]:
    about = {key: value for key, value in asdict(stage).items() if key != "loads"}
    found = {
        "seconds": stage.seconds(plan.machine, plan.ranks),
        "evaluations": stage.evaluations,
        "flops": stage.flops,
        "moved": stage.moved,
    }
    about |= {"memory": stage.taken(plan.machine), "wanted": stage.memory}
    return about | {name: list(value) for name, value in found.items()}


def si(value: float) -> str:
    """A number with two or three digits and the letter of its magnitude: ``1.2 T``; empty for 0."""
    for unit, letter in UNITS:
        if value >= unit:
            shown = value / unit
            return f"{shown:.0f} {letter}" if shown >= 100 else f"{shown:.2g} {letter}"
    return ""


def span(one: Range) -> str:
    """A time, with its bounds where they differ by a tenth."""
    if one.high <= 1.1 * one.low:
        return length(one.expected)
    return f"{length(one.expected)}\n({length(one.low)} to {length(one.high)})"


def hours(one: Range) -> str:
    """Hours, with their bounds."""
    return f"{digits(one.expected)} ({digits(one.low)} to {digits(one.high)})"
