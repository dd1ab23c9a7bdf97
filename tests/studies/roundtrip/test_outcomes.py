"""Where pictures settle: maps whose fixed points and cycles are known."""

import math

import pytest
import torch

from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.dynamics import Outcome
from probe.studies.roundtrip.outcomes import Ends, Reference, until
from probe.studies.roundtrip.trip import round_trip

from .models import model, pictures, settings
from .test_cycles import blur

C, CYCLE, MAX, D = (int(one) for one in (Outcome.CONVERGED, Outcome.CYCLE, Outcome.MAX_STEPS, Outcome.DIVERGED))


def trip(own, between="none", images=None, **changes):
    _, tensors, about = round_trip(own, between, pictures(4) if images is None else images, settings(**changes))
    return tensors, about["places"]


@pytest.mark.parametrize("between", ["none", "clamp"])
def test_a_contraction_leads_all_images_to_one_certified_point(between):
    """x -> 1/2 + (x - 1/2) / 2: the residual of z_t is 4^-t of the first, and the spectral radius is 1/2."""
    images = pictures(4)
    tensors, places = trip(model(lambda z: 0.5 + (z - 0.5) / 2), between, images, cycles=20)
    assert tensors["outcome"].tolist() == [C] * 4
    assert tensors["period"].tolist() == [1] * 4
    assert (tensors["place"].tolist(), places) == ([0] * 4, 1)
    assert tensors["certificate"].tolist() == [1] * 4
    assert tensors["spectral_radius"].tolist() == pytest.approx([0.5] * 4, abs=1e-3)
    first = (images.double() / 255 - 0.5).flatten(1).norm(dim=1) / 2
    expected = [math.floor(math.log(size / 1e-5**0.5, 2)) + 1 for size in first.tolist()]
    assert tensors["settled"].tolist() == expected
    assert (tensors["residual"] < 1e-5).all()


def test_a_point_that_is_reached_after_the_cycles_settles_later():
    tensors, _ = trip(model(lambda z: 0.5 + (z - 0.5) / 2), cycles=2)
    assert tensors["outcome"].tolist() == [C] * 4
    assert (tensors["settled"] > 2).all()
    drifting, _ = trip(model(lambda z: 0.5 + (z - 0.5) / 2), cycles=2, solver={"max_steps": 0})
    assert drifting["outcome"].tolist() == [MAX] * 4
    assert drifting["settled"].tolist() == [-1] * 4
    assert drifting["certificate"].tolist() == [-2] * 4


@pytest.mark.parametrize("between", ["none", "clamp", "8bit", "png"])
def test_a_negative_has_a_cycle_of_two(between):
    """x -> 1 - x; an image and its negative are on the same one."""
    images = pictures(3)
    images = torch.cat([images, 255 - images[:1]])
    tensors, places = trip(model(lambda z: 1 - z), between, images, cycles=9)
    assert tensors["outcome"].tolist() == [CYCLE] * 4
    assert tensors["period"].tolist() == [2] * 4
    assert tensors["settled"].tolist() == [0] * 4
    assert places == 3
    assert tensors["place"][0] == tensors["place"][3] == 0
    assert sorted(tensors["place"].tolist()) == [0, 0, 1, 2]
    assert tensors["certificate"].tolist() == [-2] * 4


def test_a_cycle_that_is_approached_settles_when_its_points_come_again():
    """x -> 1/2 - s tanh(4 (x - 1/2)) goes to +-a with a = tanh(4 a) about 1/2: a cycle of two, in a few steps."""
    tensors, _ = trip(model(lambda z: 0.5 - 0.4 * torch.tanh(10 * (z - 0.5))), cycles=30)
    assert tensors["outcome"].tolist() == [CYCLE] * 4
    assert tensors["period"].tolist() == [2] * 4
    assert bool(((tensors["settled"] > 0) & (tensors["settled"] < 12)).all())


def test_two_attractors_are_two_places():
    images = torch.full((5, 3, 16, 16), 30, dtype=torch.uint8)
    images[[0, 2]] = 220
    images[:, :, :8] += 10
    tensors, places = trip(model(lambda z: 0.5 + 0.4 * torch.tanh(4 * (z - 0.5))), "none", images, cycles=30)
    assert tensors["outcome"].tolist() == [C] * 5
    assert places == 2
    assert tensors["place"].tolist() == [1, 0, 1, 0, 0]  # most images first
    assert tensors["certificate"].tolist() == [1] * 5


def test_only_so_many_points_are_certified():
    images = torch.full((3, 3, 16, 16), 30, dtype=torch.uint8)
    images[2] = 220
    own = model(lambda z: 0.5 + 0.4 * torch.tanh(4 * (z - 0.5)))
    tensors, _ = trip(own, "none", images, cycles=30, solver={"certificates": 1})
    assert tensors["certificate"].tolist() == [1, 1, -2]
    assert tensors["spectral_radius"].isnan().tolist() == [False, False, True]


def test_a_drift_does_not_settle():
    tensors, places = trip(model(lambda z: z.roll(1, 3) * 0.999999 + 1e-7), cycles=5, solver={"max_steps": 10})
    assert tensors["outcome"].tolist() == [MAX] * 4
    assert places == 0
    assert tensors["place"].tolist() == [-1] * 4


def test_a_roll_of_eight_bit_pictures_comes_back_after_their_width():
    tensors, places = trip(model(lambda z: z.roll(1, 3)), "8bit", cycles=20)
    assert tensors["outcome"].tolist() == [CYCLE] * 4
    assert (tensors["period"].tolist(), tensors["settled"].tolist(), places) == ([16] * 4, [0] * 4, 4)
    short, _ = trip(model(lambda z: z.roll(1, 3)), "8bit", cycles=15)
    assert short["outcome"].tolist() == [MAX] * 4


def test_what_diverges_is_told_where():
    images = pictures(4)
    images[:, 0, 0, 0] = torch.tensor([0, 255, 0, 255])

    def grows(z):
        return torch.where(z[:, :1, :1, :1] > 0.9, 100 * z, 0.5 + (z - 0.5) / 2)

    tensors, _ = trip(model(grows), "none", images)
    norm = (images.double() / 255).flatten(1).norm(dim=1)
    first = [math.ceil(math.log(1e6 / size, 100)) for size in norm.tolist()]
    assert tensors["outcome"].tolist() == [C, D, C, D]
    assert tensors["settled"][[1, 3]].tolist() == [first[1], first[3]]
    assert tensors["period"].tolist() == [1, 0, 1, 0]
    assert tensors["residual"][[1, 3]].isinf().all()
    late, _ = trip(model(lambda z: 2 * z), "none", images, cycles=2)  # within the bound during the cycles
    assert late["outcome"].tolist() == [D] * 4
    assert (late["settled"] > 2).all()


def test_jpeg_alone_settles_within_a_few_cycles():
    """At a fixed quality, without a model: quantising again what was quantised changes less each time."""
    images = load_images("photographs", DatasetConfig(n=12, holdout=0), resolution=32).images
    found, tensors, _ = round_trip(None, "jpeg:75", images, settings(cycles=40))
    assert tensors["outcome"].tolist() == [C] * 12
    assert int(tensors["settled"].max()) <= 20
    assert float(tensors["settled"].double().median()) <= 5
    psnr = found.columns["psnr"]
    assert (psnr[:, -1] > psnr[:, 1] - 2).all()
    fine, _, _ = round_trip(None, "jpeg:95", images, settings(cycles=5))
    assert (fine.columns["psnr"][:, 1] > psnr[:, 1]).all()


def test_resizing_alone_loses_fine_detail_and_no_other():
    images = load_images("photographs", DatasetConfig(n=6, holdout=0), resolution=32).images
    found, _, _ = round_trip(None, "resize:0.5", images, settings(cycles=10))
    psnr, spectrum = found.columns["psnr"], found.spectrum
    assert (psnr[:, 10] < psnr[:, 1]).all()
    assert (spectrum[:, 1, 8:].mean(0) < -3).all()  # above 1/4 cycle per pixel, the limit at half the size
    assert (spectrum[:, 1, :3].mean(0).abs() < 0.5).all()


def test_marks_are_the_first_cycles_below():
    psnr = torch.tensor(
        [
            [math.inf, 30.0, 29.5, 28.5, 26.5, 24.0],
            [math.inf, math.inf, math.inf, math.inf, math.inf, math.inf],
            [math.inf, 24.0, 26.0, 26.0, 26.0, 26.0],
            [math.inf, 40.0, 39.5, math.nan, math.nan, math.nan],
            [math.nan] * 6,
        ]
    ).double()
    found = until(psnr)
    assert found["until/down_1"].tolist() == [3, -1, -1, 3, 1]
    assert found["until/down_3"].tolist() == [4, -1, -1, 3, 1]
    assert found["until/down_6"].tolist() == [-1, -1, -1, 3, 1]
    assert found["until/below_25"].tolist() == [5, -1, 1, 3, 1]


def test_ends_are_compared_with_the_certified_attractors_of_a_run():
    points = torch.tensor([[3.0, 0.0], [0.0, 4.0], [10.0, 0.0]])
    about = {"weights_sha256": "w", "latent_shape": [2], "latents": "raw"}
    dictionary = {"certificate": torch.tensor([1, 1, 0], dtype=torch.int8), "ends": points}
    reference = Reference.of(dictionary, about, "sha")
    assert reference.unusable(about) == ""
    assert reference.unusable({**about, "weights_sha256": "v"}) == "the run is of a model with other weights"
    assert reference.unusable({**about, "latents": "scaled"}) == "the run is of a model with other coordinates"
    none = Reference.of({**dictionary, "certificate": torch.zeros(3)}, about, "sha")
    assert none.unusable(about) == "the run has no certified attractor"
    latent = torch.tensor([[3.0, 0.1], [10.0, 0.0], [0.0, 3.9], [1.0, 0.0]])
    outcome = torch.tensor([C, C, MAX, D], dtype=torch.uint8)
    found = reference.compare(Ends({"outcome": outcome}, 0, latent))
    assert found["attractor"].tolist() == [0, -1, 1, -1]
    assert found["nearest"].tolist() == [0, 0, 1, -1]
    assert found["distance"][:3].tolist() == pytest.approx([0.1, 7.0, 0.1])
    assert found["distance"][3].isnan()


def test_the_blur_takes_every_picture_to_its_mean():
    """The mean is kept, so each image has a fixed point of its own, which is neutral and not certified."""
    tensors, _ = trip(model(blur), "none", cycles=5, solver={"max_steps": 3000, "tolerance": 1e-8})
    assert tensors["outcome"].tolist() == [C] * 4
    assert 1 not in tensors["certificate"].tolist()
