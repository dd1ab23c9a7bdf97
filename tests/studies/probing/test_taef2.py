"""The real TAEF2 on real photographs, against what was measured before the tool was written (DESIGN.md, Section 1)."""

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.config import DatasetConfig, SolverConfig, SparseConfig
from probe.data.load import load_images
from probe.dynamics import EndPoints
from probe.studies.probing.end_points import batches, solve
from probe.studies.probing.reconstruction import dictionaries, mean_image, prepare, reconstruct

MEASURED = {
    "random_orthogonal": 0.609,
    "attractors": 0.434,
    "one_step": 0.390,
    "dct": 0.416,
    "weights_transform": 0.376,
}
"""Latent MSE at 26 of 512 atoms on ImageNet at 32x32: 512 starts, 60 steps, 100 images."""


@pytest.mark.slow
@pytest.mark.shared
def test_errors_at_five_percent_and_no_convergence(shared, root, monkeypatch):
    monkeypatch.chdir(root)
    model = load_autoencoder("python:tests/models/taef2.py:load")
    solver = SolverConfig(max_steps=20)  # a third of the time of 60; the error is 0.435 after 20, 0.441 after 30
    f = LatentMap(model)
    parts = batches(512, 128)
    solved = dict(solve(f, (32, 4, 4), parts, seed=0, solver=solver))
    ends = EndPoints.concatenate([solved[part] for part in parts])
    assert ends.counts()["max_steps"] == 512
    assert 0.5 < ends.residual.median() < 10  # far from the tolerance: these are no attractors
    spec = DatasetConfig(source=f"parquet:{shared}/data/six/imagenet.parquet", n=100, holdout=0)
    images = load_images("imagenet", spec, resolution=32)
    atoms = torch.nn.functional.normalize(ends.end.flatten(1), dim=1)
    sparse = SparseConfig(levels=(26,), controls=("random_orthogonal", "one_step", "dct", "weights_transform"))
    bases = prepare(dictionaries(atoms, ends.first, sparse, seed=0), sparse, model.device)
    rows = reconstruct(model, bases, images.images, sparse, mean_image(images.images)).rows(images.ids)
    found = rows[rows.atoms == 26].groupby("method").latent_mse.mean()
    for method, value in MEASURED.items():
        # Another sample of images and of starts; the issue asks for 0.03.
        assert found[method] == pytest.approx(value, abs=0.03), method
