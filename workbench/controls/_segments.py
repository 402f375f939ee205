"""Straight line segments: finding them with OpenCV, joining pieces, and drawing them.

Segments are arrays K×4 of x1, y1, x2, y2 in pixels, where (0.5, 0.5) is the middle of the first
pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Segments = NDArray[np.float64]

FIELD_SIDE = 512
HOUGH_SIDE = 256
"""Smaller pictures are enlarged for the Hough transform: stairs of pixels break their lines."""

_SHIFT = 4
_LARGEST_FACTOR = 4
_STROKE_DEGREES = 5.0
_LEAST_STROKE = 5.0
_LEAST_SHARE = 0.35
_AT_ONCE = 64  # rows of the table of pairs, which stay in the processor's cache
_SLACK = 1e-6  # pixels; far more than sums of coordinates can be off
_BLUR = 1.0  # how far outside a step the detector puts it, for it looks at a smoothed picture


def as_segments(values: np.ndarray | None) -> Segments:
    """OpenCV's lists of lines, whatever their shape, as float64 K×4 in our pixels."""
    if values is None or not len(values):
        return np.zeros((0, 4))
    return np.asarray(values, np.float64).reshape(-1, 4) + 0.5


def lsd(grey: NDArray[np.uint8]) -> Segments:
    """The line segment detector of von Gioi et al. (2010) with its authors' parameters."""
    import cv2

    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(np.ascontiguousarray(grey))
    return as_segments(found[0])


def hough(
    picture: NDArray[np.uint8], low: float, high: float, votes: float, shortest: float, gap: float
) -> Segments:
    """Canny edges joined by the probabilistic Hough transform (Matas et al. 2000).

    picture: uint8 H×W×3. low, high: thresholds of Canny. votes: edge pixels a line needs;
    shortest, gap: the least length of a segment and the widest break in it; all three in pixels.
    OpenCV visits the edge pixels in an order drawn from a fixed seed of its own, so the result is
    the same on every call.
    """
    import cv2

    factor = _factor(picture.shape[0], picture.shape[1], HOUGH_SIDE)
    edges = cv2.Canny(_enlarge(picture, factor), low, high)
    found = cv2.HoughLinesP(
        edges,
        1,
        math.radians(1),
        max(round(votes * factor), 1),
        minLineLength=shortest * factor,
        maxLineGap=gap * factor,
    )
    return as_segments(found) / factor


def lengths(segments: Segments) -> NDArray[np.float64]:
    """Length of each segment."""
    return np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])


def merge(
    segments: Segments,
    degrees: float,
    apart: float,
    gap: float,
    ink: NDArray[np.bool_] | None = None,
) -> Segments:
    """Join segments which lie on one line into the one that spans them, the longest first.

    Two segments are joined if their directions differ by at most `degrees`, both ends of the
    shorter lie within `apart` pixels of the longer's line, and along it they overlap or leave at
    most `gap` pixels between them. A joint segment lies along the principal axis of its parts.
    ink: where a drawing is inked (H×W); segments with a wider gap are joined too if the longer's
    line runs through ink all the way across it.
    """
    sizes = lengths(segments)
    order = np.argsort(-sizes, kind="stable")
    rest, sizes = segments[order], np.maximum(sizes[order], 1e-9)
    alike = math.cos(math.radians(degrees)) * sizes
    paired = _paired(rest, alike, apart, math.inf if ink is not None else gap)
    out = []
    while len(rest):
        parts, rest, alike = rest[:1], rest[1:], alike[1:]
        whole, joined, paired = parts[0], paired[0], paired[1:]
        while joined:
            joins = _on_the_line(whole, rest, alike, apart, gap, ink)
            if not len(joins):
                break
            parts = np.concatenate([parts, rest[joins]])
            left = np.ones(len(rest), np.bool_)
            left[joins] = False
            rest, alike, paired = rest[left], alike[left], paired[left]
            whole = _span(parts)
        out.append(whole)
    return np.array(out).reshape(-1, 4)


def _paired(
    segments: Segments, alike: NDArray[np.float64], apart: float, gap: float
) -> NDArray[np.bool_]:
    """Which segments may be joined with one that comes after them, as `_on_the_line` says; the
    others, most in a picture, need not be asked one by one."""
    found = np.zeros(len(segments), np.bool_)
    for begin in range(0, len(segments), _AT_ONCE):
        some, later = segments[begin : begin + _AT_ONCE], segments[begin:]
        starts, ends = some[:, :2], later.reshape(-1, 2)
        sizes = np.maximum(lengths(some), 1e-9)
        along = (some[:, 2:] - starts) / sizes[:, None]
        across = np.stack([-along[:, 1], along[:, 0]], axis=1)
        beside = across @ ends.T - np.sum(across * starts, axis=1)[:, None]
        beside = np.abs(beside) <= apart + _SLACK
        rows, columns = np.nonzero(np.triu(beside[:, ::2] & beside[:, 1::2], 1))
        reach = later[columns].reshape(-1, 2, 2) - starts[rows][:, None]
        reach = np.einsum("nij,nj->ni", reach, along[rows])
        first, last = reach.min(axis=1), reach.max(axis=1)
        near = (first <= sizes[rows] + gap + _SLACK) & (last >= -gap - _SLACK)
        near &= last - first >= alike[begin + columns] - _SLACK
        found[begin + rows[near]] = True
    return found


def _on_the_line(
    whole: NDArray[np.float64],
    others: Segments,
    alike: NDArray[np.float64],
    apart: float,
    gap: float,
    ink: NDArray[np.bool_] | None,
) -> NDArray[np.intp]:
    """Places of those of the others that are joined to a segment.

    alike: the least length of each other's shadow on a line of nearly its direction.
    """
    start, way = whole[:2], whole[2:] - whole[:2]
    length = max(float(np.hypot(*way)), 1e-9)
    along = way / length
    across = np.array([-along[1], along[0]])
    beside = np.abs((others.reshape(-1, 2) - start) @ across) <= apart
    found = np.flatnonzero(beside[::2] & beside[1::2])
    if not len(found):
        return found
    reach = (others[found].reshape(-1, 2, 2) - start) @ along
    turned = np.abs(reach[:, 1] - reach[:, 0]) >= alike[found]
    found, reach = found[turned], reach[turned]
    if not len(found):
        return found
    first, last = reach.min(axis=1), reach.max(axis=1)
    near = (first <= length + gap) & (last >= -gap)
    if ink is not None and not near.all():
        before, after = _inked(start, -along, ink), _inked(whole[2:], along, ink)
        near |= (first <= length + after) & (last >= -before)
    return found[near]


def _inked(start: NDArray[np.float64], along: NDArray[np.float64], ink: NDArray[np.bool_]) -> float:
    """How many pixels one can go from a point in a direction without leaving the ink."""
    height, width = ink.shape
    steps = np.arange(0, math.hypot(height, width), 0.5)
    x, y = np.floor(start[:, None] + along[:, None] * steps).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    on = inside & ink[y.clip(0, height - 1), x.clip(0, width - 1)]
    return float(steps[len(on) - 1 if on.all() else int(on.argmin())])


def _span(parts: Segments) -> NDArray[np.float64]:
    """The segment along the principal axis of some segments, as long as they reach."""
    sizes = lengths(parts)
    middles = (parts[:, :2] + parts[:, 2:]) / 2
    centre = sizes @ middles / sizes.sum()
    off, half = middles - centre, (parts[:, 2:] - parts[:, :2]) / 2
    spread = (off * sizes[:, None]).T @ off + (half * sizes[:, None]).T @ half / 3
    axis = np.linalg.eigh(spread)[1][:, 1]
    reach = (parts.reshape(-1, 2) - centre) @ axis
    return np.concatenate([centre + reach.min() * axis, centre + reach.max() * axis])


def draw(
    segments: Segments, height: int, width: int, *, smooth: bool | None = None
) -> NDArray[np.uint8]:
    """White lines on black, uint8 H×W, as the annotator of M-LSD draws them.

    Lines are 1 px wide up to 512 px on the shorter side, and in proportion above. Below 512 they
    are smooth unless told otherwise, because whole pixels are too coarse for ends and slopes.
    """
    import cv2

    canvas = np.zeros((height, width), np.uint8)
    if smooth is None:
        smooth = min(height, width) < FIELD_SIDE
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    thick = _thickness(height, width)
    for x1, y1, x2, y2 in np.rint((segments - 0.5) * (1 << _SHIFT)).astype(int).tolist():
        cv2.line(canvas, (x1, y1), (x2, y2), 255, thick, kind, _SHIFT)
    return canvas


def read(grey: NDArray[np.uint8]) -> Segments:
    """Segments in a drawing (uint8 H×W) such as `draw` or M-LSD's annotator makes.

    Light lines on dark or the other way round. The detector finds both sides of a stroke, each
    directed so that the light lies to its left. They are moved onto the middle of the stroke, half
    its width and the blur of the detector away, and joined there. Where strokes cross, the
    detector sees corners: their pieces are joined across whatever is inked between them.
    """
    height, width = grey.shape
    factor = _factor(height, width, FIELD_SIDE)
    bright = 255 - grey if np.median(grey) > 127 else grey
    sides = lsd(_enlarge(bright, factor)) / factor
    ways = (sides[:, 2:] - sides[:, :2]) / np.maximum(lengths(sides), 1e-9)[:, None]
    inwards = np.stack([ways[:, 1], -ways[:, 0]], axis=1)
    moved = sides + np.tile(inwards * (_thickness(height, width) / 2 + _BLUR / factor), 2)
    ink = _ink(bright)
    strokes = _needed(merge(moved, _STROKE_DEGREES, 0.5 + 1.2 / factor, 0.0, ink), ink)
    return strokes[lengths(strokes) >= min(_LEAST_STROKE, 0.03 * math.hypot(height, width))]


def _ink(bright: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a drawing, light on dark, is inked.

    A smooth stroke is wide enough for a line along it to stay within. One drawn in whole pixels is
    a stair, so the ink is taken a pixel wider.
    """
    import cv2

    peak = int(bright.max())
    ink = bright > peak / 5
    if ((bright > peak / 4) & (bright < peak * 3 / 4)).any():
        return ink
    return np.asarray(cv2.dilate(ink.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _needed(strokes: Segments, ink: NDArray[np.bool_]) -> Segments:
    """Strokes which run, for a third of their length, through ink that no longer one accounts for.

    What is left out are the rounded corners of crossings, and one side of a stroke seen twice.
    """
    import cv2

    left = ink.astype(np.uint8)
    height, width = left.shape
    kept = []
    for stroke in strokes[np.argsort(-lengths(strokes), kind="stable")]:
        steps = np.linspace(0, 1, 2 + int(2 * math.dist(stroke[:2], stroke[2:])))[:, None]
        x, y = np.floor(stroke[:2] + steps * (stroke[2:] - stroke[:2])).astype(int).T
        if left[y.clip(0, height - 1), x.clip(0, width - 1)].mean() < _LEAST_SHARE:
            continue
        kept.append(stroke)
        x1, y1, x2, y2 = np.rint((stroke - 0.5) * (1 << _SHIFT)).astype(int).tolist()
        cv2.line(left, (x1, y1), (x2, y2), 0, 1 + _thickness(height, width), cv2.LINE_8, _SHIFT)
    return np.array(kept).reshape(-1, 4)


def _thickness(height: int, width: int) -> int:
    return max(round(min(height, width) / FIELD_SIDE), 1)


def _factor(height: int, width: int, side: int) -> int:
    """How many times a picture is enlarged so that its shorter side has `side` pixels."""
    return min(math.ceil(side / min(height, width)), _LARGEST_FACTOR)


def _enlarge(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    import cv2

    whole = np.ascontiguousarray(picture)
    if factor == 1:
        return whole
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_CUBIC), np.uint8)
