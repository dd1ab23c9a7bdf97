"""Reconstruction errors against a direct computation with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from probe import load_autoencoder
from probe.config import SparseConfig
from probe.studies.reconstruction import dictionaries, reconstruct


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_errors_against_a_direct_computation(tiny_vae, images):
    model = load_autoencoder(str(tiny_vae))
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(30, 4, 4, 4, generator=generator)
    atoms = torch.nn.functional.normalize(torch.randn(20, 64, generator=generator))
    found = reconstruct(
        model, atoms, first, images, images[:0], list("abcde"), SparseConfig(levels=(7,), batch_size=2), seed=0
    )
    assert found.method_atoms == {
        "attractors": 20,
        "random_orthogonal": 64,
        "gaussian": 30,
        "one_step": 30,
        "dct": 64,
    }
    assert found.absent == {"pca_oracle": "no image was left to hold out"}
    x = images.double().numpy() / 255
    with torch.no_grad():
        z = model.encode(torch.from_numpy(x).float() * 2 - 1).flatten(1).double()
        for name, dictionary in {"attractors": atoms, "one_step": first.flatten(1)}.items():
            unit = torch.nn.functional.normalize(dictionary.double()).T.numpy()
            code = orthogonal_mp(unit, z.T.numpy(), n_nonzero_coefs=7)
            sparse = (unit @ code).T
            decoded = (
                model.decode(torch.from_numpy(sparse).float().view(5, 4, 4, 4)).clamp(-1, 1).double().numpy() / 2 + 0.5
            )
            rows = found.rows[(found.rows.method == name) & (found.rows.atoms == 7)]
            assert rows.latent_mse.to_numpy() == pytest.approx(np.square(sparse - z.numpy()).mean(1), rel=1e-5)
            assert rows.pixel_mse.to_numpy() == pytest.approx(np.square(decoded - x).mean((1, 2, 3)), rel=1e-4)
            assert rows.id.tolist() == list("abcde")
    assert found.five_percent == 3
    assert found.examples["attractors"].shape == (5, 3, 16, 16)


def test_diverged_starts_do_not_enter_the_one_step_control():
    first = torch.randn(4, 1, 2, 2)
    first[1] = torch.nan
    made, _ = dictionaries(torch.eye(4), first, first[:0], SparseConfig(), seed=0)
    assert len(made["one_step"]) == 3
    assert len(made["gaussian"]) == 4
