"""Drawing styles: the same scenes, told in another hand.

A style changes how a picture looks and nothing that is true of it: depth, normals, classes and
joints stay as they are, and so do the colours that tags name.
"""

from __future__ import annotations

import numpy as np

from workbench.paperdoll.labels import Label

STYLES: tuple[str, ...] = ("render", "ink")
"""``render``: shaded surfaces. ``ink``: flat washes on paper within drawn outlines."""

_PAPER = np.array([250.0, 244.0, 228.0], np.float32)
_INK = np.array([34.0, 28.0, 40.0], np.float32)
_PAPER_SHARE = 0.16
_LEVELS = 3.0
_CREASE = 0.9
_STEP = 0.035


def draw_in(
    style: str,
    rgb: np.ndarray,
    depth: np.ndarray,
    normal: np.ndarray,
    segmentation: np.ndarray,
) -> np.ndarray:
    """Pictures in a style, from rendered ones and their truth.

    Args:
        style: one of `STYLES`.
        rgb: uint8 (..., H, W, 3).
        depth: inverse depth (..., H, W) in [0, 1].
        normal: unit vectors (..., H, W, 3), or integers in proportion to them.
        segmentation: class numbers (..., H, W).

    Returns:
        uint8, shaped like ``rgb``.

    Raises:
        ValueError: if there is no such style.
    """
    if style == "render":
        return rgb
    if style != "ink":
        raise ValueError(f"there is no style {style!r}; there are: {', '.join(STYLES)}")
    lines = outlines(depth, normal, segmentation)[..., None]
    wash = (1 - _PAPER_SHARE) * _flat(rgb.astype(np.float32)) + _PAPER_SHARE * _PAPER
    return np.asarray(np.rint(wash * (1 - lines) + _INK * lines), np.uint8)


def outlines(depth: np.ndarray, normal: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """Ink per pixel, float32 (..., H, W) in [0, 1]: borders, steps in depth and sharp creases."""
    unit = normal.astype(np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-6)
    depth = depth.astype(np.float32)
    ink = np.zeros(depth.shape, np.float32)
    face = (segmentation == Label.FACE).astype(np.int16)
    for axis in (-2, -1):
        label_changes = _difference(segmentation.astype(np.int16), axis) != 0
        steps = np.abs(_difference(depth, axis)) > _STEP
        bends = np.abs(_difference(unit, axis - 1)).sum(-1) > _CREASE
        found = np.maximum(label_changes | steps, 0.6 * bends)
        # Outlines around eyes of a few pixels would drown their colour.
        plain = (face + np.abs(_difference(face, axis))) == 0
        ink = np.maximum(ink, found * plain)
    return np.minimum(1.25 * _soften(ink), 1.0) * (1 - face)


def _difference(values: np.ndarray, axis: int) -> np.ndarray:
    """Each pixel against the next one along an axis; 0 at the far border."""
    last = np.take(values, [-1], axis=axis)
    return np.diff(values, axis=axis, append=last)


def _soften(ink: np.ndarray) -> np.ndarray:
    """A pen stroke of about a pixel and a half."""
    for axis in (-2, -1):
        before = np.roll(ink, 1, axis)
        after = np.roll(ink, -1, axis)
        ink = 0.2 * before + 0.6 * ink + 0.2 * after
    return ink


def _flat(rgb: np.ndarray) -> np.ndarray:
    """Colours with their light reduced to a few steps, as washes lie on each other."""
    light = rgb.max(-1, keepdims=True) / 255.0
    steps = (np.floor(light * _LEVELS) + 0.5) / _LEVELS
    return np.clip(rgb * (0.35 + 0.65 * steps / np.maximum(light, 0.05)), 0, 255)
