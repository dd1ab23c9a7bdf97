"""What decoded end points and reconstructions look like to CLIP (open_clip, the extra ``clip``)."""

import importlib.util

MISSING = "open_clip is not installed, so the report has no semantics; pip install 'latent-probe[clip]' and rerun"


def is_installed() -> bool:
    """Whether open_clip is there; it is not imported."""
    return importlib.util.find_spec("open_clip") is not None
