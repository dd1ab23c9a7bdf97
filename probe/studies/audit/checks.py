"""All checks of the audit, in the order of its table."""

from probe.studies.audit.channels import channels, ignored
from probe.studies.audit.check import Check
from probe.studies.audit.colour import colour
from probe.studies.audit.posterior import posterior
from probe.studies.audit.precision import float32
from probe.studies.audit.repeat import repeat
from probe.studies.audit.saturation import saturation
from probe.studies.audit.scaling import scaling
from probe.studies.audit.spots import spots

CHECKS: tuple[Check, ...] = (
    Check("float32", "float32 against float64", float32),
    Check("scaling", "scaled latents against deviation 1 and mean 0", scaling),
    Check("channels", "channels that hold nothing, or repeat others", channels),
    Check("ignored", "channels that the decoder ignores", ignored),
    Check("spots", "places that exceed all others", spots),
    Check("posterior", "the posterior and its samples", posterior),
    Check("repeat", "the same latents twice", repeat),
    Check("colour", "brightness and colour of decoded pictures", colour),
    Check("saturation", "range of decoded pictures", saturation),
)
