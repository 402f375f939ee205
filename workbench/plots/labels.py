"""Placing point labels so that they cover neither one another nor the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

_RADII = (1.5, 4.0, 8.0, 13.0, 19.0, 27.0)
_ANGLES = tuple(math.radians(angle) for angle in range(0, 360, 30))
_LEADER_FROM = 12.0
MOST_LABELS = 60
"""No chart has room for more words than so many."""


@dataclass(frozen=True)
class PointLabel:
    """A word beside a point.

    x, y are in data units; ``rank``: lower is kept first; ``reach``: radius of the point's own
    marker in points, which the word keeps clear of.
    """

    x: float
    y: float
    text: str
    colour: str
    rank: int = 0
    reach: float = 3.5


def place_labels(
    axes: Axes,
    labels: Sequence[PointLabel],
    *,
    avoid: Sequence[np.ndarray] = (),
    avoid_a_little: Sequence[np.ndarray] = (),
    fontsize: float,
    passes: int = 4,
) -> list[Annotation]:
    """Write ``labels`` beside their points and return the annotations that found room.

    ``avoid`` are polylines in data units (N×2) which labels should not cover, ``avoid_a_little``
    fainter ones; labels may cross them where nothing else is free. Labels never overlap each
    other: where there is no room, the one of higher rank is left out. Of more than `MOST_LABELS`
    those of lowest rank are tried, evenly chosen among equals. The layout of the figure
    must be final, as positions are looked for on the drawn page; they are stored in points and so
    hold at every resolution.
    """
    figure = axes.figure.get_figure(root=True)
    if figure is None or not labels:
        return []
    reaching = np.array([(label.x, label.y, label.reach) for label in labels])
    labels = _thinned(labels)
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    pixel = figure.dpi / 72.0
    anchors = axes.transData.transform([(label.x, label.y) for label in labels])
    points = axes.transData.transform(reaching[:, :2])
    ink = np.concatenate(
        [points]
        + [_sample(axes.transData.transform(line), 3.0) for line in avoid]
        + [_sample(axes.transData.transform(line), 7.0) for line in avoid_a_little]
    )
    frame = np.asarray(axes.get_window_extent(renderer).padded(-2 * pixel).extents)
    notes = [
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=fontsize,
            color=label.colour,
            parse_math=False,
            annotation_clip=False,
            zorder=6,
            arrowprops={"arrowstyle": "-", "color": label.colour, "lw": 0.6, "alpha": 0.0,
                        "shrinkA": 0, "shrinkB": 3},
        )
        for label in labels
    ]  # fmt: skip
    sizes = [_size(note, renderer) for note in notes]
    page = _Page(pixel, points, reaching[:, 2] * pixel, ink, frame)
    places = [
        _Place(anchor, label.reach * pixel, size, page)
        for label, anchor, size in zip(labels, anchors, sizes, strict=True)
    ]
    boxes: list[np.ndarray | None] = [None] * len(labels)
    order = sorted(range(len(labels)), key=lambda i: labels[i].rank)
    for _ in range(passes):
        for i in order:
            others = [box for j, box in enumerate(boxes) if j != i and box is not None]
            boxes[i] = places[i].best(others)
    kept: list[Annotation] = []
    taken: list[np.ndarray] = []
    for i in order:
        box = boxes[i]
        if box is None or any(_overlap(box, other) > 0 for other in taken):
            notes[i].remove()
            continue
        taken.append(box)
        offset = ((box[:2] + box[2:]) / 2 - anchors[i]) / pixel
        notes[i].set_position((float(offset[0]), float(offset[1])))
        gap = max(0.0, float(np.hypot(*offset)) - float(np.hypot(*sizes[i])) / pixel / 2)
        leader = notes[i].arrow_patch
        if gap > _LEADER_FROM and leader is not None:
            leader.set_alpha(0.7)
        kept.append(notes[i])
    return kept


def _size(note: Annotation, renderer: object) -> np.ndarray:
    """Width and height of the words in pixels, with a little air around them."""
    # The words alone: an annotation's own extent includes its leader line.
    bbox = Text.get_window_extent(note, renderer)  # type: ignore[arg-type]
    return np.array([bbox.width + 3.0, bbox.height + 2.0])


def _sample(line: np.ndarray, step: float) -> np.ndarray:
    """Points on a polyline (pixels), ``step`` apart; NaN points are left out."""
    line = line[np.isfinite(line).all(axis=1)]
    parts = [line]
    for start, end in pairwise(line):
        count = max(2, int(np.hypot(*(end - start)) / step))
        parts.append(start + np.linspace(0, 1, count)[:, None] * (end - start))
    return np.concatenate(parts)


def _thinned(labels: Sequence[PointLabel]) -> list[PointLabel]:
    """At most `MOST_LABELS`: those of lowest rank, and among equals some evenly chosen."""
    kept: list[PointLabel] = []
    for _, equals in groupby(sorted(labels, key=lambda label: label.rank), lambda one: one.rank):
        group = list(equals)
        room = min(MOST_LABELS - len(kept), len(group))
        kept += [group[i] for i in np.linspace(0, len(group) - 1, room).round().astype(int)]
    return kept


@dataclass(frozen=True, eq=False)
class _Page:
    """The drawn page in pixels: the points with the reach of their marks, all ink, the axes."""

    pixel: float
    points: np.ndarray
    reaches: np.ndarray
    ink: np.ndarray
    frame: np.ndarray


class _Place:
    """The boxes that one label could take, with what each costs whatever other labels do."""

    def __init__(self, anchor: np.ndarray, own: float, size: np.ndarray, page: _Page) -> None:
        span = own + _RADII[-1] * page.pixel + 2 * float(size.max())
        ink = page.ink[(np.abs(page.ink - anchor) <= span).all(axis=1)]
        far = span + float(page.reaches.max())
        near = (np.abs(page.points - anchor) <= far).all(axis=1)
        points, reaches = page.points[near], page.reaches[near]
        self.boxes: list[tuple[float, np.ndarray]] = []
        for radius in _RADII:
            for angle in _ANGLES:
                way = np.array([math.cos(angle), math.sin(angle)])
                centre = anchor + way * (own + radius * page.pixel + np.abs(way) @ size / 2)
                box = np.concatenate([centre - size / 2, centre + size / 2])
                outside = np.maximum(page.frame[:2] - box[:2], 0).sum()
                outside += np.maximum(box[2:] - page.frame[2:], 0).sum()
                cost = radius * 0.5 + 20.0 * float(outside)
                cost += 6.0 * _inside(box, ink) + 60.0 * _touching(box, points, reaches)
                self.boxes.append((cost, box))

    def best(self, others: Sequence[np.ndarray]) -> np.ndarray:
        """The cheapest box, where an overlap with another label costs too."""
        best, best_cost = self.boxes[0][1], math.inf
        for cost, box in self.boxes:
            if cost < best_cost:
                cost += 50.0 * sum(_overlap(box, other) > 0 for other in others)
                if cost < best_cost:
                    best, best_cost = box, cost
        return best


def _touching(box: np.ndarray, points: np.ndarray, reaches: np.ndarray) -> int:
    """How many of the discs round the points reach into the box."""
    gap = points - np.clip(points, box[:2], box[2:])
    return int((np.hypot(gap[:, 0], gap[:, 1]) < reaches).sum())


def _inside(box: np.ndarray, points: np.ndarray) -> int:
    """How many of the points lie inside the box."""
    return int(((points >= box[:2]) & (points <= box[2:])).all(axis=1).sum())


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared area of two boxes (x0, y0, x1, y1)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return float(max(width, 0.0) * max(height, 0.0))
