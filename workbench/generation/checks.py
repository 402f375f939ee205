"""Is this sample a picture at all? A broken one is a failed trial with a reason, not a number."""

from __future__ import annotations

import numpy as np

SOLID_RANGE = 2 / 255
"""A picture whose every channel stays within this range (pixels in [0, 1]) shows nothing, and
neither does one in which noise of no more than this deviation lies over one colour."""

NOT_A_NUMBER = "the picture has values that are not numbers (NaN or infinite)"
_PARTS = 8
"""Parts a side, over which the noise of a picture is averaged away."""


def check_sample(image: np.ndarray) -> str:
    """Return "" for a sound sample, else one sentence that says what is wrong with it.

    `image` is H×W×3: uint8, or float with 1.0 for white. Wrong are values that are not numbers, and
    one colour all over, be it black, as half precision makes it on some devices, or with faint
    noise on it: every channel deviates by no more than 2/255, and so do the means of 8 × 8 parts of
    the picture from one another.
    """
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all():
            return NOT_A_NUMBER
        pixels = image.astype(np.float64)
    else:
        pixels = image.astype(np.float64) / 255
    flat = pixels.reshape(-1, pixels.shape[-1])
    if not (_within(flat) or (flat.std(axis=0).max() <= SOLID_RANGE and _within(_parts(pixels)))):
        return ""
    mean = np.rint(np.clip(flat.mean(0), 0, 1) * 255).astype(int)
    return f"the picture is one solid colour (RGB {', '.join(map(str, mean))})"


def _within(values: np.ndarray) -> bool:
    """Whether each column keeps within the range of a solid colour."""
    return float((values.max(axis=0) - values.min(axis=0)).max()) <= SOLID_RANGE + 1e-9


def _parts(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of each part of the picture: (parts, 3)."""
    means = pixels
    for axis in (0, 1):
        edges = np.linspace(0, means.shape[axis], min(_PARTS, means.shape[axis]), endpoint=False)
        counts = np.diff(np.append(edges.astype(int), means.shape[axis]))
        shape = [-1 if place == axis else 1 for place in range(means.ndim)]
        sums = np.add.reduceat(means, edges.astype(int), axis=axis)
        means = sums / counts.reshape(shape)
    return means.reshape(-1, pixels.shape[-1])
