"""A synthetic run with known effects, for everything that reads the long frame."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.families import catalogue
from workbench.threads import wait_asleep

wait_asleep()  # before a test imports torch

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
SCALES = (0.0, 0.4, 0.8, 1.2, 1.6)
# metric -> (chance, ceiling) of its raw value
REFERENCES = {
    "canny_f1": (0.31, 0.72),
    "depth_pearson": (0.12, 0.97),
    "clip_used": (18.0, 31.0),
    "clip_full": (18.0, 31.0),
}
# How much of a tag's score is left when the control is fully on.
KEPT = dict(zip(TAGS, (0.55, 0.45, 0.9, 0.85, 1.0, 0.95, 0.98), strict=True))
OBEYED_FROM = 0.7
"""A tag with a higher score counts as obeyed."""


def synthetic_frame(
    tags: Sequence[str] = TAGS,
    *,
    sources: int = 4,
    seeds: int = 2,
    lengths: Sequence[int] = (0, 3, 7),
    scales: Sequence[float] = SCALES,
    controls: Sequence[str] = ("depth", "canny"),
    noise: float = 0.03,
) -> pd.DataFrame:
    """A long frame in which control rises and the prompt gives way as the scale grows.

    Control adherence is 1 - exp(-1.4 scale), less 0.02 for each tag kept; prompt adherence falls
    by 0.15 per unit of scale, and starts lower the more tags there are; the score of a tag falls
    linearly to `KEPT` of its start. Noise is per source and per picture.
    """
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    full = ", ".join(tags)
    kept_share = dict(zip(tags, KEPT.values(), strict=False))
    for control in controls:
        primary = {"canny": "canny_f1", "depth": "depth_pearson"}[control]
        reach = 0.95 if control == "depth" else 0.8
        for source in range(sources):
            shift = rng.normal(0, 0.04, 3)
            for length in lengths:
                kept = tags[:length]
                for scale in scales:
                    for seed in range(1, seeds + 1):
                        grip = reach * (1 - math.exp(-1.4 * scale)) * (1 - 0.025 * length)
                        looks = 0.95 - 0.02 * length - (0.15 + 0.01 * length) * scale
                        near = 0.55 + 0.2 * grip - 0.01 * length
                        adherence = {
                            primary: grip + shift[0],
                            "clip_used": looks + shift[1] if length else math.nan,
                            "clip_full": looks * (0.3 + 0.1 * length) + shift[1],
                        }
                        plain = {"clip_source": 100 * near + 2 * shift[2]}
                        plain |= {
                            f"tag:{tag}": 0.93 - (1 - kept_share[tag]) * scale / 1.6 + shift[2]
                            for tag in kept
                        }
                        cell = f"{control}-{source}-{length}-{scale:g}-{seed}"
                        base = {
                            "cell": cell,
                            "trial": cell,
                            "source": f"paperdoll:{source}",
                            "control": control,
                            "base": "render",
                            "setting": "length",
                            "length": length,
                            "prompt": ", ".join(kept),
                            "full_prompt": full,
                            "scale": scale,
                            "seed": seed,
                            "tokens": 2 + 3 * length,
                            "truncated": False,
                        }
                        for metric, mean in adherence.items():
                            low, high = REFERENCES[metric]
                            value = mean + rng.normal(0, noise)
                            rows.append(
                                base
                                | {
                                    "metric": metric,
                                    "value": low + value * (high - low),
                                    "chance": low,
                                    "ceiling": high,
                                    "adherence": value,
                                    "reason": "the prompt is empty" if math.isnan(value) else "",
                                }
                            )
                        nothing = {"chance": math.nan, "ceiling": math.nan, "adherence": math.nan}
                        for metric, mean in plain.items():
                            value = mean + rng.normal(0, noise)
                            if metric.startswith("tag:"):
                                obeyed = {
                                    "metric": metric.replace("tag:", "tag_obeyed:", 1),
                                    "value": float(value > OBEYED_FROM),
                                    "reason": "",
                                }
                                rows.append(base | nothing | obeyed)
                            rows.append(
                                base | nothing | {"metric": metric, "value": value, "reason": ""}
                            )
                    spread = {
                        "diversity_looks": 0.22 * math.exp(-0.5 * scale) * (1 + 0.03 * length)
                        + 0.2 * shift[0],
                        "diversity_structure": 0.40 * math.exp(-1.1 * scale) * (1 + 0.03 * length)
                        + 0.2 * shift[1],
                    }
                    for metric, value in spread.items():
                        rows.append(
                            base | nothing | {"metric": metric, "value": value, "reason": ""}
                        )
    return pd.DataFrame(rows)


@pytest.fixture(scope="session", name="synthetic_frame")
def _synthetic_frame() -> Callable[..., pd.DataFrame]:
    """The function that makes the frame; its arguments choose the size of the study."""
    return synthetic_frame


@pytest.fixture(scope="session", name="demo_frame")
def _demo_frame() -> pd.DataFrame:
    """Two control types, four sources, three lengths, five scales, two seeds."""
    return synthetic_frame()


@pytest.fixture(autouse=True)
def _models_folders_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The families of a folder that one test names are nothing to the next."""
    monkeypatch.setattr(catalogue, "_named_folders", [])


@pytest.fixture(autouse=True)
def _threads_are_left_as_they_were() -> Iterator[None]:
    """Another number of processor threads rounds otherwise, and so would spoil later tests."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if before is not None:
        assert sys.modules["torch"].get_num_threads() == before
