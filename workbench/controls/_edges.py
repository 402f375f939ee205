"""Pairing the pixels of two line maps one to one, shared by the control types that draw lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.metrics.spec import MetricSpec


def matched_metric(name: str, label: str, lines: str, tolerance: str) -> MetricSpec:
    """The metric that stands for adherence to a control type of lines.

    Pairing one to one is what tells lines from a neighbourhood full of them: without it, white
    noise finds most of any picture's edges and each of its own near one of them.

    Args:
        lines: what is paired, for people. tolerance: the default one, as a share of the diagonal.
    """
    return MetricSpec.of(
        "EdgeF1",
        f"{name}_f1_matched",
        f"{label} F1 (one to one)",
        f"the Berkeley benchmark's (Martin et al. 2004): F1 of {lines}, paired one to one within "
        f"{tolerance} × diagonal",
    )


def matched_f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_], tolerance: float) -> float:
    """F1 of lines (bool H×W both) paired one to one; the tolerance is a share of the diagonal."""
    from workbench.metrics.edges import default_tolerance, edge_f1

    pixels = default_tolerance(wanted.shape[0], wanted.shape[1], tolerance)
    return edge_f1(found, wanted, pixels, one_to_one=True)


def noise_f1(wanted: NDArray[np.bool_], tolerance: float) -> float:
    """`matched_f1` of white noise: the pixels of the wanted lines in a random order, always the
    same one."""
    return matched_f1(np.random.default_rng(0).permuted(wanted), wanted, tolerance)
