"""Embeddings against open_clip's own preprocessing and encoders; and what is refused."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from probe.config import ClipConfig
from probe.errors import UserError
from probe.semantics import is_installed
from probe.semantics.clip import TEMPLATE, Clip, load_clip, word_list
from probe.semantics.describe import describe


@pytest.mark.parametrize("side", [32, 20, 100])
def test_images_as_open_clip_sees_them(tiny_clip, side):
    import open_clip

    clip = load_clip(ClipConfig(model=f"local-dir:{tiny_clip}", batch_size=2), torch.device("cpu"))
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    # Smooth pictures: what bicubic interpolation overshoots is clipped to 8 bits by PIL, and to [0, 1] here.
    smooth = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = (torch.nn.functional.interpolate(smooth, (side, side), mode="bilinear") * 255).round().to(torch.uint8)
    with torch.no_grad():
        shown = torch.stack([preprocess(Image.fromarray(p.permute(1, 2, 0).numpy())) for p in pixels])
        expected = torch.nn.functional.normalize(model.eval().encode_image(shown))
    found = clip.images(pixels / 255)
    assert found.shape == (3, 32)
    assert (found * expected).sum(1).numpy() == pytest.approx(np.ones(3), abs=1e-5 if side == 32 else 1e-3)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_words_and_still_videos(tiny_clip):
    import open_clip

    clip = load_clip(ClipConfig(model=f"local-dir:{tiny_clip}"), torch.device("cpu"))
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")([TEMPLATE.format("cat"), TEMPLATE.format("galaxy")])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(clip.model.encode_text(tokens))
    assert torch.allclose(clip.words(["cat", "galaxy"]), expected, atol=1e-5)
    image = torch.rand(1, 3, 32, 32)
    video = torch.stack([image * 0, image, image * 0], 2)
    assert torch.allclose(clip.images(video), clip.images(image))


def test_a_checkpoint_of_a_known_model_is_a_file(tiny_clip, tmp_path):
    for given, said in (
        ("nothing-such", "laion2b_s34b_b79k"),
        (str(tmp_path / "weights.pt"), "neither"),
        (None, "neither"),
    ):
        with pytest.raises(UserError, match=said):
            load_clip(ClipConfig(model="ViT-B-32", pretrained=given), torch.device("cpu"))
    (tmp_path / "weights.pt").write_bytes(b"pickle")
    with pytest.raises(UserError, match="`probe convert`"):
        load_clip(ClipConfig(model="ViT-B-32", pretrained=str(tmp_path / "weights.pt")), torch.device("cpu"))
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        load_clip(ClipConfig(model=f"local-dir:{tmp_path}"), torch.device("cpu"))
    with pytest.raises(UserError, match="is not a model of open_clip"):
        load_clip(ClipConfig(model="ViT-B-31"), torch.device("cpu"))
    other = str(tiny_clip / "open_clip_model.safetensors")  # of another architecture
    with pytest.raises(UserError, match="cannot be loaded"):
        load_clip(ClipConfig(model="RN50", pretrained=other), torch.device("cpu"))


def test_words(tmp_path: Path):
    words = word_list(None)
    assert len(words) > 150
    assert "retina" in words
    (tmp_path / "words.txt").write_text("# mine\ncat\n\ndog\ncat\n")
    assert word_list(str(tmp_path / "words.txt")) == ["cat", "dog"]
    assert word_list(("a", "b")) == ["a", "b"]
    with pytest.raises(UserError, match="two words"):
        word_list(("a", "a"))
    with pytest.raises(UserError, match="cannot be read"):
        word_list(str(tmp_path / "none.txt"))


def test_it_is_noticed_where_the_extra_is_missing(monkeypatch):
    assert is_installed()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not is_installed()


COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.8, 0.1), "blue": (0.1, 0.1, 0.9)}


def shades(n: int, side: int, seed: int) -> torch.Tensor:
    """n pictures of each of ``COLOURS``, with noise: (3 n, 3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.tensor(list(COLOURS.values())).repeat_interleave(n, 0)[:, :, None, None]
    return (flat + 0.15 * torch.randn(3 * n, 3, side, side, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def colours(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A checkpoint that was taught three colours, from its folder."""
    folder = tmp_path_factory.mktemp("colours") / "clip"
    shutil.copytree(tiny_clip, folder)
    clip = load_clip(ClipConfig(model=f"local-dir:{tiny_clip}"), torch.device("cpu"))
    tokens = clip.tokenizer([TEMPLATE.format(word) for word in COLOURS])
    optimiser = torch.optim.Adam(clip.model.parameters(), lr=1e-3)
    answers = torch.arange(3).repeat_interleave(8)
    for step in range(60):
        optimiser.zero_grad()
        shown = (shades(8, 32, step) - clip.mean) / clip.std
        ours, theirs = (
            torch.nn.functional.normalize(x) for x in (clip.model.encode_image(shown), clip.model.encode_text(tokens))
        )
        torch.nn.functional.cross_entropy(10 * ours @ theirs.T, answers).backward()
        optimiser.step()
    save_file(
        {name: x.contiguous() for name, x in clip.model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return load_clip(ClipConfig(model=f"local-dir:{folder}"), torch.device("cpu"))


@pytest.mark.parametrize("side", [32, 96])
def test_a_checkpoint_that_knows_three_colours_names_them(colours: Clip, side: int):
    words = ["blue", "green", "red"]
    points, images = colours.images(shades(5, side, 1000)), colours.images(shades(2, side, 1001))
    grey = colours.images(0.5 + 0.15 * torch.randn(64, 3, side, side, generator=torch.Generator().manual_seed(3)))
    found = describe(points, grey, images, colours.words(words), words)
    assert [words[i] for i in found.label] == ["red"] * 5 + ["green"] * 5 + ["blue"] * 5
    assert [i // 2 for i in found.nearest.tolist()] == [0] * 5 + [1] * 5 + [2] * 5
    assert found.above_noise.all()
