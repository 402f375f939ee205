"""CLIP embeddings as text, small enough to keep in every trial's record."""

from __future__ import annotations

import base64

import numpy as np


def pack(embedding: np.ndarray) -> str:
    """A vector (D,) as base64 of little-endian float16."""
    return base64.b64encode(np.asarray(embedding, dtype="<f2").tobytes()).decode("ascii")


def unpack(text: str) -> np.ndarray:
    """The inverse of `pack`: float32 (D,), brought back to unit norm. ValueError if malformed."""
    vector = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float32)
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector
