"""What is audited: a model, ways to load it again, inputs for it, and a float64 reference.

| symbol | meaning | shape |
|---|---|---|
| x | images in the model's range | (n, 3, R, R) |
| g | Gaussian latents, row i from (seed, i) | (n, c, h, w) |
| E, D | encoder and decoder; latents in scaled coordinates where the class has a rule for them | |
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.autoencoders.base import grey_hint, wanted_of_decode
from probe.config import ModelConfig
from probe.dynamics import gaussian_starts
from probe.dynamics.memory import Fitting
from probe.errors import UserError, reason_of
from probe.precision import full_float32
from probe.studies.audit.activations import largest_by_module
from probe.studies.audit.posterior import Posterior, posterior_of
from probe.studies.inputs import inputs

ROWS = 4
"""Images, and Gaussian latents, that arithmetic is compared on. Statistics of latents use all images."""
TOGETHER = 16
"""Rows in a batch at most; fewer if the device runs out of memory."""
log = logging.getLogger("probe")


@dataclass(frozen=True)
class Outputs:
    """What one way to run the model makes of the rows that are compared; each (n, ...), on the CPU, in float64.

    Attributes:
        encoded: E(x). decoded: D of the reference's E(x).
        drawn: D(g). again: E of the reference's D(g).
    """

    encoded: Tensor
    decoded: Tensor
    drawn: Tensor
    again: Tensor


@dataclass
class Subject:
    """The model under audit.

    Attributes:
        model: in float32; not to be changed.
        spec: its configuration. load: the model of a configuration, such as ``load_autoencoder``.
        images: uint8 (count, 3 or 1, R, R). larger: the same at 2 R; None for a model of one size.
        seed: of the Gaussian latents.
    """

    model: Autoencoder
    spec: ModelConfig
    load: Callable[[ModelConfig], Autoencoder]
    images: Tensor
    larger: Tensor | None = None
    seed: int = 0

    @property
    def resolution(self) -> int:
        """R."""
        return int(self.images.shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def again(self, dtype: str = "float32", **settings: bool) -> Autoencoder:
        """The model once more, with the same weights: in another type (also bfloat16 and float16), or with other
        settings of ``ModelConfig``, such as ``tiling=True``.

        Raises:
            UserError: it cannot be loaded so; for example its weights exceed the type's largest number.
        """
        with _said_before():
            made = self.load(self.spec.model_copy(update={"dtype": dtype, **settings}))
        # A user's function may draw new weights whenever it is called.
        for ours, theirs in zip(self.model.modules, made.modules, strict=True):
            theirs.load_state_dict(ours.state_dict())
        return made

    @cached_property
    def x(self) -> Tensor:
        """x of all images, in float32, on the model's device."""
        return inputs(self.model, self.images)

    @cached_property
    def exact(self) -> Tensor:
        """x of the rows that are compared, in float64; a model in another type gets these rounded."""
        return inputs(replace(self.model, dtype=torch.float64), self.images[:ROWS])

    def closed(self) -> tuple[int, ...]:
        """The shape of one latent (c, h, w), once E and D have run on the images.

        Raises:
            UserError: E or D cannot take these images, or D(E(x)) has another shape than x.
        """
        model, x = self.model, self.x[:1]
        try:
            z = encode(model, x)
            y = decode(model, z)
        except UserError:
            raise
        except Exception as error:  # of any type, from the model's own code or from torch
            what = f"{model.source} cannot encode and decode an image of side {self.resolution}: {reason_of(error)}"
            raise UserError(f"{what}; {grey_hint(error) or 'set --resolution to a size that it takes'}.") from error
        if y.shape != x.shape:
            raise UserError(
                f"{model.source} decodes the latent of an image {tuple(x.shape)} to {tuple(y.shape)}; "
                f"{wanted_of_decode(x, y)}: set --resolution to a size that it returns unchanged."
            )
        return tuple(z.shape[1:])

    @cached_property
    def encoded(self) -> Tensor:
        """E(x) of all images, in float32 without TF32, on the model's device."""
        with full_float32():
            return encode(self.model, self.x)

    @cached_property
    def posterior(self) -> Posterior | str:
        """The posterior of all images, or why there is none."""
        return posterior_of(self.model, self.x, self.seed, TOGETHER)

    @cached_property
    def rebuilt(self) -> Tensor:
        """D(E(x)) of all images, in float32 without TF32, on the CPU; not clamped."""
        with full_float32():
            return decode(self.model, self.encoded).cpu()

    def gaussian(self, n: int = ROWS) -> Tensor:
        """g (n, ...) in float32, on the model's device."""
        return gaussian_starts(self.seed, range(n), self.encoded.shape[1:]).to(self.device)

    @property
    def reference(self) -> Outputs:
        """The outputs in float64, computed once; in float32 for a model that does not run in float64."""
        return self._reference[0]

    @property
    def no_float64(self) -> str:
        """Why the reference is in float32; empty where it is in float64."""
        return self._reference[1]

    @cached_property
    def _reference(self) -> tuple[Outputs, str]:
        try:
            return self._own(self.again("float64")), ""
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # types are mixed: a part of the model stays in float32
            reason = reason_of(error)
        with full_float32():
            return self._own(self.model), reason

    def _own(self, model: Autoencoder) -> Outputs:
        """The outputs of a model from its own latents and pictures."""
        x, g = (rows.to(self.device, model.dtype) for rows in (self.exact, self.gaussian()))
        encoded, drawn = encode(model, x), decode(model, g)
        return _kept(encoded, decode(model, encoded), drawn, encode(model, drawn))

    @cached_property
    def plain(self) -> Outputs:
        """The outputs in float32 without TF32."""
        with full_float32():
            return self.outputs(self.model)

    @cached_property
    def activations(self) -> dict[str, float]:
        """The largest activation of each module in float32, over all that ``outputs`` computes."""
        with full_float32():
            return largest_by_module(self.model, lambda: self.outputs(self.model))

    def outputs(
        self, model: Autoencoder, together: int = TOGETHER, rounded: Callable[[Tensor], Tensor] = lambda rows: rows
    ) -> Outputs:
        """The outputs of the model run in another way, from the reference's own latents and pictures, so that an error
        of E is not counted again in D.

        Args:
            together: rows in a batch. rounded: what inputs go through.
        """
        ref = self.reference
        x, z, g, y = (
            rounded(rows.to(self.device, model.dtype)) for rows in (self.exact, ref.encoded, self.gaussian(), ref.drawn)
        )
        return _kept(
            encode(model, x, together),
            decode(model, z, together),
            decode(model, g, together),
            encode(model, y, together),
        )


@torch.no_grad()
def encode(model: Autoencoder, x: Tensor, together: int = TOGETHER) -> Tensor:
    """E(x), in batches that fit the device."""
    return Fitting(model.encode, together)(x)


@torch.no_grad()
def decode(model: Autoencoder, z: Tensor, together: int = TOGETHER) -> Tensor:
    """D(z), in batches that fit the device."""
    return Fitting(model.decode, together)(z)


def opened(load: Callable[[ModelConfig], Autoencoder], spec: ModelConfig) -> tuple[Autoencoder, ModelConfig]:
    """The model of a configuration, and the configuration. Unless it says otherwise, latents are scaled, as diffusion
    models see them; raw for a model without a rule.

    Raises:
        UserError: as ``load``.
    """
    if "latents" not in spec.model_fields_set:
        scaled = spec.model_copy(update={"latents": "scaled"})
        try:
            return load(scaled), scaled
        except UserError:  # no rule; or another mistake, which loading it raw raises again
            pass
    return load(spec), spec


@contextmanager
def _said_before() -> Iterator[None]:
    """Without the warnings about unused weights, which the first loading gave."""
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _kept(*outputs: Tensor) -> Outputs:
    return Outputs(*(one.double().cpu() for one in outputs))
