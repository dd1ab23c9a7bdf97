"""rFID of a round trip, against the distance of features that a plain loop collects."""

from pathlib import Path

import pytest
import torch

from probe.metrics.frechet import Inception, frechet, load_inception
from probe.studies.roundtrip.distance import Features
from probe.studies.roundtrip.trip import round_trip

from .models import model, pictures, settings


@pytest.fixture(scope="module")
def inception(random_inception: Path) -> Inception:
    found = load_inception(str(random_inception), layer="64")
    assert isinstance(found, Inception)
    return found


def darker(z: torch.Tensor) -> torch.Tensor:
    return 0.8 * z.flip(-1)


def eight_bits(x: torch.Tensor) -> torch.Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def test_it_is_the_distance_of_the_pictures_in_a_plain_loop(inception: Inception):
    images = pictures(9)
    config = settings(cycles=3, solver={"batch_size": 4, "max_steps": 0, "certificates": 0})
    found = round_trip(model(darker), "none", images, config, inception=inception)[2]["rfid"]
    assert [one["cycle"] for one in found] == [1, 2, 3]
    x, before = images.double() / 255, 0.0
    for one in found:
        x = darker(x)
        expected = frechet(inception(images), inception(eight_bits(x)))
        assert one["mean"] == pytest.approx(expected.mean, rel=1e-4)
        assert (one["ci95"], one["n"]) == (None, 9)  # no interval of so few
        assert one["mean"] > before
        before = one["mean"]


@pytest.mark.parametrize("between", ["none", "8bit"])
def test_without_a_model_nothing_is_lost(inception: Inception, between: str):
    found = round_trip(None, between, pictures(6), settings(cycles=5), inception=inception)[2]["rfid"]
    assert [one["cycle"] for one in found] == [1, 2, 5]
    for one in found:
        assert one["mean"] == pytest.approx(0, abs=1e-6)


def test_what_has_diverged_is_left_out_on_both_sides():
    """Features are here the first two values of each image."""

    def corner(images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        return images[:, 0, 0, :2].float()

    def broken(z: torch.Tensor) -> torch.Tensor:
        return torch.where(z[:, :1, :1, :1] > 0.9, torch.nan, z / 2)

    images = pictures(50)
    images[:, 0, 0, 0] = images[:, 0, 0, 0] // 2
    images[[1, 3], 0, 0, 0] = 255
    config = settings(cycles=2, solver={"batch_size": 7, "max_steps": 0, "certificates": 0})
    first, second = round_trip(model(broken), "none", images, config, inception=corner)[2]["rfid"]
    rest = images[[i for i in range(50) if i not in (1, 3)]]
    for t, one in ((1, first), (2, second)):
        expected = frechet(corner(rest), corner(eight_bits(rest.double() / 255 / 2**t)))
        assert one["mean"] == pytest.approx(expected.mean, rel=1e-9)
        assert one["ci95"] == pytest.approx(expected.ci95)
        assert one["n"] == 48
    lonely = round_trip(model(broken), "none", images[:2], config, inception=corner)[2]["rfid"]
    assert lonely == [{"cycle": cycle, "mean": None, "ci95": None, "n": 1} for cycle in (1, 2)]


def test_pictures_that_stay_are_looked_at_once():
    looked = []

    def network(images: torch.Tensor) -> torch.Tensor:
        looked.append(len(images))
        return images.flatten(1)[:, :3].float()

    features = Features(network, [1, 2, 5])
    features.start(pictures(4))
    features.look(0, pictures(4) / 255, torch.ones(4, dtype=torch.bool), stays=False)
    features.look(1, pictures(4) / 255, torch.ones(4, dtype=torch.bool), stays=True)
    assert looked == [4, 4]
    assert [one["mean"] for one in features.distances()] == pytest.approx([0, 0, 0], abs=1e-6)


def test_nothing_is_said_without_the_network():
    assert round_trip(None, "none", pictures(2), settings(cycles=1))[2] == {"places": 2}
