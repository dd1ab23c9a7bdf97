"""Pickles become safetensors that load to the same weights, and nothing in a pickle is run."""

import json
import shutil
import warnings

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
        ("numbers.pt", "new.safetensors", "a list, not a state dict"),
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


ONE, TWO = torch.ones(2, 3), torch.arange(4.0)


def converted(tmp_path, content, **options):
    """The tensors that a checkpoint becomes, and the notes."""
    from safetensors.torch import load_file

    torch.save(content, tmp_path / "old.pt", **options)
    notes = []
    (written,) = convert(str(tmp_path / "old.pt"), tmp_path / "new.safetensors", on_note=notes.append)
    assert {file.name for file in tmp_path.iterdir()} == {"old.pt", "new.safetensors"}
    return load_file(written), notes


@pytest.mark.parametrize(
    ("content", "names", "left_out"),
    [
        (
            {"encoder": {"w": ONE}, "decoder": {"w": TWO}, "step": torch.tensor(3)},
            {"encoder.w": ONE, "decoder.w": TWO},
            "2 tensors written; left out: step",
        ),
        (
            {"encoder": {"conv": {"w": ONE}}, "blocks": [ONE, TWO]},
            {"encoder.conv.w": ONE, "blocks.0": ONE, "blocks.1": TWO},
            "",
        ),
        ({"w": ONE, "logit_scale": torch.tensor(2.0)}, {"w": ONE, "logit_scale": torch.tensor(2.0)}, ""),
        (
            {
                "state_dict": {"a.w": ONE},
                "optimizer_states": [{"state": {0: {"exp_avg": TWO}}, "param_groups": []}],
                "hyper_parameters": {"lr": 0.1},
                "callbacks": {},
                "epoch": 3,
            },
            {"a.w": ONE},
            "'state_dict' written; left out: optimizer_states (1 tensors), hyper_parameters, callbacks, epoch",
        ),
        ({"model": {"w": ONE}, "ema": {"w": TWO}}, {"w": ONE}, "of 'model' written; left out: ema (1 tensors)"),
        ({"model": {"state_dict": {"w": ONE}}, "rng": TWO[0]}, {"w": ONE}, "of 'model.state_dict'"),
        (
            {"net_g": {"w": ONE}, "net_g_ema": {"w": TWO}, "opt": {"state": {}, "param_groups": []}},
            {"net_g.w": ONE},
            "net_g_ema (1",
        ),
        ({"w": ONE, "_extra_state": None, "version": "2"}, {"w": ONE}, "left out: _extra_state, version"),
        ({0: ONE, 1: TWO}, {"0": ONE, "1": TWO}, ""),
        ({"model": ONE, "w": TWO}, {"model": ONE, "w": TWO}, ""),
    ],
)
def test_nested_entries_get_joined_names_and_others_are_named(tmp_path, content, names, left_out):
    found, notes = converted(tmp_path, content)
    assert found.keys() == names.keys()
    assert all(torch.equal(found[name], names[name]) for name in names)
    assert left_out in " ".join(notes)
    assert bool(notes) == bool(left_out)


def test_every_kind_of_dense_tensor_is_kept(tmp_path):
    shared = torch.randn(6)
    weights = {
        "expanded": torch.ones(1).expand(3, 4),
        "transposed": torch.arange(6.0).view(2, 3).T,
        "tied": shared,
        "again": shared,
        "part": shared[2:4],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "nothing": torch.empty(0, 3),
        "number": torch.tensor(1.5),
        "bool": torch.tensor([True, False]),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "negative": torch.tensor([1 + 2j]).conj().imag,
        "bfloat16": torch.ones(2, dtype=torch.bfloat16),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "int": torch.arange(3),
    }
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        if options:  # an older format, which knows neither of these
            weights = {name: one for name, one in weights.items() if name not in ("conjugate", "negative", "float8")}
        found, _ = converted(tmp_path, weights, **options)
        assert found.keys() == weights.keys()
        for name, one in weights.items():
            assert found[name].dtype == one.dtype
            assert torch.equal(found[name].to(torch.complex64), one.detach().to(torch.complex64)), name
        (tmp_path / "new.safetensors").unlink()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: {"w": torch.eye(3).to_sparse()}, "w is sparse"),
        (lambda: {"w": torch.eye(3).to_sparse_csr()}, "w is sparse"),
        (lambda: {"a": {"w": torch.ones(2, device="meta")}}, "a.w is on the meta device"),
        (lambda: {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "w is quantised"),
        (lambda: {"w": torch.ones(2, dtype=torch.complex128)}, "w is of type torch.complex128"),
        (lambda: {"w": torch.ones(1).expand(2**20, 2**20)}, "repeat stored values"),
        (lambda: {"a": {"b.c": ONE}, "a.b": {"c": TWO}}, "two tensors named 'a.b.c'"),
        (lambda: {1: ONE, "1": TWO}, "two tensors named '1'"),
        (lambda: {("a", 1): ONE}, r"\('a', 1\) is not a name"),
        (lambda: {"": ONE}, "'' is not a name"),
        (lambda: {True: ONE}, "True is not a name"),
        (lambda: {"__metadata__": ONE}, "'__metadata__' cannot be a name"),
        (lambda: {"a\ud800": ONE}, "cannot be a name"),
        (lambda: {}, "no state dict"),
        (lambda: {"epoch": 3}, "no state dict"),
        (lambda: {"optimizer": {"state": {0: {"m": ONE}}, "param_groups": []}}, "no state dict"),
        (lambda: ONE, "one tensor, not a state dict"),
        (lambda: None, "a NoneType, not a state dict"),
        (lambda: torch.nn.Linear(1, 1), "such as a whole model"),
    ],
)
def test_what_safetensors_cannot_hold_is_one_sentence(tmp_path, content, message):
    try:
        torch.save(content(), tmp_path / "old.pt")
    except UnicodeEncodeError:
        pytest.skip("this torch cannot save such a name either")
    with pytest.raises(UserError, match=message) as caught:
        convert(str(tmp_path / "old.pt"), tmp_path / "new.safetensors")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["old.pt"]


def test_checkpoints_that_are_nested_in_themselves(tmp_path):
    circle = {"w": ONE}
    circle["again"] = circle
    bomb = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]
    for content in (circle, {"w": ONE, "bomb": bomb}):
        torch.save(content, tmp_path / "old.pt")
        with pytest.raises(UserError, match=r"nested|not opened"):
            convert(str(tmp_path / "old.pt"), tmp_path / "new.safetensors")


@pytest.mark.filterwarnings("ignore")
def test_files_that_are_something_else_are_told_so(tmp_path):
    torch.save({"w": torch.randn(1000)}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(tmp_path / "script.pt"))
    for name, data, message in (
        ("page.pt", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("pointer.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        ("empty.ckpt", b"", "is empty"),
        ("half.pt", whole[: len(whole) // 2], "damaged"),
        ("noise.pth", bytes(range(256)) * 4, "damaged"),
        ("named_wrongly.bin", b"\x02\0\0\0\0\0\0\0{}", "safetensors already"),
        ("script.pt", (tmp_path / "script.pt").read_bytes(), "TorchScript"),
    ):
        (tmp_path / name).write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserError, match=message) as caught:
                convert(str(tmp_path / name), tmp_path / "new.safetensors")
        assert "\n" not in str(caught.value)


def test_a_folder_is_converted_whole_or_not_at_all(tiny_vae, pickled, tmp_path):
    from jobs.worker import guarded
    from probe.cli.models import convert as command

    (pickled / "training_args.bin").write_bytes(b"a pickle of settings")
    notes = []
    convert(str(pickled), tmp_path / "new", on_note=notes.append)
    assert "training_args.bin" in notes[0]
    convert(str(pickled), pickled)  # beside the old ones
    assert load_autoencoder(str(pickled)).weights_sha256() == load_autoencoder(str(tiny_vae)).weights_sha256()
    torch.save({"w": ONE.to_sparse()}, pickled / "zz.bin")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="sparse"):
        convert(str(pickled), tmp_path / "third")
    assert sorted(tmp_path.rglob("*")) == before
    (pickled / "zz.bin").unlink()
    (tmp_path / "file").write_text("")
    assert guarded(lambda: command(str(pickled), tmp_path / "file" / "new")) in (1, 2)
    (pickled / "vae" / "diffusion_pytorch_model.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"two files would become .*diffusion_pytorch_model\.safetensors"):
        convert(str(pickled), tmp_path / "third")


def test_what_is_left_out_is_said_on_stderr(tmp_path, capsys):
    from probe.cli.models import convert as command

    torch.save({"state_dict": {"w": ONE}, "epoch": 1}, tmp_path / "old.pt")
    command(str(tmp_path / "old.pt"), tmp_path / "new.safetensors")
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'new.safetensors'}\n"
    assert said.err.endswith("1 tensors of 'state_dict' written; left out: epoch\n")
