"""Detectors that look at pixels at the joints: no network, no training, only the world's drawing.

They stand beside the auditor as a second outsider: where both say the same of a picture, that is
taken for the truth about it. Each says nothing where it can't tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from workbench.paperdoll import SIDE, TAG_GROUPS
from workbench.paperdoll.figure import SKIN, TROUSERS
from workbench.paperdoll.labels import Label
from workbench.paperdoll.scene import HEAD_RADIUS, JOINTS, TORSO
from workbench.paperdoll.tags import (
    COAT_COLOURS,
    GROUND_COLOURS,
    HAIR_COLOURS,
    RGB,
    SKY_COLOURS,
)

UNSURE = -1
"""The answer where pixels do not tell."""


def pixel_answers(rgb: np.ndarray, skeletons: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """Index of the tag seen in each group, or `UNSURE`: int (N, 8).

    Args:
        rgb: uint8 (N, 128, 128, 3).
        skeletons: float (N, 18, 3), joints in pixels and how sure they are.
        segmentation: uint8 (N, 128, 128) class of each pixel, for the place alone.
    """
    return np.array(
        [
            [_ANSWERS[group](look) for group in TAG_GROUPS]
            for look in map(_Look, rgb, skeletons, segmentation)
        ],
        dtype=int,
    )


class _Look:
    """One picture, addressed in units of its figure."""

    def __init__(self, rgb: np.ndarray, skeleton: np.ndarray, segmentation: np.ndarray) -> None:
        self.rgb = rgb.astype(np.float32) / 255
        self.segmentation = segmentation
        self.joint = {n: p[:2] / SIDE for n, p in zip(JOINTS, skeleton, strict=True)}
        self.hip = (self.joint["right_hip"] + self.joint["left_hip"]) / 2
        self.scale = float(np.linalg.norm(self.joint["neck"] - self.hip)) / TORSO
        self.radius = HEAD_RADIUS * self.scale
        ears = (self.joint["right_ear"] + self.joint["left_ear"]) / 2
        self.head = ears - (0.0, 0.16 * self.radius)

    def at(self, points: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Colours at points (n, 2) of x, y in picture sides; NaN outside: (n, 3)."""
        points = np.asarray(points, float).reshape(-1, 2)
        columns, rows = np.floor(points * SIDE).astype(int).T
        inside = (columns >= 0) & (columns < SIDE) & (rows >= 0) & (rows < SIDE)
        found = np.full((len(points), 3), np.nan, np.float32)
        found[inside] = self.rgb[rows[inside], columns[inside]]
        return found

    def by_head(self, xs: ArrayLike, ys: ArrayLike) -> np.ndarray:
        """Colours at a grid around the head, in head radii: (n, 3)."""
        x, y = np.meshgrid(xs, ys)
        return self.at(self.head + np.stack([x.ravel(), y.ravel()], 1) * self.radius)


def _who(look: _Look) -> int:
    """A girl: a skirt over the legs, with a bow or wide below the hips. A boy: trousers, no bow."""
    covered, wide, bow = _covered_legs(look), _wide_skirt(look), _bow(look)
    if covered is None:
        return 0 if wide and bow else UNSURE
    if covered:
        return 0 if wide or bow else UNSURE
    return 1 if bow is False and not wide else UNSURE


def _coat_of(look: _Look) -> np.ndarray:
    neck = look.joint["neck"]
    return _median(look.at([neck + (look.hip - neck) * f for f in (0.5, 0.65, 0.8, 0.95)]))


def _covered_legs(look: _Look) -> bool | None:
    """Whether the thighs show the coat's colour, as under a skirt, or that of trousers."""
    spots = []
    for side in ("right", "left"):
        hip, knee = look.joint[f"{side}_hip"], look.joint[f"{side}_knee"]
        spots += [hip + (knee - hip) * share for share in (0.6, 0.75, 0.9)]
    colours, coat = look.at(spots), _coat_of(look)
    if _distance(np.asarray(TROUSERS), coat) < 0.3:
        return None
    nearer = _distance(colours, coat) < _distance(colours, np.asarray(TROUSERS))
    share = float(np.mean(nearer))
    return True if share >= 0.7 else False if share <= 0.3 else None


def _wide_skirt(look: _Look) -> bool | None:
    """Whether the coat's colour reaches as far out below the hips as only a skirt does."""
    s = look.scale
    wide = look.at([look.hip + np.array([x, y]) * s for x in (-0.096, -0.088, 0.088, 0.096)
                    for y in (0.035, 0.05, 0.065)])  # fmt: skip
    share = float(np.nanmean(_distance(wide, _coat_of(look)) < 0.3))
    return True if share >= 0.75 else False if share <= 0.4 else None


def _bow(look: _Look) -> bool | None:
    """Whether a good part of what lies on top of the head is pink."""
    x, y = np.arange(0.2, 1.2, 0.1), np.arange(-1.3, -0.6, 0.1)
    spots = look.by_head(x, y)
    pink = (spots[:, 0] > 0.5) & (spots[:, 2] > spots[:, 1] + 0.08)
    pink &= spots[:, 0] > spots[:, 1] + 0.25
    share = float(np.mean(pink))
    return True if share >= 0.15 else False if share <= 0.05 else None


def _hair_length(look: _Look) -> int:
    """Long: hair's colour hangs at both sides of the head below the ears, and ends outwards.

    Short: what lies behind the figure begins there, or coat and skin of a raised arm. Neither where
    hair looks like coat or background, or where something else is in the way.
    """
    cap = _median(look.by_head((-0.5, -0.25, 0.0, 0.25), (-0.75, -0.6)))
    coat = _coat_of(look)
    if float(_distance(coat, cap)) < 0.3:
        return UNSURE
    hair, other = [], []
    for sign in (-1.0, 1.0):
        side = look.by_head([sign * x for x in (1.0, 1.1)], (0.6, 0.8, 1.0, 1.2, 1.4, 1.6))
        beyond = _median(look.by_head([sign * x for x in (1.75, 1.9)], (0.8, 1.1)))
        if float(_distance(beyond, cap)) < 0.35:
            return UNSURE
        hair.append(float(np.nanmean(_distance(side, cap) < 0.25)))
        known = [(_distance(side, c) < 0.25) for c in (beyond, coat, np.asarray(SKIN))]
        other.append(float(np.mean(np.any(known, 0))))
    if min(hair) >= 0.6:
        return 0
    return 1 if min(other) >= 0.6 and max(hair) <= 0.2 else UNSURE


def _hair_colour(look: _Look) -> int:
    """Black is what is dark and has no hue; brown is dark, red is light and hardly green."""
    colour = _median(look.by_head((-0.5, -0.25, 0.0, 0.25), (-0.8, -0.6)))
    light, hue = float(colour.max()), float(colour.max() - colour.min())
    if hue < 0.14:
        return 1 if light < 0.45 else UNSURE
    if hue < 0.2:
        return UNSURE
    return _nearest(colour, {k: v for k, v in HAIR_COLOURS.items() if k != "black hair"}, 0.1, 1)


def _coat(look: _Look) -> int:
    neck = look.joint["neck"]
    spots = look.at([neck + (look.hip - neck) * f for f in (0.35, 0.5, 0.65, 0.8)])
    return _nearest(_median(spots), COAT_COLOURS)


def _eyes(look: _Look) -> int:
    """The iris: the most coloured, else the darkest of the pixels around each eye."""
    r = look.radius
    spots = np.concatenate([
        look.at([look.joint[f"{side}_eye"] + np.array([x, y]) * r
                 for x in (-0.12, 0.0, 0.1) for y in (0.0, 0.12, 0.22)])
        for side in ("right", "left")
    ])  # fmt: skip
    colour = _median(spots)
    blue, green = colour[2] - colour[0], colour[1] - colour[0]
    if max(blue, green) < 0.12:
        return 0 if colour.mean() < 0.5 else UNSURE
    return 1 if colour[2] > colour[1] + 0.1 else 2 if colour[1] > colour[2] + 0.1 else UNSURE


def _season(look: _Look) -> int:
    ground = look.rgb[-10:][look.segmentation[-10:] == Label.GROUND]
    if len(ground) < 40:
        return UNSURE
    colour = np.median(ground, 0)
    return _nearest(colour / max(colour.max(), 0.05), {
        name: tuple(np.asarray(c) / max(c)) for name, c in GROUND_COLOURS.items()
    }, 0.12)  # fmt: skip


def _weather(look: _Look) -> int:
    sky = look.rgb[:24][look.segmentation[:24] == Label.SKY]
    if len(sky) < 200:
        return UNSURE
    return _nearest(np.median(sky, 0), {
        name: tuple(np.clip(np.asarray(c) * 0.88 + 0.02, 0, 1)) for name, c in SKY_COLOURS.items()
    })  # fmt: skip


def _place(look: _Look) -> int:
    count = np.bincount(look.segmentation.ravel(), minlength=len(Label))
    areas = np.array([
        count[Label.WALL] + count[Label.ROOF] + count[Label.OPENING],
        2 * (count[Label.FOLIAGE] + count[Label.TRUNK]),
        count[Label.MOUNTAIN],
        3 * count[Label.FENCE],
    ])  # fmt: skip
    first, second = np.sort(areas)[::-1][:2]
    return int(areas.argmax()) if first > 300 and first > 2.5 * second else UNSURE


_ANSWERS = {
    "who": _who,
    "hair_length": _hair_length,
    "hair_colour": _hair_colour,
    "eyes": _eyes,
    "coat": _coat,
    "season": _season,
    "weather": _weather,
    "place": _place,
}


def _median(colours: np.ndarray) -> np.ndarray:
    return np.asarray(np.nanmedian(colours, axis=0))


def _distance(colours: np.ndarray, to: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(colours - to, axis=-1))


def _nearest(
    colour: np.ndarray,
    options: Mapping[str, RGB],
    margin: float = 0.04,
    left_out: int | None = None,
) -> int:
    """The option nearest to a colour, or `UNSURE` where two are about as near.

    left_out: the place of an option that is not among these; places are counted with it.
    """
    away = np.array([np.linalg.norm(colour - np.asarray(c)) for c in options.values()])
    first, second = np.argsort(away)[:2]
    if away[second] - away[first] <= margin:
        return UNSURE
    return int(first) + (left_out is not None and first >= left_out)
