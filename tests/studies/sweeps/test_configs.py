"""The studies' configurations that come with the repository can be read, and say what their comments say."""

import pytest

from probe.studies.sweeps.kinds import load_study_config


@pytest.mark.parametrize(
    "name", ["study_bottleneck", "study_training_size", "study_across_training", "study_convergence"]
)
def test_configurations_of_both_sizes(root, name):
    paper, small = (load_study_config(root / "configs" / f"{name}{size}.yaml") for size in ("", "_small"))
    assert f"study_{paper.study}" == f"study_{small.study}" == name
    assert set(paper.datasets) == set(small.datasets) == {"mnist", "fashion_mnist", "cifar10"}
    assert (paper.training.epochs, paper.training.learning_rate, paper.training.weight_decay) == (500, 5e-4, 1e-4)
    assert (paper.solver.tolerance, paper.solver.max_steps) == (1e-6, 3000)
    for data in small.datasets.values():
        assert data.train.source.startswith("parquet:../shared/")
        assert data.train.n == (10_000 if name in ("study_bottleneck", "study_training_size") else 5_000)


def test_contraction_needs_no_data(root):
    config = load_study_config(root / "configs" / "study_contraction.yaml")
    assert (config.study, config.seeds, dict(config.data)) == ("contraction", tuple(range(10)), {})
