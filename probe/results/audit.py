"""What an audit finds: a number, the threshold that it was held against, and a verdict."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["OK", "WARN", "FAIL", "info", "skipped"]
WORST_FIRST: tuple[Verdict, ...] = ("FAIL", "WARN", "OK", "info", "skipped")


class Threshold(BaseModel):
    """Where a number begins to be bad. An entry of the table in ``probe/studies/audit/thresholds.py``."""

    model_config = ConfigDict(frozen=True)

    unit: str = Field("", description="unit of the number; empty for a ratio")
    warn: float | None = Field(None, description="WARN from here on; null: there is no such verdict")
    fail: float | None = Field(None, description="FAIL from here on; null: there is no such verdict")
    bad: Literal["above", "below"] = Field("above", description="on which side of warn and fail the bad numbers are")
    reason: str = Field(description="why there")

    def verdict(self, value: float) -> Verdict:
        """The verdict on a number; a number that is not finite is FAIL, or WARN where there is no FAIL."""
        for verdict, limit in (("FAIL", self.fail), ("WARN", self.warn)):
            if limit is None:
                continue
            worse = value > limit if self.bad == "above" else value < limit
            if worse or not math.isfinite(value):
                return verdict  # type: ignore[return-value]
        return "OK"

    def __str__(self) -> str:
        sign = ">" if self.bad == "above" else "<"
        limits = (("WARN", self.warn), ("FAIL", self.fail))
        return ", ".join(f"{verdict} {sign} {limit:g}" for verdict, limit in limits if limit is not None)


class Finding(BaseModel):
    """One number of one check, or one sentence where there is no number."""

    model_config = ConfigDict(frozen=True)

    check: str = Field(description="name of the check")
    name: str = Field(description="which of its numbers")
    value: float | None = Field(None, description="the number; null where there is none, or where it is not finite")
    unit: str = Field("", description="its unit; empty for a ratio")
    threshold: Threshold | None = Field(None, description="what it was held against; null for info and skipped")
    verdict: Verdict
    sentence: str = Field(description="what was found, and what to do about it")
    numbers: dict[str, float] = Field(default_factory=dict, description="further numbers, by name")


def judged(
    check: str, name: str, value: float, threshold: Threshold, sentence: str, numbers: dict[str, float] | None = None
) -> Finding:
    """A number with the verdict of its threshold."""
    return Finding(
        check=check,
        name=name,
        value=_finite(value),
        unit=threshold.unit,
        threshold=threshold,
        verdict=threshold.verdict(value),
        sentence=sentence,
        numbers=_all_finite(numbers),
    )


def told(
    check: str,
    name: str,
    sentence: str,
    *,
    value: float | None = None,
    unit: str = "",
    verdict: Verdict = "info",
    numbers: dict[str, float] | None = None,
) -> Finding:
    """A finding without a threshold: for information, or with a verdict that needs no number."""
    return Finding(
        check=check,
        name=name,
        value=_finite(value),
        unit=unit,
        verdict=verdict,
        sentence=sentence,
        numbers=_all_finite(numbers),
    )


def skipped(check: str, why: str, name: str = "") -> Finding:
    """A check, or one of its numbers, that does not apply or could not be run: one sentence says why."""
    return Finding(check=check, name=name or check, verdict="skipped", sentence=why)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _all_finite(numbers: dict[str, float] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (numbers or {}).items() if math.isfinite(value)}
