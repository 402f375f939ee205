"""Is this sample a picture at all? A broken one is a failed trial with a reason, not a number."""

from __future__ import annotations

import numpy as np

SOLID_RANGE = 2 / 255
"""A picture whose every channel stays within this range (pixels in [0, 1]) shows nothing."""

NOT_A_NUMBER = "the picture has values that are not numbers (NaN or infinite)"


def check_sample(image: np.ndarray) -> str:
    """Return "" for a sound sample, else one sentence that says what is wrong with it.

    `image` is H×W×3: uint8, or float with 1.0 for white.
    """
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all():
            return NOT_A_NUMBER
        pixels = image.astype(np.float64)
    else:
        pixels = image.astype(np.float64) / 255
    flat = pixels.reshape(-1, pixels.shape[-1])
    low, high = flat.min(axis=0), flat.max(axis=0)
    if float((high - low).max()) <= SOLID_RANGE + 1e-9:
        colour = ", ".join(str(round(float(value) * 255)) for value in np.clip(flat.mean(0), 0, 1))
        return f"the picture is one solid colour (RGB {colour})"
    return ""
