"""Skeletons as OpenPose draws them, and back from such a drawing.

Limbs, colours and the order of drawing are those of controlnet-aux (`open_pose/util.py`), from
which ControlNets learnt what a pose looks like: limbs are ellipses in the colour of their number,
darkened to 0.6, and joints are discs in the full colour of theirs, drawn over the limbs.

People are float32 P×18×3: x and y as shares of the picture's width and height, confidence 0 where
a joint is missing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from workbench.controls.base import ControlError

LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""The joints each limb joins, counted from 0."""

COLOURS: tuple[tuple[int, int, int], ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of the 18 joints; the 17 limbs take the first 17."""

FEWEST_JOINTS = 4
"""A person of fewer joints is left out, as in OpenPose."""

FIELD_SIDE = 512
FIELD_WIDTH = 4
DIM = 0.6

_LARGEST_FACTOR = 8
_BRIGHT = 170  # a limb's strongest channel is 153, a joint's 255
_DARK = 32
_UNLIKE = 60  # a pixel farther than this from every mixture belongs to no joint
_FULLEST = 0.6  # of the pixels of a drawing, those which are not black
_LEAST_DISC = 0.3
_FULL = 215  # rims of discs mix to other joints' colours, but only a disc's middle is so bright
_LEAST_LIMB = 0.55


def draw(people: np.ndarray, height: int, width: int) -> NDArray[np.uint8]:
    """Draw people on black, uint8 H×W×3.

    Sticks are 4 px to each side and discs have a radius of 4 px where the picture's shorter side
    has 512, in proportion at other sizes, and at least 1 px. Smaller pictures are drawn up to eight
    times as large and averaged down, so that their lines are smooth.
    """
    import cv2

    shorter = min(height, width)
    factor = min(max(math.ceil(FIELD_SIDE / shorter), 1), _LARGEST_FACTOR)
    thick = max(round(_radius(height, width) * factor), 1)
    tall, wide = height * factor, width * factor
    canvas = np.zeros((tall, wide, 3), np.uint8)
    scale = np.array([wide, tall], np.float64)
    for number, limb in enumerate(LIMBS):
        for person in people:
            if (person[list(limb), 2] <= 0).any():
                continue
            a, b = person[list(limb), :2] * scale
            middle, (dx, dy) = (a + b) / 2, a - b
            polygon = cv2.ellipse2Poly(
                (int(middle[0]), int(middle[1])),
                (int(math.hypot(dx, dy) / 2), thick),
                int(math.degrees(math.atan2(dy, dx))),
                0,
                360,
                1,
            )
            cv2.fillConvexPoly(canvas, np.asarray(polygon), COLOURS[number])
    canvas = (canvas * DIM).astype(np.uint8)
    for number, colour in enumerate(COLOURS):
        for person in people:
            if person[number, 2] > 0:
                x, y = person[number, :2] * scale
                cv2.circle(canvas, (int(x), int(y)), thick, colour, thickness=-1)
    if factor > 1:
        canvas = np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(canvas, np.uint8)


def read(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """People in a drawing such as `draw` or controlnet-aux makes; the inverse of `draw`.

    Joints are the centres of the spots in their colours, good to a fraction of a stick's width;
    limbs in their colours tell which joints belong together, and bits of too few joints beside a
    person are dropped. A joint hidden behind another is lost; the confidence of all others is 1.
    A black picture has no people. Raises ControlError if the picture is no such drawing.
    """
    value = picture.max(axis=2)
    if not (value > _DARK).any():
        return np.zeros((0, len(COLOURS), 3), np.float32)
    joints = _spots(picture)
    if (value > _DARK).mean() > _FULLEST or not any(len(spots) for spots in joints):
        raise ControlError(
            "this picture is not a skeleton in OpenPose's colours on black, so no pose can be read "
            "from it; extract the pose from the photo or drawing of the person instead"
        )
    people = _assemble(joints, picture)
    out = np.zeros((len(people), len(COLOURS), 3), np.float32)
    size = np.array([picture.shape[1], picture.shape[0]])
    for row, person in enumerate(people):
        for number, spot in person.items():
            out[row, number, :2] = joints[number][spot] / size
            out[row, number, 2] = 1
    return out


def _radius(height: int, width: int) -> float:
    return max(FIELD_WIDTH * min(height, width) / FIELD_SIDE, 1.0)


def _nearest_colour(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the colour nearest to each pixel at full brightness; -1 where not asked."""
    values = picture[where].astype(np.float32)
    values *= 255 / np.maximum(values.max(axis=1, keepdims=True, initial=0), 1)
    far = [np.square(values - np.array(c, np.float32)).sum(axis=1) for c in COLOURS]
    out = np.full(where.shape, -1, np.int64)
    out[where] = np.stack(far).argmin(axis=0)
    return out


def _discs(picture: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """To which joint's disc each pixel belongs (-1 for none), and how much of it is covered.

    The rim of a disc is mixed with what lies under it: black, or a limb that ends there. Each
    bright pixel goes to the joint whose colour, if it makes up at least half, explains it best.
    """
    where = picture.max(axis=2) >= _BRIGHT
    pixels = picture[where].astype(np.float64)
    best = np.full(len(pixels), float(_UNLIKE**2))
    joint, cover = np.full(len(pixels), -1), np.zeros(len(pixels))
    for number, colour in enumerate(COLOURS):
        below = [np.array(COLOURS[i]) * DIM for i, limb in enumerate(LIMBS) if number in limb]
        for ground in [np.zeros(3), *below]:
            step = np.array(colour) - ground
            share = np.clip((pixels - ground) @ step / (step @ step), 0, 1)
            far = np.square(pixels - ground - share[:, None] * step).sum(axis=1)
            better = (far < best) & (share >= 0.5)
            best[better], joint[better], cover[better] = far[better], number, share[better]
    joints, covers = np.full(where.shape, -1), np.zeros(where.shape)
    joints[where], covers[where] = joint, cover
    return joints, covers


def _spots(picture: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """For each joint the centres of the spots in its colour, K×2 in pixels."""
    nearest, cover = _discs(picture)
    value = picture.max(axis=2)
    least = _LEAST_DISC * math.pi * _radius(*picture.shape[:2]) ** 2
    ys, xs = np.nonzero(nearest >= 0)
    numbers = nearest[ys, xs]
    out = []
    for number in range(len(COLOURS)):
        y, x = ys[numbers == number], xs[numbers == number]
        which = _groups(y, x)
        mass = cover[y, x]
        total = np.bincount(which, mass)
        sums = [np.bincount(which, mass * (along + 0.5)) for along in (x, y)]
        peak = np.zeros(len(total))
        np.maximum.at(peak, which, value[y, x])
        whole = (total >= least) & (peak >= _FULL)
        out.append(np.stack(sums, axis=1)[whole] / total[whole, None])
    return out


def _groups(y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of these pixels the number of the connected spot it lies in, from 0."""
    import cv2

    if not len(y):
        return np.zeros(0, np.int64)
    mask = np.zeros((int(np.ptp(y)) + 1, int(np.ptp(x)) + 1), np.uint8)
    mask[y - y.min(), x - x.min()] = 1
    labels = cv2.connectedComponents(mask)[1]
    return np.asarray(labels[y - y.min(), x - x.min()] - 1, np.int64)


def _limb_strength(
    nearest: NDArray[np.int64], bright: NDArray[np.bool_], number: int, ends: np.ndarray
) -> float:
    """Share of the way between two points (2×2) that lies on this limb or under a joint's disc."""
    length = float(np.linalg.norm(ends[1] - ends[0]))
    ways = np.linspace(0, 1, max(int(2 * length), 2))[:, None]
    points = (ends[0] * (1 - ways) + ends[1] * ways).astype(np.int64)
    x = points[:, 0].clip(0, nearest.shape[1] - 1)
    y = points[:, 1].clip(0, nearest.shape[0] - 1)
    return float(((nearest[y, x] == number) | bright[y, x]).mean())


def _assemble(
    joints: list[NDArray[np.float64]], picture: NDArray[np.uint8]
) -> list[dict[int, int]]:
    """Which spot of which joint belongs to whom: people as {joint: index of its spot}."""
    if max(len(spots) for spots in joints) == 1:
        return [{number: 0 for number, spots in enumerate(joints) if len(spots)}]
    value = picture.max(axis=2)
    bright = value >= _BRIGHT
    nearest = _nearest_colour(picture, value > _DARK)
    links = []
    for number, (a, b) in enumerate(LIMBS):
        for i, start in enumerate(joints[a]):
            for j, end in enumerate(joints[b]):
                strength = _limb_strength(nearest, bright, number, np.stack([start, end]))
                if strength >= _LEAST_LIMB:
                    links.append((strength, (a, i), (b, j)))
    people = {
        (number, spot): {number: spot}
        for number, spots in enumerate(joints)
        for spot in range(len(spots))
    }
    for _, first, second in sorted(links, reverse=True):
        one, two = people[first], people[second]
        if one is two or one.keys() & two.keys():
            continue
        one.update(two)
        for number, spot in two.items():
            people[number, spot] = one
    unique = list({id(person): person for person in people.values()}.values())
    return [person for person in unique if len(person) >= FEWEST_JOINTS] or unique
