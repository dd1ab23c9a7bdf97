"""What commands print on stdout."""

import json
from collections.abc import Mapping
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1))


def print_rows(values: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values, one per line, or as JSON."""
    if as_json:
        print_json(values)
        return
    for key, value in values.items():
        print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
