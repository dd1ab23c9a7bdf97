"""The latents of images as the checks look at them: axes, and sentences."""

from torch import Tensor

SHOWN = 64
"""Channels whose numbers are reported one by one."""


def by_channel(z: Tensor) -> Tensor | str:
    """Latents as (n, channels, places) in float64: (n, c, h, w) of a picture, (n, c, 1, h, w) of a video of one frame,
    or (n, d) as d channels of one place.

    Or why not: other shapes, since of three axes the second may be channels, tokens or time, and several frames that
    repeat an image say nothing of a video's latents; and latents with NaN or infinity.
    """
    shape = tuple(z.shape[1:])
    if z.ndim == 5 and z.shape[2] != 1:
        return f"Latents of several frames, {shape}, are not looked at: the images stand still. Set model.frames=1."
    if z.ndim not in (2, 4, 5):
        return f"Which axis of a latent {shape} holds channels is not known; (c, h, w) and (d,) are looked at."
    if not z.isfinite().all():
        return "Some latents are NaN or infinite; float32 and size say more."
    return z.double().reshape(len(z), z.shape[1], -1)


def named(channels: list[int], one: str = "", several: str = "") -> str:
    """``channel 3 has``, or ``channels 3, 5 and 12 more have``, with the verb for one or for several."""
    shown = ", ".join(map(str, channels[:8])) + (f" and {len(channels) - 8} more" if len(channels) > 8 else "")
    return f"channel {shown} {one}".rstrip() if len(channels) == 1 else f"channels {shown} {several}".rstrip()


def upper(sentence: str) -> str:
    """With a capital."""
    return sentence[:1].upper() + sentence[1:]


def by_number(name: str, values: Tensor) -> dict[str, float]:
    """A number for each channel, as ``name_0``, ...; none for more than ``SHOWN`` channels."""
    return {f"{name}_{i}": float(value) for i, value in enumerate(values)} if len(values) <= SHOWN else {}
