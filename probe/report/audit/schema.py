"""What ``probe audit --json`` prints, and ``--out FILE.json`` holds; ``null`` stands where a number does not exist."""

from typing import Any

from pydantic import Field

from probe.report.model import ReportModel
from probe.results.audit import WORST_FIRST, Finding, Verdict


class AuditedModel(ReportModel):
    source: str
    class_name: str
    weights_sha256: str | None
    parameters: int
    latents: str = Field(description="coordinates of the latents: ``scaled`` as diffusion pipelines do it, or ``raw``")
    latent_shape: list[int]
    device: str = Field(description="the type of device and its name")


class AuditedImages(ReportModel):
    source: str
    sha256: str
    count: int
    planned: int | None = Field(default=None, description="how many were asked for; null in older files")
    resolution: int
    larger: int | None = Field(description="the second resolution; null for a model of one size")
    note: str = Field(default="", description="a warning about so few images; empty if there are enough")


class CheckReport(ReportModel):
    """One question of the audit."""

    name: str
    title: str
    verdict: Verdict = Field(description="the worst of its findings")
    seconds: float = Field(description="of this process on the processors")
    findings: list[Finding]


class AuditReport(ReportModel):
    """The whole audit."""

    schema_version: int = 1
    model: AuditedModel
    images: AuditedImages
    seed: int = Field(description="of the Gaussian latents")
    verdict: Verdict = Field(description="the worst of all checks")
    counts: dict[str, int] = Field(description="findings by verdict")
    checks: list[CheckReport]
    provenance: dict[str, Any]


def worst(findings: list[Finding]) -> Verdict:
    """The worst verdict; skipped if there is no other."""
    return min((one.verdict for one in findings), key=WORST_FIRST.index, default="skipped")
