"""Residual streams of GPT-2 and Llama with random weights, saved to disk, against hand-written loops."""

import math

import pytest
import torch

from probe.autoencoders.residual_stream import load_residual_stream, tokens_of
from probe.config import ModelConfig
from probe.dynamics import Jacobian, spectral_norm
from probe.errors import UserError

transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")
TOKENS = [5, 17, 3, 9, 11]


def save(kind: str, folder) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=32,
            n_positions=16,
            n_embd=16,
            n_layer=3,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
            initializer_range=0.3,
        )
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.3,
        )
        model = transformers.LlamaForCausalLM(config)
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, save(request.param, folder), str(folder)


def gpt2_by_hand(model, h: torch.Tensor) -> torch.Tensor:
    """Position embeddings, then for each block attention and MLP with their norms, then the final norm."""
    stack, tokens = model.transformer, h.shape[1]
    h = h + stack.wpe.weight[:tokens]
    later = torch.ones(tokens, tokens).triu(1).bool()
    for block in stack.h:
        q, k, v = (
            part.unflatten(-1, (2, 8)).transpose(1, 2) for part in block.attn.c_attn(block.ln_1(h)).split(16, dim=-1)
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(8)).masked_fill(later, -torch.inf).softmax(-1)
        h = h + block.attn.c_proj((weights @ v).transpose(1, 2).flatten(2))
        inner = block.mlp.c_fc(block.ln_2(h))
        h = h + block.mlp.c_proj(torch.nn.functional.gelu(inner, approximate="tanh"))
    return stack.ln_f(h)


def llama_by_hand(model, h: torch.Tensor) -> torch.Tensor:
    """Layer by layer, with the causal mask and the rotary positions made here."""
    stack, tokens = model.model, h.shape[1]
    mask = torch.full((tokens, tokens), torch.finfo(h.dtype).min).triu(1)[None, None]
    positions = torch.arange(tokens)[None]
    rotary = stack.rotary_emb(h, positions)
    for layer in stack.layers:
        out = layer(h, attention_mask=mask, position_ids=positions, position_embeddings=rotary)
        h = out[0] if isinstance(out, tuple) else out
    return stack.norm(h)


@torch.no_grad()
def test_the_map_is_embeddings_to_final_norm(saved):
    kind, model, folder = saved
    f = load_residual_stream(ModelConfig(source=folder), CPU)
    start = f.embed(TOKENS)
    assert torch.equal(start[0], model.get_input_embeddings().weight[TOKENS])
    # From the embeddings it is the model's own forward pass.
    own = model(input_ids=torch.tensor([TOKENS]), output_hidden_states=True).hidden_states[-1]
    assert torch.allclose(f(start), own, atol=1e-5)
    by_hand, ours, theirs = {"gpt2": gpt2_by_hand, "llama": llama_by_hand}[kind], start, start
    for _ in range(5):
        ours, theirs = f(ours), by_hand(model, theirs)
        assert torch.allclose(ours, theirs, atol=1e-4)


@torch.no_grad()
def test_rows_are_independent_and_later_tokens_change_nothing_before(saved):
    f = load_residual_stream(ModelConfig(source=saved[2]), CPU)
    h = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    whole = f(h)
    assert torch.allclose(whole[1:2], f(h[1:2]), atol=1e-5)
    later = h.clone()
    later[:, 3:] *= -1  # adding a constant would be nothing to a layer norm
    assert torch.allclose(f(later)[:, :3], whole[:, :3], atol=1e-5)
    assert not torch.allclose(f(later)[:, 3:], whole[:, 3:], atol=1e-2)


def test_it_can_be_differentiated(saved):
    f = load_residual_stream(ModelConfig(source=saved[2], dtype="float64"), CPU)
    h = torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dense = torch.autograd.functional.jacobian(lambda v: f(v.view_as(h)).flatten(), h.flatten())
    wanted = float(torch.linalg.matrix_norm(dense, 2))
    assert bool(Jacobian(f, h).agrees().all())
    assert float(spectral_norm(Jacobian(f, h)).value) == pytest.approx(wanted, rel=2e-2)


def test_the_hash_is_of_the_weights(saved, tmp_path):
    f = load_residual_stream(ModelConfig(source=saved[2]), CPU)
    save(saved[0], tmp_path)
    again = load_residual_stream(ModelConfig(source=str(tmp_path)), CPU)
    assert f.weights_sha256() == again.weights_sha256()


def test_mistakes(saved, tmp_path):
    f = load_residual_stream(ModelConfig(source=saved[2]), CPU)
    for tokens in ([], [32], [-1]):
        with pytest.raises(UserError, match="numbers from 0 to 31"):
            f.embed(tokens)
    with pytest.raises(UserError, match="give --tokens"):
        tokens_of(ModelConfig(source=saved[2]), "text")
    with pytest.raises(UserError, match=r"config\.json"):
        load_residual_stream(ModelConfig(source=str(tmp_path)), CPU)


def test_what_is_no_language_model_is_refused(tmp_path, tiny_vae):
    with pytest.raises(UserError, match="not a model of transformers"):
        load_residual_stream(ModelConfig(source=str(tiny_vae)), CPU)
    config = transformers.ViTMAEConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=8, patch_size=4
    )
    transformers.ViTMAEModel(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(UserError, match=r"no model can be built from config\.json: Unrecognized"):
        load_residual_stream(ModelConfig(source=str(tmp_path / "vit")), CPU)


def test_pickles_are_refused(tmp_path):
    model = save("gpt2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickle form"):
        load_residual_stream(ModelConfig(source=str(tmp_path)), CPU)


def changed(folder, more, **settings):
    """A saved model with other weights and settings."""
    import json

    from safetensors.torch import load_file, save_file

    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    weights = load_file(folder / "model.safetensors")
    save_file(weights | more, folder / "model.safetensors", {"format": "pt"})
    return ModelConfig(source=str(folder))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_tensor_of_a_language_model_is_accounted_for(kind, tmp_path, caplog):
    layers, first = {"gpt2": ("n_layer", "transformer.h.2"), "llama": ("num_hidden_layers", "model.layers.2")}[kind]
    save(kind, tmp_path)
    masks = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16, dtype=torch.uint8),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    mine = {name: value for name, value in masks.items() if name.startswith(first.split(".")[0])}
    load_residual_stream(changed(tmp_path, mine), CPU)
    assert not caplog.records
    load_residual_stream(changed(tmp_path, {"v_head.weight": torch.ones(1)}), CPU)
    assert "not used here: v_head (1)" in caplog.text
    with pytest.raises(UserError, match=f"no place for, {first}"):
        load_residual_stream(changed(tmp_path, {}, **{layers: 2}), CPU)
    with pytest.raises(UserError, match="describes a model of more than"):
        load_residual_stream(changed(tmp_path, {}, **{layers: 10**7}), CPU)
    with pytest.raises(UserError, match="another architecture"):
        load_residual_stream(changed(tmp_path, {}, **{layers: 3, "vocab_size": 10**7}), CPU)


def test_weights_of_a_language_model_are_finite(tmp_path):
    save("gpt2", tmp_path)
    bad = {"transformer.ln_f.bias": torch.full((16,), math.nan)}
    with pytest.raises(UserError, match=r"transformer\.ln_f\.bias has NaN or infinity"):
        load_residual_stream(changed(tmp_path, bad), CPU)
