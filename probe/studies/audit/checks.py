"""All checks of the audit, in the order of its table."""

from probe.studies.audit import precision, sizes, tiles, ways
from probe.studies.audit.check import Check

CHECKS: tuple[Check, ...] = (
    Check("float32", "float32 against float64", precision.float32),
    Check("tf32", "TF32 against float64", precision.tf32),
    Check("bfloat16", "bfloat16 against float64", precision.bfloat16),
    Check("float16", "float16 against float64", precision.float16),
    Check("headroom", "how far float16 is from overflow", precision.headroom),
    Check("batch", "one row against a batch", ways.batch),
    Check("slicing", "sliced against float64", ways.slicing),
    Check("channels_last", "the other memory format against float64", ways.channels_last),
    Check("compile", "torch.compile against float64", ways.compiled, wanted=False),
    Check("determinism", "the same call twice", ways.determinism),
    Check("sample", "a sample of the posterior against its mode", ways.sample),
    Check("size", "twice the resolution", sizes.size),
    Check("tiling", "tiles against none", tiles.tiling),
)
