"""CLIP embeddings of images and words, by open_clip."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from probe.config import ClipConfig
from probe.errors import UserError
from probe.files import tensors_sha256

TEMPLATE = "a photo of a {}."


class Clip:
    """A model of open_clip with its preprocessing; ``sha256`` is over names, types, shapes and bytes of its weights."""

    def __init__(self, model: Any, tokenizer: Any, preprocess: dict[str, Any], batch_size: int, device: torch.device):
        self.model, self.tokenizer = model.eval().to(device), tokenizer
        self.batch_size, self.device = batch_size, device
        size = preprocess["size"]
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.interpolation = preprocess["interpolation"]
        self.mean, self.std = (torch.tensor(preprocess[key], device=device)[:, None, None] for key in ("mean", "std"))
        self.sha256 = tensors_sha256(sorted(model.state_dict().items()))

    @torch.no_grad()
    def images(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, D), unit rows, float32, of square images (n, 3, H, H) in [0, 1]; of still videos (n, 3, T, H,
        H) those of the middle frame.

        They are resized with antialiasing and normalised as open_clip does it, without its rounding to 8 bits.
        """
        if pixels.ndim == 5:
            pixels = pixels[:, :, pixels.shape[2] // 2]
        found = []
        for batch in pixels.split(self.batch_size):
            batch = batch.to(self.device, torch.float32)
            if tuple(batch.shape[-2:]) != self.size:
                batch = interpolate(batch, self.size, mode=self.interpolation, antialias=True).clamp(0, 1)
            found.append(normalize(self.model.encode_image((batch - self.mean) / self.std).float()))
        return torch.cat(found)

    @torch.no_grad()
    def words(self, words: list[str]) -> Tensor:
        """Embeddings (w, D), unit rows, of ``TEMPLATE`` with each word."""
        tokens = self.tokenizer([TEMPLATE.format(word) for word in words]).to(self.device)
        return torch.cat([normalize(self.model.encode_text(part).float()) for part in tokens.split(self.batch_size)])


def load_clip(config: ClipConfig, device: torch.device) -> Clip:
    """Load a model with its weights; UserError if they are unknown, unavailable, or pickled."""
    import open_clip

    scheme, local, folder = config.model.rpartition("local-dir:")
    name = f"{scheme}{local}{os.path.expanduser(folder)}" if local else config.model
    pretrained = _pretrained(name, config.pretrained and os.path.expanduser(config.pretrained))
    try:
        model = open_clip.create_model(name, pretrained, device=device, precision="fp32", require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # of the hub, of safetensors, of torch, of open_clip itself
        what = " ".join(str(error).split())[:200].rstrip(".")
        weights = "" if pretrained is None else f" with weights {pretrained!r}"
        raise UserError(f"clip {name!r}{weights} cannot be loaded: {what}.") from None
    return Clip(model, tokenizer, open_clip.get_model_preprocess_cfg(model), config.batch_size, device)


def _pretrained(name: str, given: str | None) -> str | None:
    """What open_clip takes for weights: a tag, a file, or nothing where the model's address says it."""
    import open_clip

    if name.startswith("hf-hub:"):
        return None
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not list(folder.glob("*.safetensors")):
            raise UserError(f"clip.model {name!r}: {folder} holds no *.safetensors (and no pickle is opened).")
        return None
    if name not in open_clip.list_models():
        raise UserError(f"clip.model {name!r} is not a model of open_clip; see open_clip.list_models().")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if given in tags:
        return given
    if given is None or not Path(given).is_file():
        raise UserError(
            f"clip.pretrained {given!r} is neither a .safetensors file nor weights that open_clip knows for {name}: "
            f"{', '.join(tags) or 'it knows none'}."
        )
    if Path(given).suffix != ".safetensors":
        raise UserError(f"clip.pretrained {given!r} is not a .safetensors file: `probe convert` makes one of a pickle.")
    return given


def word_list(labels: str | tuple[str, ...] | None) -> list[str]:
    """The words to choose labels from: given, from a text file (a word a line, # for comments), or the bundled ones.

    UserError if the file cannot be read, or there are fewer than two words.
    """
    if isinstance(labels, tuple):
        words = list(labels)
    else:
        try:
            bundled = resources.files("probe.semantics").joinpath("words.txt")
            text = bundled.read_text("utf-8") if labels is None else Path(labels).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"clip.labels {labels!r} cannot be read: {error}.") from None
        words = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(set(words)) < 2:
        raise UserError("clip.labels must hold at least two words, or every label would be the same.")
    return list(dict.fromkeys(words))
