"""A z-buffer canvas on which primitives leave colour, distance, normal and class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LIGHT = np.array([-0.45, -0.60, 0.66], np.float32)
"""Direction towards the light: from the upper left, in front of the picture."""

Point = Sequence[float] | np.ndarray
Box = tuple[int, int, int, int]


class Canvas:
    """Square picture of ``side`` pixels; coordinates in picture sides, x right, y down.

    Distances ``z`` are in world units from the camera; ``RELIEF`` world units make one picture
    side of an object's thickness. Normals follow the usual camera convention (x right, y up,
    z towards the viewer).
    """

    RELIEF = 3.0

    def __init__(self, side: int) -> None:
        self.side = side
        self.rgb = np.zeros((side, side, 3), np.float32)
        self.z = np.full((side, side), np.inf, np.float32)
        self.normal = np.zeros((side, side, 3), np.float32)
        self.label = np.zeros((side, side), np.uint8)
        self._axis = (np.arange(side, dtype=np.float32) + 0.5) / side

    def grid(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Open x (1, w) and y (h, 1) coordinates of the pixel centres in a box."""
        x0, x1, y0, y1 = box
        return self._axis[None, x0:x1], self._axis[y0:y1, None]

    def box(self, low: Point, high: Point) -> Box:
        """The pixel box (x0, x1, y0, y1) around two corners, cut to the picture."""
        x0, y0 = (int(np.clip(v * self.side - 1, 0, self.side)) for v in low)
        x1, y1 = (int(np.clip(v * self.side + 2, 0, self.side)) for v in high)
        return x0, max(x1, x0), y0, max(y1, y0)

    def put(
        self,
        box: Box,
        mask: np.ndarray,
        z: np.ndarray | float,
        normal: np.ndarray | Point,
        colour: np.ndarray | Point,
        label: int,
        *,
        lit: bool = True,
    ) -> None:
        """Paint where ``mask`` is set and nothing nearer stands; ``lit`` shades by the normal."""
        x0, x1, y0, y1 = box
        seen = mask & (z < self.z[y0:y1, x0:x1])
        if not seen.any():
            return
        rows, cols = np.nonzero(seen)
        shape = seen.shape
        n = np.broadcast_to(np.asarray(normal, np.float32), (*shape, 3))[rows, cols]
        c = np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3))[rows, cols]
        if lit:
            facing = np.array([1.0, -1.0, 1.0], np.float32) * LIGHT
            c = np.minimum(c * (0.62 + 0.46 * np.maximum(n @ facing, 0.0))[:, None], 1.0)
        rows, cols = rows + y0, cols + x0
        self.rgb[rows, cols] = c
        self.z[rows, cols] = np.broadcast_to(np.asarray(z, np.float32), shape)[seen]
        self.normal[rows, cols] = n
        self.label[rows, cols] = label

    def ellipsoid(
        self,
        centre: Point,
        radii: tuple[float, float],
        z: float,
        colour: Point,
        label: int,
        *,
        cap: tuple[float, float] | None = None,
        lit: bool = True,
    ) -> None:
        """An ellipsoid centred at depth ``z``.

        ``cap`` keeps only the part above its first figure, a y, or farther from the centre line
        than its second: hair which leaves the face free.
        """
        (cx, cy), (rx, ry) = centre, radii
        box = self.box((cx - rx, cy - ry), (cx + rx, cy + ry))
        x, y = self.grid(box)
        u, v = (x - cx) / rx, (y - cy) / ry
        rest = 1.0 - u * u - v * v
        mask = rest > 0
        if cap is not None:
            mask &= (y < cap[0]) | (np.abs(x - cx) > cap[1])
        bulge = np.sqrt(np.maximum(rest, 0.0))
        z_front = z - self.RELIEF * min(rx, ry) * bulge
        self.put(box, mask, z_front, _unit(u, -v, bulge), colour, label, lit=lit)

    def disc(self, centre: Point, radius: float, z: float, colour: Point, label: int) -> None:
        """A flat disc that faces the viewer and shines by itself."""
        (cx, cy) = centre
        box = self.box((cx - radius, cy - radius), (cx + radius, cy + radius))
        x, y = self.grid(box)
        u, v = (x - cx) / radius, (y - cy) / radius
        self.put(box, 1.0 - u * u - v * v > 0, z, (0.0, 0.0, 1.0), colour, label, lit=False)

    def capsule(
        self, a: Point, b: Point, ra: float, rb: float, z: float, colour: Point, label: int
    ) -> None:
        """A tapering limb from ``a`` (radius ``ra``) to ``b`` (radius ``rb``) at depth ``z``."""
        a, b = np.asarray(a), np.asarray(b)
        r = max(ra, rb)
        box = self.box(np.minimum(a, b) - r, np.maximum(a, b) + r)
        x, y = self.grid(box)
        px, py = x - a[0], y - a[1]
        d = b - a
        t = np.clip((px * d[0] + py * d[1]) / (float(d @ d) + 1e-9), 0.0, 1.0)
        qx, qy = px - t * d[0], py - t * d[1]
        radius = ra + (rb - ra) * t
        rest = 1.0 - (qx * qx + qy * qy) / (radius * radius)
        bulge = np.sqrt(np.maximum(rest, 0.0))
        normal = _unit(qx / radius, -qy / radius, bulge)
        self.put(box, rest > 0, z - self.RELIEF * radius * bulge, normal, colour, label)

    def polygon(
        self,
        points: Sequence[Point],
        z: float,
        normal: Point,
        colour: Point,
        label: int,
        *,
        lit: bool = True,
    ) -> None:
        """A flat convex polygon, its corners clockwise as seen on the screen."""
        corners = np.asarray(points, np.float32)
        box = self.box(corners.min(0), corners.max(0))
        x, y = self.grid(box)
        mask = np.ones(np.broadcast_shapes(x.shape, y.shape), bool)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, 0), strict=True):
            mask &= ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) >= 0
        self.put(box, mask, z, normal, colour, label, lit=lit)

    def blend(self, box: Box, alpha: np.ndarray, colour: Point) -> None:
        """Mix a colour over the picture (flakes, rain): no distance, no class."""
        x0, x1, y0, y1 = box
        a = alpha[..., None].astype(np.float32)
        self.rgb[y0:y1, x0:x1] += a * (np.asarray(colour, np.float32) - self.rgb[y0:y1, x0:x1])


def _unit(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    vectors = np.stack(np.broadcast_arrays(x, y, z), -1).astype(np.float32)
    length = np.sqrt((vectors * vectors).sum(-1, keepdims=True))
    return np.asarray(vectors / np.maximum(length, 1e-6))
