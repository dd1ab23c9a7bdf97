"""What the kinds of study measure and report, one entry each; their configurations: ``probe.studies.sweeps.kinds``."""

from probe.report.study import across_training, contraction, convergence, memorization
from probe.report.study.page import StudyKind

KINDS: tuple[StudyKind, ...] = (
    memorization.BOTTLENECK,
    memorization.TRAINING_SIZE,
    across_training.KIND,
    convergence.KIND,
    contraction.KIND,
)


def study_kind(name: str) -> StudyKind:
    """The kind of study of a configuration."""
    return next(kind for kind in KINDS if kind.name == name)
