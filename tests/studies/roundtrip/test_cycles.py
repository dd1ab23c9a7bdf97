"""The iteration against closed forms: nothing lost, a blur with known gains, values that grow without bound."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import convolve1d
from skimage.color import deltaE_ciede2000, rgb2lab

from probe.measures import MEASURES, Seen
from probe.metrics.spectrum import ROUNDING
from probe.studies.roundtrip.between import step
from probe.studies.roundtrip.cycles import NEVER, Coder, Trajectories, trajectories
from probe.studies.roundtrip.film import Film
from probe.studies.roundtrip.trip import round_trip, table

from .models import model, pictures, settings

CYCLES = 6


def run(own, images, between="none", cycles=CYCLES, rows=100, max_norm=1e6) -> tuple[Trajectories, Film]:
    config = settings(cycles=cycles)
    film = Film(config.film, config.film.at(cycles))
    found = trajectories(Coder(own), step(between), images, cycles, rows=rows, max_norm=max_norm, film=film)
    return found, film


def blur(z: torch.Tensor) -> torch.Tensor:
    """[1, 2, 1] / 4 in both directions, borders mirrored: diagonal in the cosine transform, within [0, 1]."""
    x = z.numpy()
    for axis in (2, 3):
        x = convolve1d(x, [0.25, 0.5, 0.25], axis=axis, mode="reflect")
    return torch.from_numpy(x)


@pytest.mark.parametrize("own", [None, model(lambda z: z)], ids=["no model", "identity"])
@pytest.mark.parametrize("between", ["none", "clamp", "8bit", "png"])
def test_the_identity_loses_nothing(own, between):
    found, film = run(own, pictures(3), between)
    columns = found.columns
    assert torch.equal(columns["psnr"], torch.full((3, CYCLES + 1), torch.inf, dtype=torch.float64))
    assert torch.allclose(columns["ssim"], torch.ones_like(columns["ssim"]))
    for name in ("ciede2000", "shift_red", "shift_green", "shift_blue"):
        assert not columns[name].any(), name
    assert not found.spectrum.any()
    assert ("moved" in columns) == (own is not None)
    if own:
        assert not columns["moved"][:, 1:].any()
        assert columns["moved"][:, 0].isnan().all()
        assert not columns["from_start"].any()
    assert torch.equal(film.tensors()["film"][:, -1], pictures(3)[film.images()])


def test_a_linear_map_loses_what_its_spectrum_says():
    """F multiplies the coefficient (u, v) by g = cos(pi u / 2N)^2 cos(pi v / 2N)^2: after t cycles 1 - g^t of it is
    gone."""
    images = pictures(4, side=16)
    found, _ = run(model(blur), images)
    x = images.double().numpy() / 255
    coefficients = dctn(x, axes=(2, 3), norm="ortho")
    once = np.cos(np.pi * np.arange(16) / 32) ** 2
    gains = once[:, None] * once
    for t in range(1, CYCLES + 1):
        lost = (((1 - gains**t) * coefficients) ** 2).mean((1, 2, 3))
        assert found.columns["psnr"][:, t].tolist() == pytest.approx((-10 * np.log10(lost)).tolist(), rel=1e-6)
        moved = ((gains ** (t - 1) * (1 - gains) * coefficients) ** 2).sum((1, 2, 3)) ** 0.5
        assert found.columns["moved"][:, t].tolist() == pytest.approx(moved.tolist(), rel=1e-9)
        away = (((1 - gains**t) * coefficients) ** 2).sum((1, 2, 3)) ** 0.5
        assert found.columns["from_start"][:, t].tolist() == pytest.approx(away.tolist(), rel=1e-9)
    r = np.hypot(np.arange(16)[:, None], np.arange(16)) / 32
    for band in range(8):
        inside = (r > band / 16 + 1e-12) & ((r <= (band + 1) / 16 + 1e-12) | (band == 7))
        floor = ROUNDING * inside.mean()
        power = [((gains**t * coefficients) ** 2)[:, :, inside].sum(2).mean(1) / 256 + floor for t in (0, CYCLES)]
        assert found.spectrum[:, CYCLES, band].tolist() == pytest.approx(
            (10 * np.log10(power[1] / power[0])).tolist(), abs=1e-4
        )


def test_a_model_is_given_values_in_its_own_range():
    images, low = pictures(2), -1.0

    def darker(z):
        assert float(z.min()) >= low
        return z - 0.2

    found, _ = run(model(darker, image_range=(low, 1.0)), images // 2 + 64, cycles=2)
    for colour in ("red", "green", "blue"):
        assert found.columns[f"shift_{colour}"][:, 1].tolist() == pytest.approx([-0.1] * 2)
    assert torch.allclose(found.columns["norm"][:, 0], ((images // 2 + 64).double() / 127.5 - 1).flatten(1).norm(dim=1))


def test_colour_and_saturation_are_those_of_the_clamped_picture():
    images = pictures(3)
    shift = torch.tensor([0.3, 0.0, -0.6], dtype=torch.float64)[:, None, None]
    found, _ = run(model(lambda z: z + shift), images, cycles=1)
    x = images.double() / 255
    y = (x + shift).clamp(0, 1)
    for row in range(3):
        labs = [rgb2lab(one[row].permute(1, 2, 0).numpy()) for one in (x, y)]
        assert float(found.columns["ciede2000"][row, 1]) == pytest.approx(deltaE_ciede2000(*labs).mean())
    expected = (y - x).mean((2, 3))
    for channel, colour in enumerate(("red", "green", "blue")):
        assert found.columns[f"shift_{colour}"][:, 1].tolist() == pytest.approx(expected[:, channel].tolist())
    assert found.columns["saturated"][:, 1].tolist() == ((y == 0) | (y == 1)).double().mean((1, 2, 3)).tolist()


def explosive(z: torch.Tensor) -> torch.Tensor:
    """Grows a thousandfold a step where the first value is above 0.9, is NaN there beyond 1e5, and blurs elsewhere."""
    bad = (z[:, :1, :1, :1] > 0.9).expand_as(z)
    grown = torch.where(bad & (z.abs() > 1e5), torch.nan, 1000 * z)
    return torch.where(bad, grown, blur(z))


@pytest.mark.parametrize("between", ["none", "8bit", "jpeg:75"])
@pytest.mark.parametrize("kind", ["nan", "grows"])
def test_what_diverges_has_no_measures_and_touches_no_other(between, kind):
    images = pictures(5)
    images[:, 0, 0, 0] = 0
    images[[1, 3], :, 0, 0] = 255
    broken = explosive if kind == "grows" else lambda z: torch.where(z[:, :1, :1, :1] > 0.9, torch.nan, blur(z))
    found, film = run(model(broken), images, between)
    alone, _ = run(model(broken), images[[0, 2, 4]], between)
    for name, column in found.columns.items():
        assert torch.equal(column[[0, 2, 4]].nan_to_num(), alone.columns[name].nan_to_num()), name
        assert name == "moved" or column[[0, 2, 4]].isnan().sum() == 0
    assert found.died[[0, 2, 4]].tolist() == [NEVER] * 3
    died = {"nan": 1, "grows": NEVER if between != "none" else 2}[kind]  # clamped pictures cannot grow
    assert found.died[[1, 3]].tolist() == [died] * 2
    if died != NEVER:
        for column in (*found.columns.values(), found.spectrum):
            assert column[[1, 3], died:].isnan().all()
            assert column[[1, 3], died - 1].isfinite().all() or died == 1
        assert not film.tensors()["film"][film.images().index(1), -1].any()  # black


def test_an_image_without_a_latent_has_no_measure_at_all():
    own = model(lambda z: z)
    broken = type(own)(**{**vars(own), "encoder": lambda x: torch.where(x[:, :1, :1, :1] > 0.5, torch.inf, x)})
    images = pictures(2)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 255, 0
    found, _ = run(broken, images)
    assert found.died.tolist() == [0, NEVER]
    assert found.columns["psnr"][0].isnan().all()
    assert found.columns["psnr"][1].isinf().all()


@pytest.mark.parametrize("between", ["none", "8bit", "jpeg:60"])
def test_neither_the_batch_nor_the_order_matters(between):
    images = pictures(7)
    own = model(blur)
    whole, film = run(own, images, between)
    for rows in (1, 3):
        parts, others = run(own, images, between, rows=rows)
        for name, column in whole.columns.items():
            assert torch.equal(column.nan_to_num(), parts.columns[name].nan_to_num()), name
        assert torch.equal(whole.spectrum, parts.spectrum)
        assert all(torch.equal(one, others.tensors()[name]) for name, one in film.tensors().items())
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    moved, _ = run(own, images[order], between)
    for name, column in whole.columns.items():
        assert torch.equal(column[order].nan_to_num(), moved.columns[name].nan_to_num()), name
    assert torch.equal(whole.period[order], moved.period)
    assert [whole.place[i] for i in order] == moved.place


def test_a_batch_that_does_not_fit_is_halved(caplog):
    def small(z):
        if len(z) > 2:
            raise torch.OutOfMemoryError("no")
        return blur(z)

    images = pictures(7)
    found, _ = run(model(small), images, rows=5)
    expected, _ = run(model(blur), images)
    for name, column in expected.columns.items():
        assert torch.equal(found.columns[name].nan_to_num(), column.nan_to_num())
    assert "out of memory with 5 rows at once; continuing with 3" in caplog.text


def test_batches_by_the_size_of_the_images():
    coder = Coder(None)
    assert (coder.rows(32, "auto"), coder.rows(512, "auto"), coder.rows(2, "auto"), coder.rows(32, 7)) == (
        85,
        1,
        256,
        7,
    )


def test_pictures_that_no_longer_change_are_not_computed_again():
    calls = []

    def counted(z):
        calls.append(len(z))
        return (z * 4).round() / 4

    found, film = run(model(counted), pictures(3), "8bit", cycles=50)
    assert len(calls) <= 3
    assert found.began.tolist() == [1] * 3
    for column in found.columns.values():
        assert torch.equal(column[:, 2:], column[:, 2:3].expand(-1, 49))
    assert torch.equal(film.tensors()["film"][:, 1], film.tensors()["film"][:, -1])


def test_the_film_shows_the_first_the_worst_and_the_best():
    images = torch.full((9, 3, 16, 16), 100, dtype=torch.uint8)
    images[:, 0] += torch.tensor([50, 60, 20, 90, 70, 10, 80, 30, 40], dtype=torch.uint8)[:, None, None]
    own = model(lambda z: z + (z[:, :1] - 100 / 255) / 16)  # what is redder is changed more
    config = settings(cycles=5, film={"images": 2, "extremes": 1, "cycles": [3, 4, 70]})
    film = Film(config.film, config.film.at(5))
    found = trajectories(Coder(own), step("none"), images, 5, rows=2, max_norm=1e6, film=film)
    kept = film.tensors()
    worst, best = int(found.columns["psnr"][:, -1].argmin()), int(found.columns["psnr"][:, -1].argmax())
    assert kept["film_images"].tolist() == [0, 1, worst, best]
    assert (worst, best) == (3, 5)
    assert kept["film_cycles"].tolist() == [0, 1, 3, 4, 5]
    assert torch.equal(kept["film"][:, 0], images[kept["film_images"]])
    x = images[0, :, 0, 0].double() / 255
    assert torch.equal(kept["film"][0, 1, :, 0, 0], ((x + (x[0] - 100 / 255) / 16) * 255).round().to(torch.uint8))


def test_large_pictures_are_kept_smaller():
    images = pictures(2, side=24)
    config = settings(cycles=2, film={"side": 8})
    film = Film(config.film, config.film.at(2))
    trajectories(Coder(model(lambda z: z)), step("none"), images, 2, rows=2, max_norm=1e6, film=film)
    kept = film.tensors()["film"]
    assert kept.shape == (2, 3, 3, 8, 8)
    expected = images.double().unflatten(3, (8, 3)).unflatten(2, (8, 3)).mean((3, 5)).round()
    assert torch.equal(kept[:, 0].double(), expected)


def test_the_table_has_a_row_per_image_and_cycle():
    found, _, _ = round_trip(model(blur), "none", pictures(3), settings(cycles=4))
    rows = table(found, ["a", "b", "c"])
    assert rows["image"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert rows["cycle"].tolist() == [0, 1, 2, 3, 4] * 3
    assert rows["id"].unique().tolist() == ["a", "b", "c"]
    assert rows["psnr"][7] == float(found.columns["psnr"][1, 2])
    assert list(rows.columns[3:]) == [one.name for one in MEASURES if one.name in rows]


def test_lpips_is_of_the_clamped_picture_and_its_image():
    def distance(x, y):
        assert float(x.max()) <= 1
        return (x - y).abs().amax((1, 2, 3))

    images = pictures(3) // 2
    found, _, _ = round_trip(model(lambda z: 3 * z), "none", images, settings(cycles=1), lpips=distance)
    expected = ((3 * images.double() / 255).clamp(max=1) - images / 255).abs().amax((1, 2, 3))
    assert found.columns["lpips"][:, 1].tolist() == pytest.approx(expected.tolist())
    assert "lpips" in table(found, ["a", "b", "c"])


def test_small_pictures_have_no_ssim():
    found, _ = run(model(blur), pictures(2, side=8), cycles=1)
    assert found.columns["ssim"].isnan().all()
    assert math.isfinite(float(found.columns["psnr"][0, 1]))


def test_measures_of_the_control_need_no_latent():
    x = torch.rand(2, 3, 16, 16)
    latent = [one.name for one in MEASURES if one.optional and one.function(Seen(x, x)) is None]
    assert latent == ["lpips", "norm", "moved", "from_start"]
