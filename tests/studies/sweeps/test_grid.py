"""The grid of models, its configuration, and the images that it is drawn from."""

import string

import pytest
import torch
from PIL import Image

from probe.errors import UserError
from probe.report.study.kinds import study_kind
from probe.studies.sweeps.datasets import draw
from probe.studies.sweeps.grid import Cell, cells, training_images
from probe.studies.sweeps.kinds import parse_study_config

DIGITS = {"train": {"source": "bundled:digits", "n": 30}, "test": 12, "side": 16}


def shards(study, data):
    return study_kind(study.study).shards(study, data)


def config(**more):
    return parse_study_config({"study": "bottleneck", "datasets": {"digits": DIGITS}, "k": [2, 4], **more})


def test_every_combination_once_in_order():
    about = {"digits": {"n_train": 30, "channels": 1, "side": 28}}
    found = cells(config(seeds=[0, 7]), about)
    assert found == [Cell("digits", k, 30, seed) for k in (2, 4) for seed in (0, 7)]
    sizes = config(study="training_size", k=[2], sizes=[5, 30], seeds=[3])
    assert [cell.name for cell in cells(sizes, about)] == ["digits-k0002-n000005-s3", "digits-k0002-n000030-s3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "training_size"}, "a training_size study varies sizes"),
        ({"sizes": [5, 10]}, "a bottleneck study varies k"),
        ({"k": [2, 2]}, "each value once"),
        ({"k": []}, "at least 1 item"),
        ({"datasets": {}}, "at least 1 item"),
        ({"datasets": {"a/b": DIGITS}}, "becomes a file name"),
        ({"datasets": {"x": {**DIGITS, "test": {"source": "bundled:digits", "n": 5}}}}, "train and test are the same"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"solver": {"exponents": 3}}, "'solver.exponents' is unknown"),
        ({"study": "botleneck"}, "there is no study 'botleneck'; did you mean 'bottleneck'"),
        ({"study": None}, "config key 'study' is missing: set it to one of bottleneck, training_size, across_training"),
        ({"study": "across_training"}, "varies the epoch; give k one value"),
        ({"study": "across_training", "k": [2]}, "needs training.checkpoint_every, below training.epochs"),
        ({"study": "across_training", "solver": {"certificates": 3}}, "'solver.certificates' is unknown: valid keys"),
        ({"study": "convergence", "sizes": [5]}, "'sizes' is unknown: did you mean 'seeds'"),
        ({"study": "convergence", "measure": {"nulls": 5}}, "'measure.nulls' is unknown: valid keys are euclidean"),
        ({"study": "contraction"}, "'datasets' is unknown: valid keys are architectures, device, samples, seeds, stud"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(change, message):
    with pytest.raises(UserError, match=message) as caught:
        config(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"study": "convergence", "k": [2, 4], "seeds": [0, 7]}, 4),
        ({"study": "across_training", "k": [2], "training": {"checkpoint_every": 5}}, 3),
        ({"study": "training_size", "k": [2], "sizes": [5, 10, 15], "seeds": [1]}, 3),
    ],
)
def test_as_many_models_as_it_says_and_the_same_configuration_read_again(settings, names):
    study = config(**settings)
    found = shards(study, {"digits": {"n_train": 30, "channels": 1, "side": 28}})
    assert len({one.name for one in found}) == len(found) == study.shards == names
    assert parse_study_config(study.model_dump(mode="json")) == study


def test_architectures_are_the_shards_of_a_contraction_study():
    every = parse_study_config({"study": "contraction"})
    found = shards(every, {})
    assert len({one.name for one in found}) == len(found) == every.shards > 20
    assert all(set(one.name) <= set(string.ascii_letters + string.digits + "-") for one in found)
    some = parse_study_config({"study": "contraction", "architectures": ["ConvAutoencoder, k = 2"]})
    assert [one.name for one in shards(some, {})] == ["ConvAutoencoder-k-2"]
    assert parse_study_config(some.model_dump(mode="json")) == some
    with pytest.raises(UserError, match="there is no architecture 'ResNet'"):
        shards(parse_study_config({"study": "contraction", "architectures": ["ResNet"]}), {})


def test_a_split_is_that_of_the_part_where_none_is_given():
    hub = {"source": "hub:ylecun/mnist", "n": 5}
    study = config(datasets={"mnist": {"train": hub, "test": hub}})
    data = study.datasets["mnist"]
    assert (data.train.dataset("train").split, data.test.dataset("test").split) == ("train", "test")
    written = parse_study_config(study.model_dump(mode="json"))
    assert written == study


def test_a_saved_set_has_its_splits_by_use_too(tmp_path):
    import datasets

    bright = {name: Image.new("RGB", (4, 4), (value,) * 3) for name, value in (("train", 200), ("test", 100))}
    several = {name: [image.point(lambda v, i=i: v + i) for i in range(3)] for name, image in bright.items()}
    sets = {name: datasets.Dataset.from_dict({"image": found}) for name, found in several.items()}
    sets = {name: one.cast_column("image", datasets.Image()) for name, one in sets.items()}
    datasets.DatasetDict(sets).save_to_disk(tmp_path / "both")
    sets["train"].save_to_disk(tmp_path / "one")
    for place, part, value in (("both", "train", 200), ("one", "train", 200), ("both", "test", 100)):
        images = {"source": f"saved:{tmp_path}/{place}", "n": 2}
        data = {"train": images, "test": 1} if part == "train" else {"train": images | {"split": "test"}, "test": 1}
        drawn = draw("mine", config(datasets={"mine": {**data, "side": 16}}).datasets["mine"])
        assert value <= int(drawn.train.min()) <= int(drawn.train.max()) < value + 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": [5, 600]}, "k = 600 is more than the 512 features before the bottleneck at 32 px"),
        ({"training": {"convolutions": 5}}, "images of side 28 are too small for 5 strides of 2, which need 32"),
        ({"sizes": [31]}, "data set 'digits' has 30 training images, but sizes asks for 31"),
    ],
)
def test_what_the_images_do_not_allow_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        cells(config(**settings), {"digits": {"n_train": 30, "channels": 1, "side": 28}})


def test_grey_images_keep_one_channel_and_no_test_image_is_trained_on():
    drawn = draw("digits", config().datasets["digits"])
    assert drawn.train.shape == (30, 1, 16, 16)
    assert drawn.test.shape == (12, 1, 16, 16)
    assert (drawn.train[:, None] == drawn.test[None]).flatten(2).all(2).sum() == 0
    whole = {**DIGITS, "train": {"source": "bundled:digits", "n": 1797}}
    drawn = draw("digits", config(datasets={"digits": whole}).datasets["digits"])
    assert (len(drawn.train), len(drawn.test)) == (1785, 12)


def test_test_images_that_are_training_images_are_told(tmp_path):
    for part, greys in (("train", (10, 20, 30)), ("test", (20, 30, 200, 210))):
        (tmp_path / part).mkdir()
        for grey in greys:
            Image.new("L", (16, 16), grey).save(tmp_path / part / f"{grey}.png")
    parts = {part: {"source": f"folder:{tmp_path / part}", "n": 9} for part in ("train", "test")}
    facts = draw("mine", config(datasets={"mine": {**parts, "side": 16}}).datasets["mine"]).facts
    assert facts["test"]["shared_with_train"] == 2
    assert facts["test"]["notes"] == ["2 of 4 test images are also training images (all pixels are equal)."]
    assert facts["train"]["notes"] == ["the brightest value of all images is 30 of 255; check the range of the files."]


def test_classes_are_chosen_and_an_empty_one_is_named():
    some = config(datasets={"digits": {**DIGITS, "classes": ["3", "8"]}})
    assert draw("digits", some.datasets["digits"]).facts["train"]["classes"] == 2
    with pytest.raises(UserError, match="no image drawn is of class 'ten'"):
        draw("digits", config(datasets={"digits": {**DIGITS, "classes": ["3", "ten"]}}).datasets["digits"])


def test_grey_training_and_coloured_test_images_are_refused(tmp_path):
    for part, colour in (("train", (9, 9, 9)), ("test", (9, 8, 7))):
        (tmp_path / part).mkdir()
        Image.new("RGB", (16, 16), colour).save(tmp_path / part / "one.png")
    spec = {part: {"source": f"folder:{tmp_path / part}", "n": 1} for part in ("train", "test")}
    with pytest.raises(UserError, match="the training images are grey, the test images are not"):
        draw("mixed", config(datasets={"mixed": {**spec, "side": 16}}).datasets["mixed"])


def test_a_smaller_training_set_is_the_beginning_of_a_larger_one():
    train = torch.arange(20).view(-1, 1, 1, 1)
    small, large = (training_images(train, Cell("x", 2, size, 5)).flatten().tolist() for size in (6, 15))
    assert small == large[:6]
    assert len(set(large)) == 15
    assert training_images(train, Cell("x", 2, 6, 6)).flatten().tolist() != small
