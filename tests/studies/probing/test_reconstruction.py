"""Reconstruction errors against a direct computation with scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from probe import load_autoencoder
from probe.config import ClipConfig, SparseConfig
from probe.dictionary import random_bases
from probe.errors import UserError
from probe.semantics.clip import load_clip
from probe.studies.probing.reconstruction import (
    Look,
    Reconstructed,
    absent_controls,
    centre,
    dictionaries,
    mean_image,
    originals,
    picture,
    prepare,
    pursuit_dtype,
    reconstruct,
    with_oracle,
)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


ORACLES = ("random_mean_oracle", "pca_oracle")
"""Controls that see held-out images."""


def test_errors_against_a_direct_computation(tiny_vae, images):
    model = load_autoencoder(str(tiny_vae))
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(30, 4, 4, 4, generator=generator)
    atoms = torch.nn.functional.normalize(torch.randn(20, 64, generator=generator))
    sparse = SparseConfig(levels=(7,), batch_size=2, random_bases=2)
    bases = with_oracle(dictionaries(atoms, first, sparse, seed=0), first[:0], sparse)
    sizes = {name: len(basis) for name, basis in bases.items()}
    random = {"random_orthogonal": 64, "random_orthogonal/1": 64}
    random |= {"random_mean": 64, "random_mean/1": 64, "matched_gaussian": 20, "matched_gaussian/1": 20}
    ours = {"attractors": 20, "weights_transform": 64}
    assert sizes == {"gaussian": 30, "one_step": 30, "dct": 64} | ours | random
    why = "no image was left to hold out"
    assert absent_controls(bases, sparse) == {
        "random_mean_oracle": f"{why}, or their mean was subtracted",
        "pca_oracle": why,
    }
    mean, ready = mean_image(images[:3]), prepare(bases, sparse, model.device)
    found = reconstruct(model, ready, images, sparse, mean)
    table = found.rows(list("abcde"))
    x = images.double().numpy() / 255
    with torch.no_grad():
        z = model.encode(torch.from_numpy(x).float() * 2 - 1).flatten(1).double()
        checked = {"attractors": atoms, "one_step": first.flatten(1), "random_orthogonal/1": random_bases(64, 2, 0)[1]}
        for name, dictionary in checked.items():
            unit = torch.nn.functional.normalize(dictionary.double()).T.numpy()
            code = orthogonal_mp(unit, z.T.numpy(), n_nonzero_coefs=7)
            combined = (unit @ code).T
            decoded = (
                model.decode(torch.from_numpy(combined).float().view(5, 4, 4, 4)).clamp(-1, 1).double().numpy() / 2
                + 0.5
            )
            method, _, basis = name.partition("/")
            rows = table[(table.method == method) & (table.basis == int(basis or 0)) & (table.atoms == 7)]
            assert rows.latent_mse.to_numpy() == pytest.approx(np.square(combined - z.numpy()).mean(1), rel=1e-5)
            assert rows.pixel_mse.to_numpy() == pytest.approx(np.square(decoded - x).mean((1, 2, 3)), rel=1e-4)
            assert rows.id.tolist() == list("abcde")
    assert found.levels == (3, 7)  # 5 % of 64 is always there
    assert found.examples["attractors"].shape == (2, 5, 3, 16, 16)
    assert "random_orthogonal/1" not in found.examples
    halves = [reconstruct(model, ready, part, sparse, mean) for part in (images[:3], images[3:])]
    again = Reconstructed.concatenate(halves).rows(list("abcde"))
    metrics = ["latent_mse", "pixel_mse", "psnr", "ssim"]
    assert again.drop(columns=metrics).equals(table.drop(columns=metrics))
    assert np.allclose(again[metrics], table[metrics], rtol=1e-4, atol=1e-5)
    assert np.allclose(table.psnr, -10 * np.log10(table.pixel_mse))
    with torch.no_grad():
        flat = torch.from_numpy(x[:3].mean(0, keepdims=True))
        sanity = {
            "zero_code": (torch.zeros(1, 64), model.decode(torch.zeros(1, 4, 4, 4)).clamp(-1, 1).double() / 2 + 0.5),
            "mean_image": (model.encode(flat.float() * 2 - 1).flatten(1), flat),
        }
    for name, (code, shown) in sanity.items():
        rows = table[table.method == name]
        assert rows.id.tolist() == list("abcde")
        # The mean image is rounded to a 255th: its error is off by 1/255 of its root at most.
        assert rows.pixel_mse.to_numpy() == pytest.approx(np.square(shown.numpy() - x).mean((1, 2, 3)), rel=5e-3)
        assert rows.latent_mse.to_numpy() == pytest.approx((code - z).square().mean(1).numpy(), rel=5e-3)


def test_levels_beyond_the_atoms_are_not_decoded_again(tiny_vae, images):
    plain, generator = load_autoencoder(str(tiny_vae)), torch.Generator().manual_seed(1)
    sparse = SparseConfig(levels=(2, 5, 9, 40, 64), batch_size=5, controls=[])
    bases = {"attractors": torch.nn.functional.normalize(torch.randn(9, 64, generator=generator))}
    decoded: list[torch.Tensor] = []
    model = replace(plain, decoder=lambda z: decoded.append(z) or plain.decoder(z))
    ready = prepare(bases, sparse, model.device)
    found = reconstruct(model, ready, images, sparse, mean_image(images))
    z_hat = [z.flatten(1).double() for z in decoded if len(z) == 5]
    assert found.levels == (2, 3, 5, 9, 40, 64)
    assert len(z_hat) == 1 + 4  # the latents themselves, and four levels
    z = z_hat[0]
    code = torch.linalg.lstsq(bases["attractors"].double().T, z.T).solution  # all nine atoms
    assert torch.allclose(z_hat[-1], (bases["attractors"].double().T @ code).T, atol=1e-5)
    for values in (found.used, *found.errors.values()):
        assert all(torch.equal(values[0, k], values[0, 3]) for k in (4, 5))
        assert not torch.equal(values[0, 2], values[0, 3])


def test_centred_codes_against_scikit_learn(tiny_vae, images):
    """The latents less a mean, in atoms less their own, and the former added again."""
    model = load_autoencoder(str(tiny_vae))
    generator = torch.Generator().manual_seed(1)
    ends, first = (torch.randn(k, 4, 4, 4, generator=generator) + 2 for k in (20, 30))
    sparse = SparseConfig(levels=(7, 64), controls=("one_step", "dct", "pca_oracle"), centre="end_points")
    mean = centre(sparse, ends, first[:0], "digits")
    assert mean is not None
    assert torch.equal(mean, ends.flatten(1).double().mean(0))
    bases = dictionaries(ends.flatten(1), first, sparse, seed=0)
    bases = with_oracle(bases, first[:9], sparse)
    ready = prepare(bases, sparse, model.device)
    table = reconstruct(model, ready, images, sparse, mean_image(images), centre=mean).rows(list("abcde"))
    with torch.no_grad():
        z = model.encode(images.float() / 127.5 - 1).flatten(1).double()
    signals = (z - mean).numpy()
    for name, made in {"attractors": ends, "one_step": first}.items():
        points = made.flatten(1).double()
        unit = torch.nn.functional.normalize(points - points.mean(0)).T.numpy()
        combined = torch.from_numpy((unit @ orthogonal_mp(unit, signals.T, n_nonzero_coefs=7)).T) + mean
        with torch.no_grad():
            decoded = model.decode(combined.float().view(5, 4, 4, 4)).clamp(-1, 1).double() / 2 + 0.5
        rows = table[(table.method == name) & (table.atoms == 7)]
        assert rows.latent_mse.to_numpy() == pytest.approx((combined - z).square().mean(1).numpy(), rel=1e-5)
        pixel = (decoded - images.double() / 255).square().mean((1, 2, 3))
        assert rows.pixel_mse.to_numpy() == pytest.approx(pixel.numpy(), rel=1e-4)
    whole = table[(table.method == "dct") & (table.atoms == 64)]
    assert whole.latent_mse.max() < 1e-12
    floor = table[table.method == "autoencoder"]
    assert whole.pixel_mse.to_numpy() == pytest.approx(floor.pixel_mse.to_numpy(), rel=1e-6)
    assert "random_mean_oracle" not in with_oracle(bases, first[:9], sparse.model_copy(update={"controls": ORACLES}))
    seen = first[:9].flatten(1).double()
    theirs = torch.linalg.svd(seen - seen.mean(0), full_matrices=False)[2][:8]  # 9 points about their mean span 8
    assert torch.allclose((bases["pca_oracle"] @ theirs.T).abs(), torch.eye(8, dtype=torch.float64), atol=1e-8)


def test_what_is_subtracted():
    ends, heldout = torch.randn(3, 1, 2, 2), torch.randn(4, 1, 2, 2)
    assert centre(SparseConfig(), ends, heldout, "digits") is None
    found = centre(SparseConfig(centre="heldout"), ends, heldout, "digits")
    assert found is not None
    assert torch.equal(found, heldout.flatten(1).double().mean(0))
    with pytest.raises(UserError, match="no image of digits was held out"):
        centre(SparseConfig(centre="heldout"), ends, heldout[:0], "digits")
    with pytest.raises(UserError, match="the dictionary is empty"):
        centre(SparseConfig(centre="end_points"), ends[:0], heldout, "digits")


def test_pictures_are_small():
    images = torch.full((2, 3, 300, 150), 7, dtype=torch.uint8)
    assert picture(images).shape == (2, 3, 128, 64)
    assert (picture(images) == 7).all()
    assert picture(images[..., :100, :100]).shape == (2, 3, 100, 100)


def test_diverged_starts_do_not_enter_the_one_step_control():
    first = torch.randn(4, 1, 2, 2)
    first[1] = torch.nan
    made = dictionaries(torch.eye(4), first, SparseConfig(), seed=0)
    assert len(made["one_step"]) == 3
    assert len(made["gaussian"]) == 4


def test_auto_compares_all_dictionaries_in_the_dtype_that_the_most_demanding_needs():
    auto = SparseConfig(dtype="auto", levels=(40,))
    assert pursuit_dtype(SparseConfig(), 100, [100]) == "float64"
    assert pursuit_dtype(SparseConfig(dtype="float32", levels=(90,)), 100, [100]) == "float32"
    assert pursuit_dtype(auto, 100, [100, 200]) == "float32"
    assert pursuit_dtype(auto, 100, [100, 60]) == "float64"
    ready = prepare({"a": torch.eye(100), "b": torch.eye(100)[:60]}, auto, torch.device("cpu"))
    assert {basis.dtype for basis in ready.values()} == {torch.float64}


def test_originals_are_seen_as_small_as_decoded_end_points_are(tiny_clip):
    clip = load_clip(ClipConfig(model=f"local-dir:{tiny_clip}"), torch.device("cpu"))
    images = torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = originals(images, Look(clip, clip.images(images / 255)))
    small = torch.nn.functional.avg_pool2d(images.float(), 2).round()
    assert torch.equal(seen["picture"].float(), small)
    assert torch.allclose(seen["embedding"], clip.images(small / 255), atol=1e-5)
    assert not torch.allclose(seen["embedding"], clip.images(images / 255), atol=1e-3)
    few = images[:, :, :32, :32]
    assert torch.allclose(originals(few, Look(clip, clip.images(few / 255)))["embedding"], clip.images(few / 255))
