"""The numbers of a round trip's report, against what was put into its files."""

import csv
import io
import json
import math
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.errors import UserError
from probe.measures import IDENTITY, MEASURES, shown_cycles
from probe.metrics.images import LOSSLESS
from probe.report.roundtrip import roundtrip_table, tables, words, write_roundtrip_report
from probe.report.roundtrip.build import _warnings, drawn_cycles, roundtrip_report
from probe.report.roundtrip.drawings import latent
from probe.report.roundtrip.export import cycles_csv
from probe.report.roundtrip.films import Scene, Shot, gain, sheets_of
from probe.report.roundtrip.numbers import means, until
from probe.report.roundtrip.schema import RoundtripReport, Series, Until
from probe.results.roundtrip import RoundtripResults, Trip, read_roundtrip
from probe.studies.roundtrip.between import codecs
from probe.studies.roundtrip.config import load_roundtrip_config

from ...roundtrips import N, finished

ONE = {"good": {"device": "cpu"}}


def read(path: Path) -> RoundtripResults:
    return read_roundtrip(path, load_roundtrip_config(path / "config.yaml"))


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("build") / "trips")


@pytest.fixture(scope="module")
def results(trips: Path) -> RoundtripResults:
    return read(trips)


@pytest.fixture(scope="module")
def report(results: RoundtripResults) -> RoundtripReport:
    return roundtrip_report(results)


def column(results: RoundtripResults, trip: Trip, measure: str, cycle: int) -> np.ndarray:
    """A measure of every image after a cycle, from the table itself."""
    rows = results.trips[trip].rows
    return rows[rows["cycle"] == cycle].sort_values("image")[measure].to_numpy(float)


def mean_at(report: RoundtripReport, series: Series, measure: str, cycle: int) -> float:
    found = words.at(report, series, measure, cycle)
    assert found is not None
    return found


@pytest.mark.parametrize("measure", ["psnr", "ssim", "ciede2000", "shift_blue", "saturated"])
def test_a_curve_is_the_mean_of_the_images(results, report, measure: str):
    for cycle in (1, 5, 8):
        for between in ("8bit", "jpeg:75"):
            of_set = [column(results, Trip("bad", between, name), measure, cycle) for name in report.datasets]
            for name, values in zip(report.datasets, of_set, strict=True):
                found = mean_at(report, report.datasets[name].of("bad", between), measure, cycle)
                assert found == pytest.approx(values.mean())
            together = mean_at(report, report.overall.of("bad", between), measure, cycle)
            assert together == pytest.approx(np.concatenate(of_set).mean())


def test_latents_are_relative_to_the_start_of_each_image(results, report):
    trip = Trip("good", "none", "digits")
    ratio = column(results, trip, "from_start", 8) / column(results, trip, "norm", 0)
    assert mean_at(report, report.datasets["digits"].of("good", "none"), "from_start", 8) == pytest.approx(ratio.mean())
    assert "moved" not in report.datasets["digits"].of(IDENTITY, "none").curves


def test_what_is_not_finite_is_left_out_and_said(results, report):
    trip, one = Trip("bad", "none", "digits"), report.datasets["digits"].of("bad", "none")
    values = column(results, trip, "psnr", 8)
    assert np.isnan(values).sum() == one.not_finite == one.settled.outcomes["diverged"] == 1
    assert mean_at(report, one, "psnr", 8) == pytest.approx(np.nanmean(values))
    assert (one.worst.image, one.worst.last) == (2, None)
    assert one.worst.first == pytest.approx(column(results, trip, "psnr", 1)[2])
    assert sum("2 of 12 images have diverged" in text for text in report.warnings) == 1
    alone = report.model_copy(update={"overall": report.datasets["digits"]})
    assert any("1 of 6 images has diverged" in text for text in _warnings(results, alone))


def test_a_control_that_loses_nothing_is_at_the_cap(report):
    control = report.overall.of(IDENTITY, "none")
    assert control.lossless
    assert set(control.curves["psnr"].mean) == {LOSSLESS}
    assert not report.overall.of(IDENTITY, "jpeg:75").lossless
    rows = {row[0]: row[1:] for row in tables.levels(report, report.overall).rows}
    assert set(rows["no model, nothing"]) == {"lossless"}
    assert rows["no model, JPEG 75"][0] == "36.5 [36.3, 36.7]"
    assert "no model, nothing" not in {row[0] for row in tables.until(report, report.overall).rows}


def test_intervals_are_those_of_a_bootstrap_over_images(report, results):
    values = column(results, Trip("bad", "8bit", "digits"), "psnr", 5)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    curve = report.datasets["digits"].of("bad", "8bit").curves["psnr"]
    place = report.cycles_drawn.index(5)
    assert (curve.low[place], curve.high[place]) == pytest.approx(tuple(theirs.confidence_interval), abs=0.05)


def test_means_of_columns_with_gaps():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [5.0, 9.0, np.nan]])
    found = means(values, seed=0)
    assert [one.mean for one in found[:2]] == [3.0, 7.0]
    assert math.isnan(found[2].mean)
    assert found[2].ci95 is None


def test_differences_are_paired_by_image(results, report):
    data = report.datasets["textures"]
    sides = [(Trip("bad", "8bit", "textures"), Trip("good", "8bit", "textures"))]
    sides += [(Trip("bad", "jpeg:75", "textures"), Trip("bad", "none", "textures"))]
    for mine, other in sides:
        key = (mine.model, mine.between, other.model, other.between)
        found = next(
            one for one in data.differences if (one.model, one.between, one.against_model, one.against_between) == key
        )
        gap = column(results, mine, "psnr", 5) - column(results, other, "psnr", 5)
        one = found.measures["psnr"][report.cycles_shown.index(5)]
        assert one.mean == pytest.approx(np.nanmean(gap))
        assert one.ci95 is not None
        assert one.ci95[0] <= one.mean <= one.ci95[1]
    # Both have JPEG's loss: 3 dB for every image, so that the paired interval has no width.
    assert one.ci95 == pytest.approx((-3, -3))
    assert len(data.differences) == 3 + 2 * 2


@pytest.mark.parametrize(
    ("first", "median", "ends", "never"),
    [
        ([2, 3, 4, 5, 6, 7, 8], 5, (2, 8), 0),
        ([2, 3, 4, 5, 6, -1, -1], 5, (2, None), 2),
        ([2, 3, -1, -1, -1, -1, -1], None, (2, None), 5),
        ([-1] * 7, None, (None, None), 7),
        ([4, 4, 4, 2, 2, 2], 2, (2, 4), 0),  # the lower of the two in the middle
        ([3], 3, (None, None), 0),
    ],
)
def test_median_cycles_count_never_as_last(first, median, ends, never):
    found = until(np.array(first))
    assert (found.median, (found.low, found.high), found.never) == (median, ends, never)


def test_a_median_s_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.geometric(0.1, (400, 21))  # the median is 7: P(X <= 6) = 0.47, P(X <= 7) = 0.52
    found = [until(np.where(one > 15, -1, one)) for one in draws]
    inside = [(one.low or 99) <= 7 <= (one.high or 99) for one in found]
    assert np.mean(inside) > 0.93


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Until(median=5, low=2, high=8, never=0), "5 [2, 8]"),
        (Until(median=5, low=2, high=None, never=2), "5 [2, > 50], 2 never"),
        (Until(median=None, low=7, high=None, never=5), "> 50 [7, > 50], 5 never"),
        (Until(median=None, low=None, high=None, never=6), "> 50, 6 never"),
        (Until(median=None, low=None, high=None, never=7), "never"),
    ],
)
def test_medians_in_words(found: Until, text: str):
    assert words.until_cell(found, 7, "> 50") == text


def test_marks_are_those_of_the_images(results, report):
    """An image of the bad model loses 1 + 0.1 i dB a cycle: it is 3 dB below at cycle 1 + ceil(3 / slope)."""
    expected = [1 + math.floor(3 / (1 + 0.1 * image)) + 1 for image in range(6)]
    first = results.trips[Trip("bad", "8bit", "digits")].tensors["until/down_3"].tolist()
    assert first == expected
    assert report.datasets["digits"].of("bad", "8bit").until["down_3"].median == sorted(expected)[2]


def test_outcomes_and_headline(report):
    one = report.overall.of("bad", "none").settled
    assert one.outcomes == {"converged": 0, "cycle": 4, "max_steps": 6, "diverged": 2}
    assert report.overall.of("good", "none").settled.certified == 12
    assert report.datasets["digits"].of("good", "none").settled.places == 1
    assert report.overall.of("good", "none").settled.places is None  # data sets are not compared
    assert report.headlines["bad"] == (
        "bad: after 1, 5 and 8 cycles with nothing between them, mean PSNR is 31.5, 26.4 and 22.7 dB (12 images; "
        "without a model nothing is lost); 4 of 12 images settle in cycles, 6 do not, 2 diverge. At "
        "the end: 22.8 dB with 8 bits and 19.8 dB with JPEG 75 (no model: 36.5 dB)."
    )


def test_a_model_that_loses_nothing(tmp_path: Path):
    results = read(finished(tmp_path / "trips", models=ONE))
    for trip, one in results.trips.items():
        if trip.model == "good":
            results.trips[trip] = replace(one, rows=one.rows.assign(psnr=np.inf, moved=0.0))
    report = roundtrip_report(results)
    assert "mean PSNR is lossless, lossless and lossless (12 images" in report.headlines["good"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        latent(report, report.overall)


def test_a_mean_leaves_lossless_pictures_out_where_others_are_not(tmp_path: Path):
    """18.1, inf, 17.8 and 22.5 dB are 19.5 dB on average, not the 39.3 dB that 100 dB for the second would give."""
    changes = {"datasets": {"digits": {"n": 6}}, "between": ["none"]}
    results = read(finished(tmp_path / "trips", **changes))
    trip, psnr = Trip("bad", "none", "digits"), [18.1, np.inf, 17.8, 22.5, np.nan, 140.0]
    rows = results.trips[trip].rows
    at = rows["cycle"] == 5
    rows.loc[at, "psnr"] = [psnr[image] for image in rows[at]["image"]]
    report = roundtrip_report(results)
    one, place = report.overall.of("bad", "none"), report.cycles_drawn.index(5)
    curve = one.curves["psnr"]
    assert curve.mean[place] == pytest.approx((18.1 + 17.8 + 22.5) / 3)
    assert 17.8 <= curve.low[place] <= curve.high[place] <= 22.5
    assert (curve.n[place], curve.lossless[place], curve.lossless[0]) == (3, 2, 0)
    assert tables.levels(report, report.overall).rows[1][3].endswith("] (2 of 6 lossless)")
    assert tables.overview(report).rows[1][2] == "19.5 dB (2 of 6 lossless)"
    assert "mean PSNR is 31.5 dB, 19.5 dB (2 of 6 lossless) and" in report.headlines["bad"]
    said = "bad, nothing: 2 of 6 lossless; mean PSNR, its intervals and differences leave them out."
    assert report.warnings.count(said) == 1
    (gap,) = report.overall.differences
    theirs = column(results, Trip("good", "none", "digits"), "psnr", 5)[[0, 2, 3]]
    assert gap.measures["psnr"][2].mean == pytest.approx(np.mean([18.1, 17.8, 22.5] - theirs))
    assert gap.lossless == [0, 0, 2, 0]
    assert "(without 2 lossless)" in tables.differences(report, [gap], "psnr", models=True).rows[0][3]
    assert report.overall.of("good", "none").curves["psnr"].lossless is None


def test_pictures_at_attractors_that_do_not_settle(report):
    one = report.overall.of("bad", "8bit")
    settled = one.settled.model_copy(
        update={
            "outcomes": {"converged": 0, "cycle": 0, "max_steps": 12, "diverged": 0},
            "at_attractors": 1,
            "attractors": 1,
        }
    )
    said = words.settles(one.model_copy(update={"settled": settled}))
    assert said == "none of the 12 images settles, 1 ends at 1 attractor of the run"


@pytest.mark.parametrize(
    ("outcomes", "more", "said"),
    [
        ({"max_steps": 1}, {}, "the image does not settle"),
        ({"diverged": 1}, {}, "the image diverges"),
        ({"cycle": 1}, {}, "the image settles in a cycle"),
        ({"converged": 1}, {"certified": 0}, "the image settles at a fixed point"),
        (
            {"converged": 1},
            {"certified": 1, "at_attractors": 1},
            "the image settles at a certified attractor, at an attractor of the run",
        ),
        ({"max_steps": 4}, {}, "none of the 4 images settles"),
        ({"cycle": 1, "max_steps": 3}, {}, "1 of 4 images settles in cycles, 3 do not"),
        (
            {"converged": 54, "max_steps": 10},
            {"examined": 40, "certified": 39},
            "54 of 64 images settle at fixed points (certified attractors: 39 of 40 examined), 10 do not",
        ),
        (
            {"converged": 2},
            {"examined": 1, "certified": 0},
            "2 of 2 images settle at fixed points (certified attractors: 0 of 1 examined)",
        ),
    ],
)
def test_who_settles_in_words(report, outcomes, more, said):
    one, none = report.overall.of("bad", "8bit"), dict.fromkeys(("converged", "cycle", "max_steps", "diverged"), 0)
    settled = one.settled.model_copy(update={"outcomes": none | outcomes, **more})
    assert words.settles(one.model_copy(update={"n": sum(outcomes.values()), "settled": settled})) == said


def test_attractors_of_a_run_are_counted(trips: Path):
    results = read(trips)
    for name in ("digits", "textures"):
        found = results.trips[Trip("good", "none", name)]
        found.tensors["attractor"] = found.tensors["place"].new_tensor([3, 3, 8, -1, -1, -1])
    report = roundtrip_report(results)
    settled = report.overall.of("good", "none").settled
    assert (settled.at_attractors, settled.attractors) == (6, 2)
    assert (
        "settle at fixed points (certified attractors: 12 of 12 examined), 6 end at 2 attractors of the run"
        in (report.headlines["good"])
    )
    rows = {row[0]: row for row in tables.outcomes(report, report.overall).rows}
    assert rows["good, nothing"][-1] == "6 at 2"
    assert rows["bad, nothing"][-1] == "-"


def test_only_settings_without_rounding_are_iterated_on(trips: Path, tmp_path: Path, no_panels):
    with_both = roundtrip_report(read(trips))
    assert with_both.protocol["cycles"].startswith("8, and with nothing up to 200 more of the latent map")
    assert "diverge in the further steps, too" in str(roundtrip_table(with_both.model_dump()).caption)
    path = finished(tmp_path / "trips", between=["8bit", "jpeg:75"])
    content = write_roundtrip_report(path)
    assert content["protocol"]["cycles"] == "8"
    assert content["protocol"]["settled"].startswith("the picture comes again, bit by bit; diverged: ")
    assert roundtrip_table(content).caption is None
    assert "further steps" not in (path / "report" / "report.md").read_text("utf-8")


def test_spectra_are_means_in_decibels(results, report):
    spectrum = results.trips[Trip("good", "8bit", "digits")].tensors["spectrum"].numpy()
    found = report.datasets["digits"].of("good", "8bit").spectra
    assert [one.cycle for one in found] == report.cycles_shown
    assert found[-1].gain == pytest.approx(spectrum[:, 8].mean(0), rel=1e-5)
    assert tables.detail(report, report.datasets["digits"]).rows[1][-1] == f"{spectrum[:, 8, 2:].mean():+.1f} dB"


def test_colour_drift_is_in_levels_of_8_bits(results, report):
    red = column(results, Trip("bad", "8bit", "digits"), "shift_red", 8).mean() * 255
    rows = {row[0]: row for row in tables.drift(report, report.datasets["digits"]).rows}
    assert rows["bad, 8 bits"][-1].startswith(f"{red:+.1f} / 0.0 / -")


def test_lpips_is_reported_where_it_was_measured(trips: Path):
    results = read(trips)
    assert roundtrip_report(results).protocol["LPIPS"] == "not measured"
    results.manifest["perceptual"] = {"lpips": None, "missing": ["no LPIPS: nowhere; save it"]}
    assert roundtrip_report(results).protocol["LPIPS"] == "not measured: nowhere; save it"
    for trip, found in results.trips.items():
        found.rows["lpips"] = 0.3 if trip.model == "bad" else 0.1
    noted = {"network": "AlexNet", "weights": "file.pth", "sha256": "ab", "dtype": "float32"}
    results.manifest["perceptual"] = {"lpips": noted}
    report = roundtrip_report(results)
    assert report.protocol["LPIPS"] == "network: AlexNet, weights: file.pth, sha256: ab"
    assert mean_at(report, report.overall.of("bad", "8bit"), "lpips", 5) == pytest.approx(0.3)
    found = tables.differences(report, report.overall.differences, "lpips", models=True)
    assert found.rows[0][:2] == [f"bad{tables.MINUS}good, nothing", "0.200 [0.200, 0.200]"]


def test_rfid_is_reported_where_it_was_measured(trips: Path):
    results = read(trips)
    assert roundtrip_report(results).protocol["rFID"] == "not measured"
    for trip, found in results.trips.items():
        if trip.dataset == "digits":
            lost = 0.0 if trip.model == IDENTITY else 1.5
            found.about["rfid"] = [
                {"cycle": cycle, "mean": lost * cycle, "ci95": [lost, 9] if cycle == 2 else None, "n": N - (cycle == 8)}
                for cycle in (1, 2, 5, 8)
            ]
    results.manifest["perceptual"] = {"rfid": {"network": "Inception", "sha256": "ab", "resize": "to 299"}}
    report = roundtrip_report(results)
    told = report.protocol["rFID"]
    assert told.startswith("network: Inception, sha256: ab, resize: to 299, pixels: clamped, rounded to 8 bits, ")
    found = tables.rfid(report, report.datasets["digits"])
    assert found.head == [tables.NAMES, "n", "1 cycle", "2 cycles", "5 cycles", "8 cycles"]
    assert found.rows[0] == ["good, nothing", "6", "1.50", "3.00 [1.50, 9.00]", "7.50", "12.0 (n = 5)"]
    assert found.rows[-1][2:4] == ["0", "0 [0.00, 9.00]"]
    for data in (report.datasets["textures"], report.overall):  # no number of all sets together
        assert not tables.rfid(report, data).rows
        assert all(one.rfid is None for one in data.series)
    (warning,) = (one for one in report.warnings if "rFID" in one)
    assert warning.startswith("digits: rFID of 6 images is too large by a bias that falls with n;")
    rows = [row for row in csv.DictReader(io.StringIO(cycles_csv(report))) if row["measure"] == "rfid"]
    assert len(rows) == 4 * 3 * 3
    assert rows[1] | {"model": "good"} == {
        **{"dataset": "digits", "model": "good", "between": "none", "cycle": "2", "measure": "rfid"},
        **{"mean": "3.0", "low": "1.5", "high": "9.0", "n": "6"},
    }


def test_the_protocol_names_what_writes_files(trips: Path):
    results = read(trips)
    results.manifest["versions"] = {"pillow": "13.0.0", "scipy": "1.17"}
    results.manifest["codecs"] = codecs() | {"libwebp": None}
    found = roundtrip_report(results).protocol["versions"]
    assert re.fullmatch(r"pillow 13.0.0, libjpeg(-turbo)? [0-9.]+", found)


def test_cycles():
    assert shown_cycles(50) == [1, 2, 5, 10, 20, 50]
    assert shown_cycles(8) == [1, 2, 5, 8]
    assert drawn_cycles(3) == [1, 2, 3]
    assert {1, 2, 3, 4, 5, 10, 20, 50} <= set(drawn_cycles(50))
    assert len(drawn_cycles(100_000)) < 40
    assert drawn_cycles(1) == [1]


def test_files_say_the_same(trips: Path, tmp_path: Path, no_panels):
    path = Path(shutil.copytree(trips, tmp_path / "trips"))
    content = write_roundtrip_report(path)
    assert json.loads((path / "report" / "report.json").read_text()) == content
    found = pd.read_csv(io.StringIO((path / "report" / "cycles.csv").read_text()))
    again = RoundtripReport.model_validate(content)
    row = found.query("dataset == 'all' and model == 'bad' and between == '8bit' and cycle == 5 and measure == 'psnr'")
    assert row["mean"].item() == mean_at(again, again.overall.of("bad", "8bit"), "psnr", 5)
    assert row["n"].item() == 12
    row = found.query("dataset == 'all' and model == 'bad' and between == 'none' and cycle == 8 and measure == 'psnr'")
    assert row["n"].item() == 10  # two have diverged
    assert set(found["measure"]) <= {one.name for one in MEASURES}
    assert roundtrip_table(content).row_count == 9
    further = "up to solver.max_steps further steps of the latent map, rounded settings only the cycles."
    assert further in str(roundtrip_table(content).caption)
    assert further.split(", ")[1] in (path / "report" / "report.md").read_text()
    assert next(csv.reader(io.StringIO((path / "report" / "cycles.csv").read_text())))[0] == "dataset"


def test_one_model_one_set_one_setting_one_cycle(tmp_path: Path):
    path = finished(
        tmp_path / "trips",
        models={"good": {"device": "cpu"}},
        datasets={"digits": {"n": 6}},
        between=["none"],
        cycles=1,
    )
    content = write_roundtrip_report(path)
    assert content["cycles_drawn"] == content["cycles_shown"] == [1]
    assert content["overall"] == content["datasets"]["digits"]
    assert content["headlines"]["good"].startswith(
        "good: after 1 cycle with nothing between them, mean PSNR is 31.5 dB"
    )
    assert "psnr_by_set" not in (path / "report" / "report.md").read_text()


def test_what_is_missing_is_named(trips: Path):
    results = read(trips)
    del results.trips[Trip("good", "none", "digits")].tensors["spectrum"]
    with pytest.raises(UserError, match="spectrum"):
        roundtrip_report(results)


def test_the_gain_makes_differences_visible_and_clips_few():
    def scene(level: int) -> Scene:
        frames = np.zeros((2, 3, 4, 4), np.uint8)
        frames[1] = level
        return Scene("", [Shot(0, frames, np.array([np.inf, 20.0]))], differ=False)

    assert [gain([scene(level)]) for level in (0, 1, 10, 40, 200)] == [32, 32, 16, 4, 1]


def test_sheets_leave_room_on_the_page(monkeypatch: pytest.MonkeyPatch):
    """The first three reels of every set are there at a quality that fits, others where they fit, too."""
    tiles = load_images("tiles", DatasetConfig(source="bundled:photographs", n=2, holdout=0), resolution=64)
    noise = np.random.default_rng(0).normal(0, 1, (4, 3, 64, 64)) * np.arange(4)[:, None, None, None]
    frames = [(one + noise).clip(0, 255).astype(np.uint8) for one in tiles.images.numpy()]
    scenes = {f"set-{i}": [Scene("", [Shot(i, frames[i], np.full(4, 20.0))] * 4, differ=False)] * 4 for i in range(2)}
    sizes = {}
    for room in (60_000, 90_000, 1_000_000):
        monkeypatch.setattr("probe.report.roundtrip.films.ROOM", room)
        made = sheets_of(scenes, 4)
        sizes[room] = len(made)
        assert sum(map(len, made.values())) <= room
        assert {f"figures/set-{i}_film_{place}" for i in range(2) for place in range(3)} <= set(made)
    assert sizes[1_000_000] == 8
    assert sorted(sizes.values()) == list(sizes.values())
