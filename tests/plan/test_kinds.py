"""Plans of studies, OOD experiments and round trips: their work against closed forms."""

import itertools

import pytest

from jobs.doing import doing_of
from jobs.kinds import KINDS
from probe.config import read_yaml
from probe.plan.machines import card
from probe.plan.ood import ood_cost, ood_stages
from probe.plan.roundtrip import roundtrip_costs, roundtrip_stages
from probe.plan.study import study_stages
from probe.studies.ood.config import parse_ood_config
from probe.studies.roundtrip.config import parse_roundtrip_config
from probe.studies.sweeps.kinds import parse_study_config

SETTINGS = {
    "study": "bottleneck",
    "datasets": {"mnist": {"train": {"source": "hub:ylecun/mnist", "n": 1000}, "test": 200, "side": 28}},
    "k": [2, 8],
    "seeds": [0, 1, 2],
    "training": {"epochs": 5, "batch_size": 64, "base_channels": 4, "checkpoint_every": 2},
}


def _flops(channels: int, side: int, d: int, k: int) -> float:
    """Of D(E(x)): four 3 x 3 convolutions of stride 2, their transposes, and a linear layer to and from k."""
    widths, total = [channels, d, 2 * d, 4 * d, 8 * d], 0.0
    for a, b in itertools.pairwise(widths):
        side //= 2
        total += 2 * 2 * 9 * a * b * side**2  # a transpose takes what its convolution takes
    return total + 2 * 2 * 8 * d * side**2 * k


def test_a_training_takes_three_times_a_pass_for_each_image_of_each_epoch():
    images, models, report = study_stages(parse_study_config(SETTINGS))
    assert (images.name, models.name, report.name) == ("images", "models", "report")
    training = next(load for load in models.loads if load.what == "training")
    assert training.units.expected == 2 * 3 * 5 * 1000  # k, seeds, epochs, images
    mean = (_flops(3, 32, 4, 2) + _flops(3, 32, 4, 8)) / 2
    assert training.flops == pytest.approx(3 * mean)
    assert (models.units, models.shards) == (6, 6)
    assert models.files == 6 * (1 + 2 * 4)  # of each model a cell, and epochs 0, 2, 4 and 5 of two files


def test_what_is_known_of_the_images_counts():
    drawn = {"mnist": {"n_train": 500, "channels": 1, "side": 28}}
    training = study_stages(parse_study_config(SETTINGS), drawn)[1].loads[0]
    assert training.units.expected == 2 * 3 * 5 * 500
    assert training.flops == pytest.approx(3 * (_flops(1, 32, 4, 2) + _flops(1, 32, 4, 8)) / 2)


def test_small_training_sets_get_more_epochs():
    asked = SETTINGS | {"training": {"epochs": 1, "min_steps": 100, "batch_size": 50}, "k": [2], "seeds": [0]}
    assert study_stages(parse_study_config(asked))[1].loads[0].units.expected == 5 * 1000  # 20 steps an epoch


def test_an_experiment_trains_once_and_follows_every_image():
    part = {"source": "hub:ylecun/mnist", "n": 300}
    settings = {
        "train": {"k": 8, "epochs": 2},
        "inside": {"train": part, "test": {**part, "split": "test", "n": 40}},
        "outside": {"noise": {"source": "noise", "n": 60}},
        "solver": {"starts": 100, "max_steps": 7},
        "scores": ["trajectory"],
    }
    config = parse_ood_config(settings)
    _, attractors, scores, _ = ood_stages(config, ood_cost(config))
    loads = {load.what: load.units for load in attractors.loads}
    assert loads["training"].expected == 600
    assert loads["f"] == (500, 700, 700)  # at most seven steps of 100 starts, at least five
    moved = next(load.units for load in scores.loads if load.what == "f")
    assert moved.high == 100 * 7 + 50  # and each of 100 images is encoded: half of f


def test_a_round_trip_takes_every_image_around():
    settings = {
        "models": {"a": {"source": "embedded:cifar-plain"}, "b": {"source": "embedded:cifar-attractors"}},
        "datasets": {"digits": {"n": 10}, "textures": {"n": 6}},
        "cycles": 4,
        "between": ["8bit", "jpeg:50"],
    }
    config = parse_roundtrip_config(settings)
    trips = roundtrip_stages(config, roundtrip_costs(config), 0.5)[1]
    units = {load.what: load.units for load in trips.loads}
    assert units["f"] == (2 * 2 * 16 * 4,) * 3  # models, settings, images, cycles
    models = 2 * 2 * 16 * 5
    assert units["measures"].low == models + 2 * 16  # and once without a model
    assert trips.units == 3 * 2 * 2
    assert trips.files == 2 * 12


@pytest.mark.parametrize("name", ["study_bottleneck", "paper_vitmae_ood", "roundtrip", "study_across_training"])
def test_every_kind_has_a_plan_on_a_card(name, root):
    data = read_yaml(root / "configs" / f"{name}.yaml")
    if name == "paper_vitmae_ood":  # its model is on the hub
        data = read_yaml(root / "configs" / "ood_mnist_replication.yaml")
    kind = next(
        kind
        for kind in KINDS
        if kind.name == ("study" if "study" in data else "ood" if "inside" in data else "roundtrip")
    )
    for one, machines in (
        (doing_of(kind).plan(kind.directory.parse(data), ["H100"], ranks, None)[0], ranks) for ranks in (1, 4)
    ):
        assert one.machine is card("H100")
        assert [stage.name for stage in one.stages] == [stage.name for stage in kind.stages]
        assert 0 < one.seconds.low <= one.seconds.expected <= one.seconds.high
        assert one.ranks == machines
