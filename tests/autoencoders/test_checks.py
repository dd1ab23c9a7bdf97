"""What is refused of a model once it is loaded: weights, settings, and what E and D do to two rows."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe import load_autoencoder
from probe.autoencoders.base import Autoencoder, check_loaded
from probe.config import ModelConfig
from probe.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tiny_vae, tmp_path):
    """Copies of a small AutoencoderKL with other settings or weights."""

    def make(change=lambda weights: None, **settings):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(tiny_vae, folder)
        config = json.loads((folder / "config.json").read_text()) | settings
        (folder / "config.json").write_text(json.dumps(config))
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})
        return folder

    return make


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_named(copy, value):
    def spoil(weights):
        weights["decoder.conv_out.bias"][0] = value
        weights["quant_conv.weight"][0] = value

    folder = copy(spoil)
    for source in (folder, folder / WEIGHTS):
        with pytest.raises(UserError, match=r"decoder\.conv_out\.bias has NaN or infinity \(2 tensors in all\)"):
            load_autoencoder(str(source))


def test_float64_weights_beyond_float32_are_infinite_in_it_alone(copy):
    def large(weights):
        weights["quant_conv.bias"] = torch.full_like(weights["quant_conv.bias"], 1e300, dtype=torch.float64)

    folder = copy(large)
    with pytest.raises(UserError, match=r"quant_conv\.bias .*model\.dtype=float64"):
        load_autoencoder(str(folder))
    load_autoencoder(ModelConfig(source=str(folder), dtype="float64"))


def test_masks_may_be_infinite():
    module = torch.nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    check_loaded(Autoencoder("it", "It", torch.relu, torch.relu, (module,)))
    module.mask[0] = math.nan
    with pytest.raises(UserError, match="mask has NaN"):
        check_loaded(Autoencoder("it", "It", torch.relu, torch.relu, (module,)))


@pytest.mark.parametrize("value", [0, -1.0, "auto", True, [0.5], {}, math.nan, math.inf])
def test_a_scaling_factor_that_is_none_is_refused(copy, value):
    with pytest.raises(UserError, match="scaling_factor must be a finite number above 0") as caught:
        load_autoencoder(str(copy(scaling_factor=value)))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift_factor": "auto"}, "shift_factor must be a finite number, not 'auto'"),
        ({"shift_factor": math.nan}, "shift_factor must be a finite number, not nan"),
        ({"latents_mean": "auto"}, "latents_mean must be a list of numbers"),
        ({"latents_mean": []}, "latents_mean must hold finite numbers"),
        ({"latents_mean": [0.0, math.nan]}, "latents_mean must hold finite numbers"),
        ({"latents_std": [1.0, 0.0]}, "latents_std must hold finite numbers above 0"),
    ],
)
def test_other_settings_that_make_no_coordinates(copy, settings, message):
    with pytest.raises(UserError, match=message):
        load_autoencoder(str(copy(**settings)))


def test_null_stands_for_nothing(copy):
    model = load_autoencoder(str(copy(scaling_factor=None, shift_factor=None)))
    assert (model.scaling_factor, model.shift_factor) == (1.0, 0.0)


def test_outputs_that_overflow_are_told(copy):
    with pytest.raises(UserError, match=r"encode of an input gives NaN or infinity \(float32\); use .*float64"):
        load_autoencoder(str(copy(lambda weights: weights["encoder.conv_in.weight"].fill_(1e38)))).latent_shape(16)
    with pytest.raises(UserError, match="decode of the latent of an input gives NaN or infinity"):
        load_autoencoder(str(copy(lambda weights: weights["decoder.conv_out.weight"].fill_(3e38)))).latent_shape(16)


def model_of(encode=lambda x: x, decode=lambda z: z, **more):
    return Autoencoder("it", "It", encode, decode, (), **more)


def half(x):
    """A module whose activations are float16, weights finite, as mixed precision has it."""
    return (x.half() * 60000 * 60000).float()


CALLS = iter(range(10**6))
BROKEN = {
    "ignores the batch": (model_of(lambda x: x[:1]), r"encode of a batch of 2 returned the shape \(1, 3, 8, 8\)"),
    "averages the batch": (model_of(lambda x: x.mean(0)), r"encode of a batch of 2 returned the shape \(3, 8, 8\)"),
    "decodes one": (model_of(decode=lambda z: z[-1:]), r"decode of a batch of 2 returned the shape \(1, 3, 8, 8\)"),
    "first row": (model_of(lambda x: x[:1].expand_as(x)), "rows of a batch are not independent"),
    "last row": (model_of(lambda x: x[-1:].expand_as(x)), "rows of a batch are not independent"),
    "swaps rows": (model_of(lambda x: x.flip(0)), "rows of a batch are not independent"),
    "swaps rows twice": (model_of(lambda x: x.flip(0), lambda z: z.flip(0)), "rows of a batch are not independent"),
    "batch statistics": (model_of(lambda x: x - x.mean(0)), "rows of a batch are not independent"),
    "sums up": (model_of(decode=lambda z: z.cumsum(0)), "rows of a batch are not independent"),
    "loudest row": (model_of(lambda x: x / x.abs().max()), "rows of a batch are not independent"),
    "random": (model_of(lambda x: x + torch.randn_like(x)), "is not deterministic: two calls of encode with one image"),
    "slightly random": (model_of(lambda x: x + 0.005 * torch.randn_like(x)), "two calls of encode"),
    "random D": (model_of(decode=lambda z: z + torch.randn_like(z)), "two calls of decode with one latent differ by"),
    "empty": (model_of(lambda x: x[:, :0]), r"encode returned an empty tensor of shape \(2, 0, 8, 8\)"),
    "scalars": (model_of(lambda x: x.mean((1, 2, 3))), "at least one dimension"),
    "integers": (model_of(lambda x: x.long()), "encode must return a dense tensor of floating-point numbers.* int64"),
    "booleans": (model_of(decode=lambda z: z > 0), "decode must return a dense tensor of floating-point .* bool"),
    "complex": (model_of(lambda x: torch.fft.fft2(x)), "complex64"),
    "sparse": (model_of(lambda x: x.to_sparse()), "sparse_coo"),
    "elsewhere": (model_of(lambda x: x.to("meta")), "on meta"),
    "nothing": (model_of(lambda x: None), "encode must return a tensor, not a NoneType"),
    "other size": (model_of(decode=lambda z: z[..., :4]), "decode must return the same height and width"),
    "grey": (model_of(torch.nn.Conv2d(1, 2, 1)), r"declares it by the attribute channels = 1\."),
    "other channels": (model_of(decode=lambda z: z[:, :1]), r"to an image \(1, 1, 8, 8\)"),
    "NaN": (model_of(lambda x: x / 0), "encode of an input gives NaN or infinity"),
    "NaN of D": (model_of(decode=lambda z: (-2 - z.abs()).log()), "decode of the latent of an input gives NaN"),
    "NaN of f": (model_of(lambda x: (x + 1).sqrt(), lambda z: z - 5), "encode of a reconstruction gives NaN"),
    "float16 inside": (model_of(half), "encode of an input gives NaN or infinity"),
    "fails later": (
        model_of(decode=lambda z: z if next(CALLS) == 0 else z[0].expand(3, 1, 2)),
        r"it cannot decode a tensor of shape \(2, 3, 8, 8\): ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_makes_no_map_of_rows_is_refused(name):
    model, message = BROKEN[name]
    with pytest.raises(UserError, match=message) as caught:
        model.latent_shape(8)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_maps_of_rows_are_taken():
    assert model_of().latent_shape(8) == (3, 8, 8)
    # Each image by its own mean and deviation: undefined on constant images, and a map all the same.
    own = model_of(lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))
    assert own.latent_shape(8) == (3, 8, 8)
    assert model_of(lambda x: 0 * x).latent_shape(8) == (3, 8, 8)
    assert model_of(lambda x: x.flatten(1), lambda z: z.view(-1, 3, 8, 8)).latent_shape(8) == (192,)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (1.0, -1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_an_image_range_is_one(ends):
    with pytest.raises(UserError, match="image_range"):
        check_loaded(model_of(image_range=ends))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image_range = (1, 1)", "image_range must go from a smaller to a larger"),
        ("image_range = (1, 0)", "image_range must go from a smaller to a larger"),
        ("scaling_factor = 0", "scaling_factor must be a finite number above 0"),
        ("scaling_factor = float('nan')", "scaling_factor must be a finite number above 0"),
        ("shift_factor = float('inf')", "shift_factor must be a finite number"),
        ("downsampling = float('nan')", "downsampling must be a whole number"),
        ("downsampling = 1.5", "downsampling must be a whole number"),
        ("weight = torch.nn.Linear(1, 1).requires_grad_(False)\n    weight.bias.fill_(float('inf'))", None),
    ],
)
def test_a_users_model_is_checked_alike(tmp_path, line, message):
    file = tmp_path / "mine.py"
    file.write_text(
        f"import torch\n\nclass Mine:\n    {line}\n"
        "    def __init__(self):\n        self.weights = getattr(self, 'weight', 0)\n"
        "    def encode(self, x):\n        return x\n"
        "    def decode(self, z):\n        return z\n"
    )
    with pytest.raises(UserError, match=message or "bias has NaN or infinity"):
        load_autoencoder(f"python:{file}:Mine")
