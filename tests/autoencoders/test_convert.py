"""Pickles become safetensors that load to the same weights, and nothing in a pickle is run."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL

from probe import load_autoencoder
from probe.autoencoders.convert import convert
from probe.errors import UserError


@pytest.fixture
def pickled(tiny_vae, tmp_path):
    """A pipeline whose vae is in pickle form."""
    AutoencoderKL.from_pretrained(tiny_vae).save_pretrained(tmp_path / "old" / "vae", safe_serialization=False)
    return tmp_path / "old"


def test_a_folder_loads_to_the_same_weights(tiny_vae, pickled, tmp_path):
    with pytest.raises(UserError, match=r"pickle form only \(diffusion_pytorch_model\.bin\).*`probe convert`"):
        load_autoencoder(str(pickled))
    (written,) = convert(str(pickled), tmp_path / "new")
    assert written == tmp_path / "new" / "vae" / "diffusion_pytorch_model.safetensors"
    expected = load_autoencoder(str(tiny_vae)).weights_sha256()
    assert load_autoencoder(str(tmp_path / "new")).weights_sha256() == expected
    with pytest.raises(UserError, match="exists"):
        convert(str(pickled), tmp_path / "new")


def test_shards_and_their_index_go_together(tiny_vae, tmp_path):
    model = AutoencoderKL.from_pretrained(tiny_vae)
    model.save_pretrained(tmp_path / "old", safe_serialization=False, max_shard_size="20KB")
    assert len(convert(str(tmp_path / "old"), tmp_path / "new")) > 1
    assert load_autoencoder(str(tmp_path / "new")).weights_sha256() == load_autoencoder(str(tiny_vae)).weights_sha256()


def test_a_checkpoint_of_training_gives_its_state_dict(tmp_path):
    weights = {"a.weight": torch.randn(3, 2).T, "a.tied": torch.zeros(2)}
    torch.save({"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}}, tmp_path / "old.ckpt")
    (written,) = convert(str(tmp_path / "old.ckpt"), tmp_path / "new.safetensors")
    from safetensors.torch import load_file

    found = load_file(written)
    assert found.keys() == weights.keys()
    assert torch.equal(found["a.weight"], weights["a.weight"])


class Trap:
    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Trap()}, "old.pt")
    with pytest.raises(UserError, match="more than tensors") as caught:
        convert("old.pt", tmp_path / "new.safetensors")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("absent.pt", "new.safetensors", "no such file"),
        ("empty", "new", "it has no .bin"),
        ("./absent", "new", "no such folder"),
        ("numbers.pt", "new.safetensors", "no state dict"),
        ("numbers.pt", "new.bin", r"must end in \.safetensors"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path, monkeypatch, source, out, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    torch.save([1, 2], "numbers.pt")
    with pytest.raises(UserError, match=message):
        convert(source, tmp_path / out)


def test_shards_outside_of_the_folder_are_refused(tiny_vae, tmp_path):
    shutil.copytree(tiny_vae, tmp_path / "vae")
    index = {"weight_map": {"encoder.conv_in.weight": "../other.safetensors"}}
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"names \.\./other\.safetensors, which is not a file of its folder"):
        load_autoencoder(str(tmp_path / "vae"))
