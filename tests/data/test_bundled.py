import pytest
import torch

from probe.config import DatasetConfig
from probe.data.bundled import NAMES, TILED
from probe.data.load import load_images
from probe.errors import UserError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a bundled set went to the network")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_every_set_gives_64_and_128(name):
    got = load_images(name, DatasetConfig(), resolution=32)
    assert got.images.shape == (64, 3, 32, 32)
    assert got.heldout.shape == (128, 3, 32, 32)
    assert got.unreadable == []
    assert len(set(got.ids)) == 64
    assert set(got.source["packages"]) == {"scikit-image", "scikit-learn", "pillow"}
    # Nothing constant came through, and no picture is twice there.
    everything = torch.cat([got.images, got.heldout]).flatten(1)
    assert everything.float().std(dim=1).min() > 1
    assert len(everything.unique(dim=0)) == 192


@pytest.mark.parametrize("name", TILED)
def test_tiles_do_not_overlap(name):
    """All tiles of a picture stand on one grid of the tile's side, each cell at most once."""
    got = load_images(name, DatasetConfig(n=10_000, holdout=0), resolution=1)
    ids = got.ids
    assert got.source["pictures"] == len({i.split("/")[0] for i in ids})
    assert len(set(ids)) == len(ids)
    assert all(int(part) % TILED[name][0] == 0 for i in ids for part in i.split("/")[1:])


def test_no_such_set():
    with pytest.raises(UserError, match="no bundled set 'cats'; choose one of photographs"):
        load_images("x", DatasetConfig(source="bundled:cats"), resolution=8)


def test_a_picture_that_the_wheel_lacks(monkeypatch):
    import skimage.data

    def gone():
        raise ConnectionError("no internet")

    monkeypatch.setattr(skimage.data, "retina", gone, raising=False)
    with pytest.raises(UserError, match="does not carry the picture 'retina'"):
        load_images("retina", DatasetConfig(), resolution=8)
