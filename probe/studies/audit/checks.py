"""All checks of the audit, in the order of its table."""

from probe.studies.audit import precision, sizes, tiles, ways
from probe.studies.audit.channels import channels, ignored
from probe.studies.audit.check import Check
from probe.studies.audit.collapse import posterior
from probe.studies.audit.colour import colour
from probe.studies.audit.saturation import saturation
from probe.studies.audit.scaling import scaling
from probe.studies.audit.spots import spots

CHECKS: tuple[Check, ...] = (
    Check("determinism", "the same call twice", ways.determinism),
    Check("float32", "float32 against float64", precision.float32),
    Check("tf32", "TF32 against float64", precision.tf32),
    Check("bfloat16", "bfloat16 against float64", precision.bfloat16),
    Check("float16", "float16 against float64", precision.float16),
    Check("headroom", "how far float16 is from overflow", precision.headroom),
    Check("batch", "one row against a batch", ways.batch),
    Check("slicing", "sliced against float64", ways.slicing),
    Check("channels_last", "the other memory format against float64", ways.channels_last),
    Check("compile", "torch.compile against float64", ways.compiled, wanted=False),
    Check("sample", "a sample of the posterior against its mode", ways.sample),
    Check("size", "twice the resolution", sizes.size),
    Check("tiling", "tiles against none", tiles.tiling),
    Check("scaling", "scaled latents against deviation 1 and mean 0", scaling),
    Check("posterior", "collapsed channels, and samples", posterior),
    Check("channels", "channels that hold nothing, or repeat others", channels),
    Check("ignored", "channels that the decoder ignores", ignored),
    Check("spots", "places that exceed all others", spots),
    Check("colour", "brightness and colour of decoded pictures", colour),
    Check("saturation", "range of decoded pictures", saturation),
)
