"""One way to write a value down, so that equal values have equal hashes on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DECIMALS = 6
_LATER = {
    *("alternatives", "captions", "fill_batches", "judges", "protocol", "runtime"),
    *("forms", "literal", "made_elsewhere", "safety_checker"),
}
_USUAL = {"unit": "tags"}
_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def tidy_float(value: float) -> float:
    """Round to 6 decimals and drop the sign of zero, so 0.1 + 0.2 and 0.3 are one setting."""
    return round(float(value), DECIMALS) + 0.0


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and ASCII only. NaN and infinity raise ValueError."""
    return _ENCODER.encode(value)


def canonical_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def short_hash(value: Any) -> str:
    """The first 16 hexadecimal digits (64 bits) of `canonical_hash`: ids of trials and cells."""
    return canonical_hash(value)[:16]


def settings_hash(values: Mapping[str, Any]) -> str:
    """The hash of a study by its settings as plain values, as `Study.to_yaml` writes them.

    It can be told without knowing what the settings mean, so a study file keeps its hash in later
    versions. Pinned hashes of sources do not count, and what came later only where it is set.
    """
    kept = {k: v for k, v in values.items() if k != "source_sha256" and (v or k not in _LATER)}
    return canonical_hash({k: v for k, v in kept.items() if _USUAL.get(k) != v or k not in _USUAL})
