"""Ways to run a model that should change nothing: batches, slices, memory format, compiled, once more; and a sample of
the posterior instead of its mode."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import reason_of
from probe.precision import full_float32
from probe.results.audit import Finding, judged, skipped, told
from probe.studies.audit.against import findings
from probe.studies.audit.differences import difference, psnr
from probe.studies.audit.subject import ROWS, Subject, decode
from probe.studies.audit.thresholds import THRESHOLDS

PATIENCE = 300
"""Seconds that compiling may take."""


def batch(subject: Subject) -> list[Finding]:
    """Each row by itself against all rows at once."""
    with full_float32():
        alone = subject.outputs(subject.model, together=1)
    return findings("batch", subject, alone, subject.plain)


def slicing(subject: Subject) -> list[Finding]:
    """enable_slicing of diffusers."""
    model = subject.again()
    if not switched_on(model.modules, "enable_slicing"):
        return [skipped("slicing", f"A {model.class_name} has no enable_slicing().")]
    _ = subject.reference  # what fails there is no fault of slices
    try:
        with full_float32():
            return findings("slicing", subject, subject.outputs(model))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of any type
        return [told("slicing", "runs", f"The model does not run sliced: {reason_of(error)}", verdict="FAIL")]


def channels_last(subject: Subject) -> list[Finding]:
    """The other memory format of images and of weights of convolutions."""
    model = subject.again()
    ranks = {weight.ndim for root in model.modules for weight in root.parameters()}
    if 4 not in ranks or 5 in ranks:
        return [skipped("channels_last", "This format is of convolutions of images, and the model has none or others.")]
    for root in model.modules:
        root.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with full_float32():
        return findings("channels_last", subject, subject.outputs(model))


def compiled(subject: Subject) -> list[Finding]:
    """torch.compile, for ``PATIENCE`` seconds at most."""
    model = subject.again()
    try:
        with full_float32(), at_most(PATIENCE):
            run = replace(model, encoder=torch.compile(model.encoder), decoder=torch.compile(model.decoder))
            return findings("compile", subject, subject.outputs(run))
    except TimeoutError:
        return [skipped("compile", f"Compiling took more than {PATIENCE} s.")]


def determinism(subject: Subject) -> list[Finding]:
    """The same call twice."""
    with full_float32():
        twice = subject.outputs(subject.model)
    said = []
    for name, verb in (("encoded", "encode"), ("decoded", "decode")):
        one, other = getattr(subject.plain, name), getattr(twice, name)
        most = 0.0 if torch.equal(one, other) else difference(other, one).largest
        equal = "Two runs are equal to the last bit." if not most else f"Two runs differ by {most:.2g} at most."
        said.append(judged("determinism", verb, most, THRESHOLDS["twice"], equal))
    return said


@torch.no_grad()
def sample(subject: Subject) -> list[Finding]:
    """A draw from the posterior against its mode."""
    model, x = subject.model, subject.x[:ROWS]
    posterior = _posterior(model.modules, x)
    if posterior is None:
        return [skipped("sample", "The encoder gives no posterior to draw from.")]
    mode = posterior.mode()
    drawn = posterior.sample(generator=torch.Generator(mode.device).manual_seed(subject.seed))
    raw = replace(model, latents="raw")
    with full_float32():
        pictures, right = decode(raw, drawn).cpu(), decode(raw, mode).cpu()
    least = float(psnr(pictures, right, model.image_range).min())
    moved = difference(drawn.double().cpu(), mode.double().cpu()).rms
    says = f"A sample is {moved:.2g} of the latents' size from the mode; the worst picture agrees to {least:.1f} dB."
    if least < (THRESHOLDS["sample"].warn or 0):
        says += " Use latent_dist.mode()."
    return [judged("sample", "decode", least, THRESHOLDS["sample"], says, {"latents_rms": moved})]


def switched_on(modules: tuple[nn.Module, ...], method: str) -> bool:
    """Call a method without arguments on the modules that have it; whether one had."""
    any_had = False
    for module in modules:
        try:
            getattr(module, method)()
            any_had = True
        except (AttributeError, NotImplementedError):  # that of diffusers for a class without it
            continue
    return any_had


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Context that TimeoutError ends after so many seconds; in a thread other than the first, without a limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _posterior(modules: tuple[nn.Module, ...], x: Tensor) -> Any:
    """The distribution that ``encode`` of a module of diffusers gives; None if none does."""
    for module in modules:
        encode: Any = getattr(module, "encode", None)
        if not hasattr(module, "config") or not callable(encode):
            continue
        posterior = getattr(encode(x), "latent_dist", None)
        if callable(getattr(posterior, "sample", None)) and callable(getattr(posterior, "mode", None)):
            return posterior
    return None
