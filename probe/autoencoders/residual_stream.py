"""A causal language model of transformers as a map of its residual stream (paper, Appendix B.8).

There is no E and no D: h (tokens, d), the embedding output, passes all blocks and the final norm, and the output is the
next input. Learned position embeddings (GPT-2's) are added inside of that map, so in every step.
"""

import logging
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from probe.autoencoders.base import check_finite
from probe.autoencoders.loading import check_transformers, from_pretrained
from probe.autoencoders.repository import as_named, pinned, read_config, where
from probe.autoencoders.weights import LARGEST_OF_LANGUAGE, check_bounds
from probe.config import ModelConfig
from probe.errors import UserError, reason_of
from probe.files import tensors_sha256

log = logging.getLogger("probe")


@dataclass(frozen=True)
class ResidualStream:
    """f(h), a differentiable map of (n, tokens, d) to the same shape; rows are independent.

    Attributes:
        source: as the user named it. class_name: of the language model.
        stack: the model without its head; ``inputs_embeds`` in, ``last_hidden_state`` out, without a cache. The causal
            mask and the positions are those of a forward pass of unpadded tokens.
        width: d.
    """

    source: str
    class_name: str
    stack: nn.Module
    width: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def __call__(self, h: Tensor) -> Tensor:
        """The final norm's output for the stream h."""
        return self.stack(inputs_embeds=h, use_cache=False, return_dict=True).last_hidden_state

    @torch.no_grad()
    def embed(self, tokens: list[int]) -> Tensor:
        """The embedding output (1, tokens, d) of token ids.

        Raises:
            UserError: there is no token, or one is not in the vocabulary.
        """
        table = self.stack.get_input_embeddings()  # type: ignore[operator]
        size = table.num_embeddings
        if not tokens or not all(0 <= token < size for token in tokens):
            raise UserError(f"tokens of {self.source} must be one or more numbers from 0 to {size - 1}.")
        return table(torch.tensor([tokens], device=self.device)).to(self.dtype)

    def weights_sha256(self) -> str:
        """SHA-256 over names, types, shapes and bytes of all weights and buffers in memory."""
        return tensors_sha256(sorted(self.stack.state_dict().items()))


def load_residual_stream(spec: ModelConfig, device: torch.device) -> ResidualStream:
    """Load any causal language model that transformers knows, from safetensors, its weights cast to ``spec.dtype``.

    Raises:
        UserError: transformers is absent, the source is not a causal language model or has no weights in safetensors,
            or the stream's shape changes.
    """
    check_transformers(spec.source)
    from transformers import AutoConfig, AutoModelForCausalLM

    source, there, dtype = spec.source, where(spec, spec.source), getattr(torch, spec.dtype)
    spec = pinned(spec, source)
    config = read_config(spec, source)
    if "model_type" not in config:
        raise UserError(f"{there} is not a model of transformers: its config.json has no model_type.")
    check_bounds(config, there, LARGEST_OF_LANGUAGE)

    def build() -> nn.Module:
        settings = AutoConfig.from_pretrained(as_named(source), subfolder=spec.subfolder or "", revision=spec.revision)
        return AutoModelForCausalLM.from_config(settings)

    model, warnings = from_pretrained(
        AutoModelForCausalLM,
        spec,
        source,
        None if config.get("auto_map") else build,
        trust_remote_code=spec.trust_remote_code,
    )
    for warning in warnings:
        log.warning(f"warning: {warning}")
    model.eval().requires_grad_(False).to(device)
    check_finite(model, there)
    width = int(model.get_input_embeddings().embedding_dim)
    stream = ResidualStream(source, type(model).__name__, model.base_model, width, device, dtype)
    _check(stream, there)
    return stream


@torch.no_grad()
def _check(stream: ResidualStream, there: str) -> None:
    h = torch.zeros((1, 2, stream.width), dtype=stream.dtype, device=stream.device)
    try:
        y = stream(h)
    except Exception as error:  # any type, from a model that does not take a stream
        raise UserError(f"{there} does not take its residual stream as inputs_embeds: {reason_of(error)}") from error
    if y.shape != h.shape or y.dtype != h.dtype:
        raise UserError(f"{there} makes {tuple(y.shape)} of a stream {tuple(h.shape)}, so it cannot be iterated.")
    if not y.isfinite().all():
        raise UserError(f"{there} gives NaN or infinity for a stream of zeros; use model.dtype=float64.")


def tokens_of(spec: ModelConfig, prompt: str) -> list[int]:
    """The token ids of a text, by the model's tokenizer.

    Raises:
        UserError: the model has no tokenizer, or the text has no token.
    """
    from transformers import AutoTokenizer

    there = where(spec, spec.source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            as_named(spec.source),
            subfolder=spec.subfolder or "",
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
        )
    except Exception as error:  # transformers raises half a dozen types for an absent or unknown one
        raise UserError(f"{there} has no tokenizer ({reason_of(error, 160)}); give --tokens instead.") from error
    tokens = [int(token) for token in tokenizer(prompt)["input_ids"]]
    if not tokens:  # some classes build an empty tokenizer without files
        raise UserError(f"{there}: its tokenizer finds no token in {prompt!r}; give --tokens instead.")
    return tokens
