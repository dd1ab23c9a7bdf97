"""Real images, from parquet files as the hub writes them."""

import pytest

from probe.config import DatasetConfig
from probe.data.load import load_images

SIX = ("imagenet", "cifar100", "eurosat", "patchcamelyon", "places365", "laion_standin_coco")


@pytest.mark.shared
@pytest.mark.parametrize("name", SIX)
def test_real_images(shared, name, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    spec = DatasetConfig(source=f"parquet:{shared}/data/six/{name}.parquet", n=100, holdout=50)
    got = load_images(name, spec, resolution=32)
    assert got.images.shape == (100, 3, 32, 32)
    assert got.heldout.shape == (50, 3, 32, 32)
    assert got.unreadable == []
    assert got.source["column"] == "image"
    spread = got.images.float().flatten(1).std(dim=1)
    assert spread.median() > 10  # pictures, not blanks
    # cifar100 is the only one at its native size: it must pass pixel-exact.
    if name == "cifar100":
        import datasets
        import numpy as np

        table = datasets.load_dataset("parquet", data_files=str(shared / f"data/six/{name}.parquet"), split="train")
        first = np.asarray(table[int(got.ids[0])]["image"].convert("RGB"))
        assert np.array_equal(got.images[0].permute(1, 2, 0).numpy(), first)
