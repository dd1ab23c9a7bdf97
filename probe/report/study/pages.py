"""The page of every kind of study, by the name that a configuration gives it."""

from probe.report.study import across_training, contraction, convergence, memorization
from probe.report.study.page import Page

PAGES: dict[str, Page] = {
    "bottleneck": memorization.page("k"),
    "training_size": memorization.page("size"),
    "across_training": across_training.PAGE,
    "convergence": convergence.PAGE,
    "contraction": contraction.PAGE,
}
