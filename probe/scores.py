"""The table of OOD scores: names, labels and meanings, for configurations, result files, reports and documentation.

``probe.studies.ood.scores`` computes them. For every score, higher means more out-of-distribution. F = D o E maps an
image to its reconstruction; f = E o D is the latent map.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One number per image.

    Attributes:
        name: in configurations and, as a column or key, in results; ``column`` where it has a parameter.
        label: in tables and figures; {k} is the parameter.
        meaning: a phrase that completes "the score is the ...".
    """

    name: str
    label: str
    meaning: str
    column: str = ""


SCORES = (
    Score(
        "trajectory",
        "trajectory (paper)",
        "mean distance to the nearest training attractor along the trajectory (the paper's score)",
    ),
    Score(
        "trajectory_fixed",
        "trajectory, fixed length",
        "mean distance to the nearest training attractor over max_steps + 1 points; a trajectory that has ended stays",
    ),
    Score(
        "trajectory_unit",
        "trajectory, unit norm",
        "mean distance to the nearest training attractor along the trajectory, all scaled to unit norm",
    ),
    Score(
        "trajectory_noise",
        "trajectory, attractors from noise",
        "mean distance along the trajectory to the nearest attractor that was found from noise, z ~ N(0, I)",
    ),
    Score(
        "end_point",
        "end point",
        "distance from the trajectory's end point to the nearest training attractor",
    ),
    Score(
        "start",
        "start, no step",
        "distance from the latent itself to the nearest training attractor, without any step of f",
    ),
    Score(
        "steps",
        "steps",
        "steps until ||f(z) - z||^2 is below the tolerance; the step limit if it never is",
    ),
    Score(
        "field",
        "field at the start",
        "norm of the vector field at the latent, ||f(z) - z||",
    ),
    Score(
        "knn",
        "KNN, K = {k}",
        "distance to the K-th nearest training latent",
        column="knn_{k}",
    ),
    Score(
        "mahalanobis",
        "Mahalanobis",
        "Mahalanobis distance to the training latents (Ledoit and Wolf's covariance)",
    ),
    Score(
        "reconstruction",
        "reconstruction error",
        "squared error of F(x) = D(E(x)), mean over pixels and channels, in [0, 1]",
    ),
    Score(
        "reconstruction_ratio",
        "reconstruction error, first / second",
        "squared error of F(x) against x, divided by that of F(F(x)) against F(x): high where the first pass changes "
        "the image much more than the second; infinite where only the first changes it, 0 where neither does",
    ),
)


def of_column(column: str) -> Score:
    """The score in a column of the tables, such as ``knn_10``; ValueError if there is none."""
    stem = "knn" if column.startswith("knn_") else column
    for score in SCORES:
        if score.name == stem:
            return score
    raise ValueError(f"there is no score {column!r}")


def label(column: str) -> str:
    """What the score of a column is called in tables and figures."""
    return of_column(column).label.format(k=column.removeprefix("knn_"))
