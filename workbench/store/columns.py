"""The columns of the table of measurements, and which values fit into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

_TEXT = ("cell", "trial", "source", "control", "control_settings", "base", "setting", "label")
COLUMNS: dict[str, str] = {
    **dict.fromkeys(_TEXT, "string"),
    "length": "int64",
    "dropped": "string",
    "prompt": "string",
    "full_prompt": "string",
    "scale": "float64",
    "seed": "int64",
    "metric": "string",
    "value": "float64",
    "chance": "float64",
    "ceiling": "float64",
    "adherence": "float64",
    "reason": "string",
    "tokens": "int64",
    "truncated": "bool",
    # In a pair of controls the other one; without one "" and NaN.
    "partner": "string",
    "partner_settings": "string",
    "partner_scale": "float64",
}
ALONE = {"partner": "", "partner_settings": "", "partner_scale": math.nan}
FACTS = (
    "source", "control", "control_settings", "base", "setting", "label", "length", "dropped",
    "prompt", "full_prompt", "scale", "seed",
)  # fmt: skip
"""What a reading must say to be of use: without it nobody knows what it is about."""
MADE_BY = {
    "tokens": "int64",
    "truncated": "bool",
    "batch_size": "int64",
    "threads": "int64",
    "seconds": "float64",
    "start": "string",
}
"""The same for what a record says of its making, as far as anything is computed from it."""


def wrong_type(values: Mapping[str, Any], kinds: Mapping[str, str] = COLUMNS) -> str:
    """The name of the first value that does not fit into its column; "" if all do."""
    return next(
        (
            name
            for name, value in values.items()
            if value is not None and name in kinds and not _FITS[kinds[name]](value)
        ),
        "",
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "int64": _is_whole,
    "float64": _is_number,
    "bool": _is_truth,
}
