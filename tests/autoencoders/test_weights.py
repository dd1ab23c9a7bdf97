"""Every tensor of a model's files is accounted for, and models that cannot be those of the files are not built."""

import json
import os
import re
import resource
import time

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderOobleck
from safetensors.torch import load_file, save_file

from probe import load_autoencoder
from probe.autoencoders.compatibility import small_configurations
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.config import ModelConfig
from probe.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"
SMALL = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
}
ONE_BLOCK = {
    "block_out_channels": [8],
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.fixture
def saved(tmp_path):
    """Folders of small AutoencoderKLs."""

    def make(**settings):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        torch.manual_seed(0)
        AutoencoderKL(**SMALL, **settings).save_pretrained(folder)
        return folder

    return make


def edited(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


def rewritten(folder, change, file=WEIGHTS):
    weights = {name: value.clone().contiguous() for name, value in change(load_file(folder / file)).items()}
    save_file(weights, folder / file, {"format": "pt"})
    return folder


def as_the_authors(weights):
    """The names of CompVis' latent diffusion for a model of two blocks."""
    renamed = {}
    for name, value in weights.items():
        new = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.", r"encoder.down.\1.block.", name)
        new = re.sub(r"decoder\.up_blocks\.(\d)\.resnets\.", lambda m: f"decoder.up.{1 - int(m[1])}.block.", new)
        new = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", new)
        new = re.sub(r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{1 - int(m[1])}.upsample", new)
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        new = new.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in new:
            new = new.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            for ours, theirs in {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
                new = new.replace(f".{ours}.", f".{theirs}.")
            value = value[:, :, None, None] if value.ndim == 2 else value
        renamed[new] = value
    return renamed


@pytest.mark.parametrize("layout", ["folder", "file", "authors"])
@pytest.mark.parametrize(
    ("built", "said", "first"),
    [
        ({"layers_per_block": 2}, {"layers_per_block": 1}, "resnets.2"),
        ({}, {"mid_block_add_attention": False}, "mid_block.attentions.0"),
        ({}, {"use_quant_conv": False}, "quant_conv"),
        ({}, {"use_post_quant_conv": False}, "post_quant_conv"),
        ({}, ONE_BLOCK, "samplers.0"),
    ],
)  # fmt: skip
def test_a_configuration_of_less_than_the_weights_is_refused(saved, layout, built, said, first):
    folder = saved(**built)
    if layout == "authors":
        rewritten(folder, as_the_authors)
    source = folder if layout == "folder" else folder / WEIGHTS
    expected = load_autoencoder(str(source)).weights_sha256()
    edited(folder, **said)
    with pytest.raises(UserError, match=f"the model has no place for, .*{re.escape(first)}") as caught:
        load_autoencoder(str(source))
    assert len(str(caught.value)) < 500
    folder_again = saved(**built)
    assert load_autoencoder(str(folder_again)).weights_sha256() == expected  # the authors' layout is the same model


def test_shards_are_accounted_for(saved, tmp_path):
    model = AutoencoderKL.from_pretrained(saved())
    folder = tmp_path / "shards"
    model.save_pretrained(folder, max_shard_size="20KB")
    assert load_autoencoder(str(folder)).warnings == ()
    edited(folder, use_quant_conv=False)
    with pytest.raises(UserError, match=r"2 tensors .*quant_conv\.bias first"):
        load_autoencoder(str(folder))
    edited(folder, use_quant_conv=True)
    one, other = sorted(folder.glob("*.safetensors"))[:2]
    twice = next(iter(load_file(one)))
    rewritten(folder, lambda weights: weights | {twice: load_file(one)[twice] + 1}, other.name)
    with pytest.raises(UserError, match=f"the weights hold {re.escape(twice)} twice"):
        load_autoencoder(str(folder))


def test_what_an_index_leaves_out_is_accounted_for(saved, tmp_path):
    model = AutoencoderKL.from_pretrained(saved())
    folder = tmp_path / "shards"
    model.save_pretrained(folder, max_shard_size="20KB")
    rewritten(folder, lambda w: w | {"encoder.extra.weight": torch.ones(1)}, min(folder.glob("*.safetensors")).name)
    with pytest.raises(UserError, match=r"no place for, encoder\.extra\.weight first"):
        load_autoencoder(str(folder))
    index = folder / f"{WEIGHTS}.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["encoder.absent.weight"] = min(folder.glob("*.safetensors")).name
    index.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no place for"):
        load_autoencoder(str(folder))


def test_a_file_without_tensors_is_told(saved):
    folder = saved()
    save_file({}, folder / WEIGHTS, {"format": "pt"})
    for source in (folder, folder / WEIGHTS):
        with pytest.raises(UserError, match="is missing"):
            load_autoencoder(str(source))


def test_our_own_class_is_accounted_for(tmp_path):
    ConvAutoencoder(1, 32, 4, 7).save_pretrained(tmp_path)
    rewritten(tmp_path, lambda weights: weights | {"encoder.10.weight": torch.ones(1)})
    with pytest.raises(UserError, match=r"1 tensor that .*encoder\.10\.weight first"):
        load_autoencoder(str(tmp_path))


@pytest.mark.parametrize("layout", ["folder", "file", "authors"])
def test_what_belongs_to_training_is_a_warning(saved, layout, caplog):
    folder = saved()
    expected = load_autoencoder(str(folder)).weights_sha256()
    if layout == "authors":
        rewritten(folder, lambda w: {f"first_stage_model.{name}": value for name, value in as_the_authors(w).items()})
    prefix = "first_stage_model." if layout == "authors" else ""
    more = {
        f"{prefix}loss.d.weight": torch.ones(2),
        f"{prefix}loss.d.bias": torch.ones(2),
        "model_ema.x": torch.ones(1),
    }
    rewritten(folder, lambda weights: weights | more)
    model = load_autoencoder(str(folder if layout == "folder" else folder / WEIGHTS))
    assert model.weights_sha256() == expected
    assert len(model.warnings) == 1
    assert "3 tensors outside of all parts of the AutoencoderKL, not used here: loss (2), model_ema (1)" in caplog.text


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("layout", ["folder", "file"])
def test_weights_that_are_no_real_numbers_are_refused(saved, kind, layout):
    name = "encoder.conv_in.weight"
    scale = {f"{name}_scale": torch.ones(1)}
    folder = rewritten(saved(), lambda weights: weights | {name: (100 * weights[name]).to(kind)} | scale)
    with pytest.raises(UserError, match=r"encoder\.conv_in\.weight is stored as \w+, and weights must be real"):
        load_autoencoder(str(folder if layout == "folder" else folder / WEIGHTS))


def test_scales_beside_eight_bit_floats_are_refused(saved):
    name = "encoder.conv_in.weight"
    folder = rewritten(
        saved(),
        lambda w: w | {name: w[name].to(torch.float8_e4m3fn), "encoder.conv_in.scale_weight": torch.ones(1)},
    )
    with pytest.raises(UserError, match=r"no place for, encoder\.conv_in\.scale_weight"):
        load_autoencoder(str(folder))


def test_coarse_types_and_counters_are_taken(saved, tmp_path):
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        load_autoencoder(str(rewritten(saved(), lambda w, kind=kind: {k: v.to(kind) for k, v in w.items()})))
    from probe.autoencoders.adapter import autoencoder_classes

    config = small_configurations()["AutoencoderKLFlux2"]["config"]  # its batch norm counts batches in integers
    autoencoder_classes()["AutoencoderKLFlux2"](**config).save_pretrained(tmp_path / "flux2")
    assert load_autoencoder(str(tmp_path / "flux2")).warnings == ()


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "vae.", "first_stage_model.", "module._orig_mod.", "x.y."])
def test_a_foreign_prefix_is_told(saved, prefix, layout):
    folder = rewritten(saved(), lambda weights: {prefix + name: value for name, value in weights.items()})
    with pytest.raises(UserError, match=rf"have '{re.escape(prefix)}' added: rename them without it\."):
        load_autoencoder(str(folder if layout == "folder" else folder / WEIGHTS))


def test_a_prefix_inside_of_names_or_before_some_is_told(saved):
    inside = {"encoder.": "encoder._orig_mod.", "decoder.": "module.decoder."}
    for old, new in inside.items():
        extra = new.replace(old, "")
        folder = rewritten(saved(), lambda w, o=old, n=new: {name.replace(o, n): v for name, v in w.items()})
        with pytest.raises(UserError, match=f"have '{re.escape(extra)}' added"):
            load_autoencoder(str(folder))


def old_names(weights):
    for new, old in OLD.items():
        weights = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): v for name, v in weights.items()}
    return weights


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_old_names_of_attention_are_converted(saved, layout):
    folder = saved()
    source = str(folder if layout == "folder" else folder / WEIGHTS)
    expected = load_autoencoder(source).weights_sha256()
    rewritten(folder, old_names)
    model = load_autoencoder(source)
    assert model.weights_sha256() == expected
    assert model.warnings == ()
    rewritten(
        folder,
        lambda weights: weights | {next(n for n in weights if ".query." in n).replace("query", "to_q"): torch.ones(1)},
    )
    with pytest.raises(UserError, match="under an old and a new name"):
        load_autoencoder(source)  # fmt: skip


def test_weight_norms_are_accounted_for(tmp_path):
    small = small_configurations()["AutoencoderOobleck"]
    AutoencoderOobleck(**small["config"]).save_pretrained(tmp_path)
    spec = ModelConfig(source=str(tmp_path), samples=small["samples"])
    assert load_autoencoder(spec).warnings == ()
    edited(tmp_path, downsampling_ratios=[2], channel_multiples=[1])
    with pytest.raises(UserError, match=r"no place for|another architecture"):
        load_autoencoder(spec)


def test_shapes_that_differ_are_told(saved):
    folder = edited(saved(), latent_channels=3)
    for source in (folder, folder / WEIGHTS):
        with pytest.raises(
            UserError, match=r"decoder\.conv_in\.weight has the shape \(8, 4, 3, 3\), .* \(8, 3, 3, 3\)"
        ):
            load_autoencoder(str(source))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_out_channels": [10**9, 10**9]}, "block_out_channels in config.json is 1,000,000,000; at most"),
        ({"layers_per_block": 10**7}, "layers_per_block in config.json is 10,000,000; at most 1,000,000"),
        ({"latent_channels": 10**400}, "an integer of 401 digits"),
        ({"in_channels": -(10**9)}, "in_channels"),
        ({"block_out_channels": [8] * 5000}, "block_out_channels in config.json has 5,000 entries"),
        ({"layers_per_block": 900_000}, "describes a model of more than 1,480 parameters"),
        ({"latent_channels": 10**6}, "another architecture"),
        ({"block_out_channels": [800_000, 800_000]}, "another architecture"),
        ({"block_out_channels": [8] * 4000, "down_block_types": ["DownEncoderBlock2D"] * 4000,
          "up_block_types": ["UpDecoderBlock2D"] * 4000}, "describes a model of more than"),
        ({"block_out_channels": [-8, 8]}, "no model can be built from config.json"),
        ({"layers_per_block": 1e300}, "no model can be built from config.json"),
        ({"block_out_channels": "many"}, "no model can be built from config.json"),
        ({"down_block_types": ["Unknown", "Unknown"]}, "no model can be built from config.json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["folder", "file"])
def test_models_far_larger_than_their_weights_are_not_built(saved, settings, message, layout):
    folder = edited(saved(), **settings)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        load_autoencoder(str(folder if layout == "folder" else folder / WEIGHTS))
    assert len(str(caught.value)) < 500
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_a_warning_reaches_the_report(saved, tmp_path, capsys):
    from probe.cli.main import app

    folder = rewritten(saved(), lambda weights: weights | {"loss.x": torch.ones(1)})
    settings = ("datasets={}", "seeds.count=2", "solver.max_steps=2", "solver.exponents=0", "resolution=16")
    flags = [part for setting in settings for part in ("--set", setting)]
    command = ["run", "--model", str(folder), *flags, "--out", str(tmp_path / "run"), "--json"]
    for _ in range(2):  # and again, from what is there
        app(command, standalone_mode=False)
        report = json.loads(capsys.readouterr().out)
        assert len(report["model"]["warnings"]) == 1
        assert [one for one in report["warnings"] if "not used here: loss (1)" in one] == report["model"]["warnings"]


def test_a_byte_order_mark_is_left_out(saved):
    folder = saved()
    weights = {name: value.clone() for name, value in load_autoencoder(str(folder)).modules[0].state_dict().items()}
    config = folder / "config.json"
    config.write_text(config.read_text(), encoding="utf-8-sig")
    found = load_autoencoder(str(folder)).modules[0].state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert config.read_bytes().startswith(b"\xef\xbb\xbf")


def test_weights_in_a_pipe_or_a_device_are_refused(saved):
    folder = saved()
    file = folder / WEIGHTS
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match="not a regular file"):
        load_autoencoder(str(folder))
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="not a regular file"):
        load_autoencoder(str(folder))


def test_truncated_weights_are_called_damaged(saved):
    folder = saved()
    file = folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged or incomplete; copy or download them again"):
        load_autoencoder(str(folder))
