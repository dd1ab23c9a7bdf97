"""What a page must have for people who do not see it, or see little: as much of axe's rules as our pages can break."""

from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")


def faults(page: Any) -> list[str]:
    """What is wrong with a page as it is drawn now."""
    return page.evaluate(SCRIPT)
