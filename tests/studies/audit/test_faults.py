"""Each fault is found by name, with the sentence that says it; sound models fail nothing of their latents."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from probe.autoencoders import Autoencoder, load_autoencoder
from probe.config import DatasetConfig, ModelConfig
from probe.data.load import load_images
from probe.results.audit import Finding
from probe.studies.audit.check import answer, chosen
from probe.studies.audit.checks import CHECKS
from probe.studies.audit.subject import Subject, opened
from tests.studies.audit.faulty import collapsed, floored, standardised

LATENT = ("determinism", "scaling", "posterior", "channels", "ignored", "spots", "colour", "saturation")

CHECK = {one.name: one for one in CHECKS}


@pytest.fixture(scope="module")
def photographs():
    spec = DatasetConfig(source="bundled:photographs", n=16, holdout=0)
    return load_images("photographs", spec, resolution=32).images


def findings(source: str, images: Any, **settings: Any) -> list[Finding]:
    model, spec = opened(load_autoencoder, ModelConfig(source=source, **settings))
    subject = Subject(model, spec, load_autoencoder, images)
    return [one for check in chosen(CHECKS, LATENT) for one in answer(check, subject)]


def of(found: list[Finding], verdict: str) -> dict[str, str]:
    """The findings of a verdict: check and name, and the sentence."""
    return {f"{one.check}: {one.name}": one.sentence for one in found if one.verdict == verdict}


FAULTS = {
    "wrong_scale": ("scaling: deviation", "not 1: scaled wrongly.*pale and washed out.*scaling_factor 0.1[678]"),
    "wrong_shift": ("scaling: mean", "too dark or too bright.*shift_factor"),
    "wrong_range": ("colour: brightness", "levels darker than the images"),
    "dead_channel": ("channels: dead", "Channel 3 has one value for every image and place: dead"),
    "ignored_channel": ("ignored: ignored", "The decoder ignores channel 5: with noise instead"),
    "blob": ("spots: spots", "100 % of the images have a spot .* at row 2, column 5"),
    "too_bright": ("colour: brightness", r"are 9\.\d\d levels brighter than the images"),
    "too_red": ("colour: cast", "levels too much red"),
    "few_directions": ("channels: effective rank", r"The 8 channels use (2|1\.9.) directions"),
    "twins": ("channels: repeated", "Channels 1, 6 are nearly a combination of the others: redundant"),
    "saturating": ("saturation: saturation", "7. % of the decoded values are black or white"),
    "restless": ("determinism: encode", "Two runs differ by"),
}
ALSO = {
    "blob": {"scaling: deviation"},
    "few_directions": {"channels: repeated"},
    "wrong_range": {"scaling: deviation", "saturation: saturation"},
}
"""What follows from a fault: a spot is most of the deviation, channels of few directions repeat each other, and images
of twice the contrast have latents of twice the deviation, and are cut off."""


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_nothing_else_fails(fault, root, photographs):
    failed = of(findings(f"python:{root}/tests/studies/audit/faulty.py:{fault}", photographs), "FAIL")
    name, sentence = FAULTS[fault]
    assert failed.keys() == {name, *ALSO.get(fault, ())}
    assert re.search(sentence, failed[name])


def test_a_sound_model_fails_nothing(root, photographs):
    found = findings(f"python:{root}/tests/studies/audit/faulty.py:sound", photographs)
    assert not of(found, "FAIL")
    assert not of(found, "WARN")
    assert of(found, "skipped").keys() == {"posterior: posterior"}


def test_grey_images_say_nothing_of_colour(root, photographs):
    grey = photographs[:, :1].expand(-1, 3, -1, -1)
    found = findings(f"python:{root}/tests/studies/audit/faulty.py:sound", grey)
    assert not of(found, "FAIL")
    assert of(found, "skipped")["channels: repeated"].startswith("The images are grey")


@pytest.mark.parametrize("name", ["cifar-attractors", "cifar-plain"])
def test_the_embedded_models_fail_nothing_at_their_own_size(name, photographs):
    found = findings(f"embedded:{name}", photographs)
    assert not of(found, "FAIL")
    assert not of(found, "skipped")


@pytest.mark.shared
@pytest.mark.usefixtures("shared")
def test_taef2_fails_nothing(root, photographs):
    found = findings(f"python:{root}/tests/models/taef2.py:load", photographs)
    assert not of(found, "FAIL")


def test_a_collapsed_channel_is_found(tmp_path, photographs):
    failed = of(findings(str(collapsed(tmp_path)), photographs), "FAIL")
    assert "Channel 2 has collapsed: its posterior is N(0, 1)" in failed["posterior: collapsed"]
    assert "Channel 2 has one value for every image and place" in failed["channels: dead"]
    assert failed.keys() <= {"posterior: collapsed", "channels: dead", "scaling: mean of a channel"}


def test_what_claims_nothing_cannot_fail(root, photographs):
    """Latents of deviation 1 / 0.18215 are as good as others, to a model that says nothing of them."""
    model, spec = opened(
        load_autoencoder, ModelConfig(source=f"python:{root}/tests/studies/audit/faulty.py:sound", latents="raw")
    )
    found = CHECK["scaling"].run(Subject(model, spec, load_autoencoder, photographs))
    assert not of(found, "FAIL")
    assert re.search(
        r"Raw latents .*, and nothing scales them to 1\. For these images: scaling_factor 0\.1[678]",
        of(found, "WARN")["scaling: deviation"],
    )


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_statistics_of_each_channel(tmp_path, photographs, factor):
    """A factor beside them is the deviation that is meant, as in models trained at EDM's 0.5."""
    x = photographs / 127.5 - 1
    found = findings(str(standardised(tmp_path / "right", x, factor)), photographs)
    assert not of(found, "FAIL")
    assert f"; it should be {factor:g}." in of(found, "OK")["scaling: deviation"]
    failed = of(findings(str(standardised(tmp_path / "wrong", x, factor, wrong=4.0)), photographs), "FAIL")
    assert failed.keys() == {"scaling: deviation", "scaling: deviation of a channel"}
    assert re.search(r"For these images: multiply latents_std by 0\.2[3-7]", failed["scaling: deviation"])


def test_log_variances_at_the_floor_are_found(tmp_path, photographs):
    found = findings(str(floored(tmp_path)), photographs)
    assert not of(found, "FAIL")
    assert of(found, "WARN")["posterior: clamped"] == "25 % of the log-variances are cut off at -30 or 20."


def test_samples_that_do_not_follow_the_posterior_are_found(photographs):
    """Samples with half of the noise that the posterior has."""
    model, spec = opened(load_autoencoder, ModelConfig(source="embedded:cifar-plain"))
    module = model.modules[0]

    class Timid(type(module.encode(torch.zeros(1, 3, 32, 32)).latent_dist)):
        def sample(self, generator=None):
            return (self.mean + super().sample(generator)) / 2

    encode = module.encode

    def timid(x):
        found = encode(x)
        found.latent_dist.__class__ = Timid
        return found

    module.encode = timid
    subject = Subject(model, spec, load_autoencoder, photographs)
    failed = of(answer(CHECK["posterior"], subject), "FAIL")
    assert "and deviation 0.49" in failed["posterior: sampling"]


def test_random_weights_give_a_table_without_errors(tiny_vae, photographs):
    """Nothing has been trained: scale and colour are wrong, and no check breaks on it."""
    found = findings(str(tiny_vae), photographs)
    assert {one.check for one in found} == set(LATENT)
    assert not of(found, "skipped")
    assert {"scaling: deviation", "colour: brightness"} & of(found, "FAIL").keys()
    assert "a sample loses the image" in of(found, "WARN")["posterior: noise"]


def test_shapes_that_are_not_known_are_skipped(photographs):
    """Tokens by features: which axis is which cannot be told. What needs only pictures is checked all the same."""

    class Tokens(torch.nn.Module):
        def encode(self, x):
            return x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)

        def decode(self, z):
            return z.unflatten(1, (8, 8)).unflatten(3, (3, 4, 4)).permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3)

    tokens = Tokens()
    model = Autoencoder("tokens", "Tokens", tokens.encode, tokens.decode, (tokens,))
    subject = Subject(model, ModelConfig(source="tokens"), lambda _: model, photographs)
    found = [one for check in chosen(CHECKS, LATENT) for one in answer(check, subject)]
    skipped = of(found, "skipped")
    assert {name.split(":")[0] for name in skipped} == {"scaling", "posterior", "channels", "ignored", "spots"}
    assert skipped["spots: spots"].startswith("Which axis of a latent (64, 48) holds channels is not known")
    assert not of(found, "FAIL")


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_an_encoder_that_gives_one_number_breaks_no_check(root, photographs, value):
    """All channels are dead, or nothing can be said."""
    model, spec = opened(load_autoencoder, ModelConfig(source=f"python:{root}/tests/studies/audit/faulty.py:sound"))
    silent = replace(model, encoder=lambda x: torch.full((len(x), 8, 8, 8), value))
    subject = Subject(silent, spec, load_autoencoder, photographs)
    found = [one for check in chosen(CHECKS, LATENT[1:]) for one in answer(check, subject)]
    assert not [one.sentence for one in found if "could not be run" in one.sentence]
    if value:
        assert "Some latents are NaN" in of(found, "skipped")["channels: channels"]
    else:
        failed = of(found, "FAIL")
        assert "Channels 0, 1, 2, 3, 4, 5, 6, 7 have one value" in failed["channels: dead"]
        assert "All latents are equal." in failed["scaling: deviation"]
