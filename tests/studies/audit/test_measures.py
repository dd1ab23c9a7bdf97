"""The numbers of the audit, against closed forms, NumPy's float16 and diffusers' own tiles."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from probe.autoencoders import Autoencoder
from probe.errors import UserError
from probe.report.audit.text import table_of_thresholds
from probe.results.audit import Threshold, judged
from probe.studies.audit.activations import as_float16, hooked, largest_by_module, recorded, round_weights
from probe.studies.audit.check import Check, answer, chosen
from probe.studies.audit.checks import CHECKS
from probe.studies.audit.differences import EQUAL, difference, psnr
from probe.studies.audit.tiles import Tiles, seam, tiles_of


def model_of(*modules: nn.Module) -> Autoencoder:
    """Whose encoder applies the modules in turn."""
    chain = nn.Sequential(*modules).requires_grad_(False)
    return Autoencoder("a model", "Sequential", chain, chain, (chain,))


def test_relative_differences_of_numbers_by_hand():
    expected = torch.tensor([[3.0, 4.0]], dtype=torch.float64)  # RMS sqrt(12.5)
    off = difference(expected + torch.tensor([[0.3, -0.4]]), expected)
    assert off.rms == pytest.approx(0.1)
    assert off.largest == pytest.approx(0.4 / math.sqrt(12.5))
    assert off.bad == 0


def test_values_that_are_not_finite_are_counted_and_left_out():
    expected = torch.ones(1, 4, dtype=torch.float64)
    off = difference(torch.tensor([[1.0, 1.5, math.nan, math.inf]]).double(), expected)
    assert (off.rms, off.largest, off.bad) == pytest.approx((math.sqrt(0.125), 0.5, 0.5))
    assert difference(expected * math.nan, expected).rms == math.inf


def test_psnr_is_that_of_clamped_pictures_and_a_spoilt_value_is_black():
    black = torch.full((1, 3, 2, 2), -1.0)
    assert float(psnr(black - 5, black, (-1, 1))) == EQUAL  # outside the range
    assert float(psnr(black + 0.2, black, (-1, 1))) == pytest.approx(20, abs=1e-5)  # a tenth of the range
    assert float(psnr(black * math.nan, black, (-1, 1))) == EQUAL


def test_outputs_of_another_shape_are_refused():
    for compare in (difference, lambda a, b: psnr(a, b, (0, 1))):
        with pytest.raises(ValueError, match=r"gives the shape \(1, 2\) instead of \(1, 3\)"):
            compare(torch.zeros(1, 2), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("bad", "value", "verdict"),
    [
        ("above", 1.0, "OK"), ("above", 1.1, "WARN"), ("above", 2.0, "WARN"), ("above", 2.1, "FAIL"),
        ("above", math.nan, "FAIL"), ("above", math.inf, "FAIL"), ("below", 2.0, "OK"), ("below", 1.9, "WARN"),
        ("below", 0.9, "FAIL"), ("below", math.nan, "FAIL"),
    ],
)  # fmt: skip
def test_verdicts_at_the_borders(bad, value, verdict):
    warn, fail = (1.0, 2.0) if bad == "above" else (2.0, 1.0)
    assert Threshold(warn=warn, fail=fail, bad=bad, reason="a test").verdict(value) == verdict


def test_a_threshold_without_a_failure_never_fails():
    threshold = Threshold(warn=1.0, reason="a test")
    assert [threshold.verdict(value) for value in (0.0, 2.0, math.nan)] == ["OK", "WARN", "WARN"]
    assert str(threshold) == "WARN > 1"


def test_json_has_no_number_that_is_not_finite():
    one = judged("a", "b", math.nan, Threshold(fail=1.0, reason="a test"), "NaN.", {"x": math.inf, "y": 1.0})
    assert (one.value, one.verdict, one.numbers) == (None, "FAIL", {"y": 1.0})


def test_float16_is_numpys():
    values = torch.tensor([0.1, 1 / 3, 2049.0, 65519.9, 65520.0, -70000.0, 1e-8])
    with np.errstate(over="ignore"):
        expected = values.numpy().astype(np.float16).astype(np.float32)
    assert np.array_equal(as_float16(values).numpy(), expected)
    assert expected[3] == 65504
    assert math.isinf(expected[4])


def test_emulated_float16_is_that_of_torch_where_a_module_rounds_once():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 7, generator=generator) - 0.5
    torch.manual_seed(0)
    emulated = model_of(nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    real = nn.Sequential(*(type(m)(*shape) for m, shape in zip(emulated.modules[0], ((7, 7), (), (7, 3)), strict=True)))
    real.load_state_dict(emulated.modules[0].state_dict())
    assert round_weights(emulated) == []
    with hooked(emulated, change=as_float16):
        found = emulated.encode(as_float16(x))
    expected = real.half()(x.half()).float()
    # Sums in float32 and in an unknown order: at most one step of float16 apart.
    assert torch.allclose(found, expected.detach(), rtol=2**-10, atol=2**-14)
    assert torch.equal(found, as_float16(found))


def test_weights_beyond_float16_are_named():
    model = model_of(nn.Linear(1, 1), nn.Linear(1, 1))
    model.modules[0][1].bias.fill_(7e4)
    assert round_weights(model) == ["1.bias"]


class Between(nn.Module):
    """Infinity from code between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.after = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(x / 0)


def test_activations_in_the_order_in_which_modules_return():
    model = model_of(nn.Identity(), Between())
    seen = recorded(model, lambda: model.encode(torch.tensor([2.0, -3.0])))
    assert [one.module for one in seen] == ["0", "1.after", "1", "Sequential"]
    assert seen[0].largest == 3
    assert (seen[1].before, seen[1].largest) == (math.inf, math.inf)  # so the code before 1.after is to blame
    assert seen[2].before == 3


def test_the_largest_activation_is_over_all_calls_and_nan_stays():
    model = model_of(nn.Identity())
    calls = iter([1.0, 5.0, 2.0])
    assert largest_by_module(model, lambda: [model.encode(torch.tensor([one])) for one in calls])["0"] == 5
    assert math.isnan(largest_by_module(model, lambda: model.encode(torch.tensor([math.nan, 1.0])))["0"])


def test_hooks_are_gone_afterwards():
    model = model_of(nn.Identity())
    with pytest.raises(RuntimeError), hooked(model, change=as_float16):
        raise RuntimeError
    assert not model.modules[0]._forward_hooks
    x = torch.tensor([0.1])
    assert torch.equal(model.encode(x), x)


def test_a_step_at_a_seam_is_its_height_and_a_ramp_is_none():
    flat = torch.zeros(1, 3, 16, 16)
    step = flat.clone()
    step[..., 8:] = 10 / 255
    assert seam(step, flat, (0, 1), [8]) == (pytest.approx(10), "10 levels between columns 7 and 8")
    assert seam(step.mT, flat, (0, 1), [8])[1] == "10 levels between rows 7 and 8"
    assert seam(step, flat, (0, 1), [12])[0] == 0  # not where tiles meet: part of the picture
    ramp = torch.linspace(0, 150 / 255, 16).expand(1, 3, 16, 16)  # 10 levels everywhere
    assert seam(ramp, flat, (0, 1), [8])[0] == pytest.approx(10 / 11)


def test_tiles_begin_where_diffusers_begins_them():
    from diffusers import AutoencoderKL, AutoencoderTiny

    kl = AutoencoderKL(block_out_channels=(4, 4, 4), norm_num_groups=2, sample_size=64, **blocks(3))
    tiles = tiles_of(kl)
    assert (tiles.side, tiles.overlap) == (64, 0.25)
    assert tiles.scaled(32) == {"tile_sample_min_size": 32, "tile_latent_min_size": 8}
    # Steps of int(8 * 0.75) places, 4 pixels each; blended over int(32 * 0.25) pixels.
    assert tiles.seams(32, 64) == [24, 32, 48, 56]
    assert tiles_of(AutoencoderTiny()).overlap == 0.125
    assert tiles_of(nn.Linear(1, 1)) is None


def test_tiles_with_strides_keep_their_proportions():
    """InvokeAI 9427: tiles smaller than the steps between them lose what lies between."""
    module = nn.Module()
    module.tile_sample_min_height = module.tile_sample_min_width = 256
    module.tile_sample_stride_height = module.tile_sample_stride_width = 192
    tiles = tiles_of(module)
    assert tiles == Tiles({"tile_sample_min_height": 256, "tile_sample_min_width": 256,
                           "tile_sample_stride_height": 192, "tile_sample_stride_width": 192}, 0.25)  # fmt: skip
    assert tiles.scaled(64)["tile_sample_stride_width"] == 48


def blocks(n: int) -> dict[str, tuple[str, ...]]:
    return {"down_block_types": ("DownEncoderBlock2D",) * n, "up_block_types": ("UpDecoderBlock2D",) * n}


def test_names_are_distinct_and_an_unknown_one_is_told_the_others():
    names = [one.name for one in CHECKS]
    assert len(set(names)) == len(names)
    with pytest.raises(UserError, match="there is no check 'fp16'; the checks are determinism, "):
        chosen(CHECKS, ["fp16"])
    assert "compile" not in {one.name for one in chosen(CHECKS, [])}
    assert {"compile", "float32"} <= {one.name for one in chosen(CHECKS, [], ["compile"])}


def test_a_check_that_cannot_run_is_skipped_with_the_reason():
    def fails(_subject):
        raise RuntimeError("no such operation")

    (one,) = answer(Check("one", "a question", fails), None)
    assert (one.verdict, one.sentence) == ("skipped", "It could not be run: RuntimeError: no such operation")


def test_the_guide_shows_all_thresholds_and_all_checks(root):
    """To write the table again: ``print(table_of_thresholds())``."""
    page = (root / "docs/guides/audit.md").read_text()
    assert table_of_thresholds() in page
    assert all(f"`{one.name}`" in page for one in CHECKS)
