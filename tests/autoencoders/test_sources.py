"""A source that is not a model: the error says what it is and what to give instead, in one sentence."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel

from probe import load_autoencoder
from probe.config import ModelConfig
from probe.errors import UserError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


def refused(source, message, **spec):
    with pytest.raises(UserError, match=message) as caught:
        load_autoencoder(ModelConfig(source=str(source), **spec))
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500 + 2 * len(str(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://huggingface.co/stabilityai/sd-vae-ft-mse", r"give the hub id stabilityai/sd-vae-ft-mse\."),
        ("https://huggingface.co/a/b/tree/v1", r"hub id a/b and model\.revision=v1"),
        ("HTTPS://HuggingFace.co/a/b/", r"hub id a/b\."),
        ("huggingface.co/a/b", r"hub id a/b\."),
        ("hf.co/a/b", r"hub id a/b\."),
        ("https://example.com/vae", "download it and give its folder"),
        ("s3://bucket/vae", "download it and give its folder"),
        ("stabilityai/sd-vae-ft-mse/", "give stabilityai/sd-vae-ft-mse for the hub"),
        (" stabilityai/sd-vae-ft-mse", "begins or ends with a space"),
        ("", "is empty"),
        ("Embedded:cifar-attractors", "written embedded:cifar-attractors"),
        ("PYTHON:my.py:load", r"written python:my\.py:load"),
        ("~nobody-of-this-name/vae", "no such file or folder"),
        ("./absent", "no such file or folder"),
        ("/absent/" + "x" * 300, "no such file or folder"),
        ("~/absent/model.pt", "does not exist|pickle form"),
    ],
)
def test_names(source, message):
    refused(source, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ae.pt", b"", r"`probe convert`.* model\.config .*python:FILE\.py:FUNCTION"),
        ("AE.PTH", b"", r"`probe convert`.* model\.config .*python:FILE\.py:FUNCTION"),
        ("vae.gguf", b"GGUF", "unsupported format .GGUF.; give a folder"),
        ("vae.onnx", b"", "unsupported format .ONNX."),
        ("model.H5", b"", "unsupported format .Keras."),
        ("flax_model.msgpack", b"", "unsupported format .Flax."),
        ("vae.zip", b"", "an archive"),
        ("vae.py", b"", "is code; give python:"),
        ("weights", b"", "unknown type"),
        ("model-00001-of-00002.safetensors", b"", "is part 1 of 2; give the folder"),
        ("model.safetensors", POINTER.encode(), "git lfs pull"),
        ("model.safetensors", b"", "is empty"),
        ("model.safetensors", b"<!DOCTYPE html>", "web page"),
        ("model.safetensors.index.json", b"{}", "give the folder"),
        ("config.json", b"{}", "give the folder"),
        ("model_index.json", b"{}", "give the folder"),
    ],
)
def test_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, message)


def test_a_configuration_is_named_by_its_folder(tmp_path, tiny_vae):
    file = tiny_vae / "diffusion_pytorch_model.safetensors"
    shutil.copy(file, tmp_path / "one.safetensors")
    config = str(tiny_vae / "config.json")
    refused(tmp_path / "one.safetensors", "has a file as model.config; give its folder", config=config)


def test_a_pickle_beside_its_config_needs_conversion_only(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "ae.pt").write_bytes(b"")
    refused(tmp_path / "ae.pt", "`probe convert`.*config.json is beside it")


def test_folders_with_other_things(tmp_path, tiny_vae):
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "is empty: there is no config.json")
    torch.save({}, empty / "ae.pt")
    refused(empty, r"no config\.json; its file .*ae\.pt is in pickle form.*python:")
    (empty / "ae.pt").rename(empty / "tf_model.h5")
    refused(empty, r"other formats only \(tf_model\.h5\)")
    (empty / "tf_model.h5").rename(empty / "ae.safetensors")
    refused(empty, r"has ae\.safetensors but there is no config\.json")
    unet = UNet2DModel(block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
                       norm_num_groups=2, layers_per_block=1)  # fmt: skip
    unet.save_pretrained(tmp_path / "pipeline" / "unet")
    refused(tmp_path / "pipeline", r"holds unet \(UNet2DModel\), but no autoencoder")
    refused(tmp_path / "pipeline" / "unet", "UNet2DModel, which is not an autoencoder")
    refused(tmp_path / "pipeline", "no such subfolder; set model.subfolder to one of unet", subfolder="vae")
    shutil.copytree(tiny_vae, tmp_path / "pipeline" / "movq")
    refused(tmp_path / "pipeline", "set model.subfolder to one of movq")
    pointer = tmp_path / "pointer"
    shutil.copytree(tiny_vae, pointer)
    (pointer / "diffusion_pytorch_model.safetensors").write_text(POINTER)
    refused(pointer, r"diffusion_pytorch_model\.safetensors is a git-lfs pointer")


def test_variants_are_named(tmp_path, tiny_vae):
    model = AutoencoderKL.from_pretrained(tiny_vae)
    model.save_pretrained(tmp_path / "half", variant="fp16")
    refused(tmp_path / "half", r"as fp16 only; set model\.variant=fp16")
    refused(tmp_path / "half", r"as fp16 only; set model\.variant=fp16", variant="bf16")
    model.save_pretrained(tmp_path / "half", variant="ema", max_shard_size="20KB")
    refused(tmp_path / "half", r"as ema, fp16 only; set model\.variant=ema")
    refused(tiny_vae, "no variant 'fp16'; leave model.variant out", variant="fp16")
    shutil.copytree(tmp_path / "half", tmp_path / "pipeline" / "vae")
    refused(tmp_path / "pipeline", r"set model\.variant=")


def test_the_cache_of_the_hub(tmp_path, tiny_vae):
    cached = tmp_path / "hub" / "models--owner--a-name"
    shutil.copytree(tiny_vae, cached / "snapshots" / "abc123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc123")
    refused(cached, "cache of owner/a-name: give that id, or its snapshot .*/snapshots/abc123")
    refused(tmp_path / "hub", r"the id of a model in it \(owner/a-name\)")
    assert load_autoencoder(str(cached / "snapshots" / "abc123")).class_name == "AutoencoderKL"
    shutil.rmtree(cached / "snapshots" / "abc123")
    refused(cached, "no snapshot is in it")


def test_sources_that_are_right_stay_so(tmp_path, tiny_vae, monkeypatch):
    spaced = tmp_path / "a folder, with spaces"
    shutil.copytree(tiny_vae, spaced)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (f"{spaced}/", "~/a folder, with spaces", str(spaced / "diffusion_pytorch_model.safetensors")):
        assert load_autoencoder(source).class_name == "AutoencoderKL"
    assert json.loads((spaced / "config.json").read_text())["_class_name"] == "AutoencoderKL"
