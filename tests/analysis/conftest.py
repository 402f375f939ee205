"""Simulated runs with a known truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from workbench.analysis.frames import COLUMNS

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
FULL = ", ".join(TAGS)


def simulate(
    control: Callable[[float, int], float],
    prompt: Callable[[float, int], float],
    *,
    tag: Callable[[str, float], float] | None = None,
    sources: int = 4,
    seeds: int = 2,
    scales: Sequence[float] = (0.0, 0.4, 0.8, 1.2, 1.6),
    lengths: Sequence[int] = (0, 3, 7),
    noise: float = 0.05,
    source_sd: float = 0.1,
    slope_sd: float = 0.0,
    rng_seed: int = 0,
    control_name: str = "canny",
    primary: str = "canny_f1",
) -> pd.DataFrame:
    """A long frame: truth(scale, length) + a source's offset and slope + noise of every picture."""
    rng = np.random.default_rng(rng_seed)
    rows = []
    for source in range(sources):
        offset = rng.normal(0, source_sd, 3)
        tilt = rng.normal(0, slope_sd, 3)
        for length in lengths:
            text = ", ".join(TAGS[:length])
            for scale in scales:
                for seed in range(seeds):
                    nothing = "" if length else "the prompt is empty"
                    means = {
                        primary: control(scale, length) + offset[0] + tilt[0] * scale,
                        "clip_used": prompt(scale, length) + offset[1] + tilt[1] * scale,
                    }
                    if tag is not None:
                        means |= {
                            f"tag:{t}": tag(t, scale) + offset[2] + tilt[2] * scale for t in TAGS
                        }
                    for metric, mean in means.items():
                        adherence = mean + rng.normal(0, noise)
                        reason = nothing if metric == "clip_used" else ""
                        if reason:
                            adherence = math.nan
                        rows.append(
                            {
                                "cell": f"{source}-{length}-{scale}-{seed}",
                                "trial": f"{source}-{length}-{scale}-{seed}",
                                "source": f"s{source}",
                                "control": control_name,
                                "base": "render",
                                "setting": "length",
                                "length": length,
                                "prompt": text,
                                "full_prompt": FULL,
                                "scale": scale,
                                "seed": seed,
                                "metric": metric,
                                "value": adherence,
                                "chance": 0.0,
                                "ceiling": 1.0,
                                "adherence": adherence,
                                "reason": reason,
                                "tokens": 3 * length + 2,
                                "truncated": False,
                            }
                        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture(name="simulate")
def _simulate() -> Callable[..., pd.DataFrame]:
    return simulate
