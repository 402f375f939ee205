"""One-to-one matching of the pixels of two edge maps, as in the Berkeley segmentation benchmark.

Each pixel of one map may be paired with one pixel of the other that lies within the tolerance; the
largest number of such pairs is a maximum matching of a bipartite graph (Martin, Fowlkes and Malik
2004, "Learning to detect natural image boundaries using local brightness, color, and texture
cues"; their program, correspondPixels, also makes the pairs short, which changes no score).

The pairs are found exactly. Nearest pixels are paired first: pixels one fixed step apart never
compete for one another, so each step pairs a whole map at once. The few that are left over grow
trees of alternating paths, all at the same time, until each tree reaches a pixel without a partner
or nothing more can be reached (Azad, Buluç and Pothen 2015, "A parallel tree grafting algorithm for
maximum cardinality matching in bipartite graphs", IPDPS). What lies within reach of a pixel are a
few ranges of the other map's pixels, one in each row of the disc around it, which spares looking at
every place of the disc.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 21
_Index = NDArray[np.int32]


def matched_pixels(a: NDArray[np.bool_], b: NDArray[np.bool_], tolerance: float) -> int:
    """The largest number of pairs of a pixel of `a` and one of `b` (bool H×W both).

    No pixel is in two pairs, and the two of a pair are at most `tolerance` pixels apart (Euclidean,
    0 or more). The order of the maps does not matter. Time grows with the number of edge pixels
    times the square of the tolerance.
    """
    graph = _Graph(*((a, b) if np.count_nonzero(a) <= np.count_nonzero(b) else (b, a)), tolerance)
    free = graph.pair_nearest()
    graph.lengthen(free)
    return int(np.count_nonzero(graph.mate[0][:-1] >= 0))


class _Graph:
    """Two edge maps whose pixels are numbered along the rows, and who is whose partner.

    Side 0 is the smaller map. `mate[side]` holds the partner's number or -1 for each pixel, and one
    entry more, for places without a pixel, which counts as taken.
    """

    def __init__(self, a: NDArray[np.bool_], b: NDArray[np.bool_], tolerance: float) -> None:
        reach = int(min(tolerance, max(a.shape)))
        steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
        squares = (steps * steps).sum(0)
        order = np.argsort(squares, kind="stable")[: np.sum(squares <= tolerance**2 + 1e-9)]
        width = a.shape[1] + 2 * reach
        self.steps = (steps[0] * width + steps[1])[order].astype(np.int32)
        rows = np.arange(-reach, reach + 1)
        wide = np.sqrt(tolerance**2 + 1e-9 - rows * rows).astype(np.int32).clip(max=reach)
        self._rows = (rows * width + np.stack([-wide, wide + 1])).astype(np.int32)
        self._before: list[_Index] = []
        self.places: list[_Index] = []
        self.numbers: list[_Index] = []
        for edges in (a, b):
            flat = np.pad(edges, reach).ravel()
            places = np.flatnonzero(flat).astype(np.int32)
            numbers = np.full(flat.size, len(places), np.int32)
            numbers[places] = np.arange(len(places))
            self._before.append(np.append(0, np.cumsum(flat)).astype(np.int32))
            self.places.append(places)
            self.numbers.append(numbers)
        self.mate = [self._blank(side) for side in (0, 1)]

    def _blank(self, side: int) -> _Index:
        values = np.full(len(self.places[side]) + 1, -1, np.int32)
        values[-1] = np.iinfo(np.int32).max
        return values

    def pair_nearest(self) -> _Index:
        """Pairs pixels, the nearest first; returns those of side 0 that are left without, but for
        those with nothing in reach."""
        everyone = np.arange(len(self.places[0]), dtype=np.int32)
        reaching = [
            part[(first < last).any(axis=1)] for part, first, last in self._rows_of(0, everyone)
        ]
        free = np.concatenate([everyone[:0], *reaching])
        for step in self.steps:
            to = self.numbers[1][self.places[0][free] + step]
            hit = self.mate[1][to] < 0
            self._pair(free[hit], to[hit])
            free = free[~hit]
        return free

    def _pair(self, ours: _Index, theirs: _Index) -> None:
        self.mate[0][ours] = theirs
        self.mate[1][theirs] = ours

    def _rows_of(self, side: int, pixels: _Index) -> Iterator[tuple[_Index, _Index, _Index]]:
        """Some of these pixels at a time, and the other side's within reach of each of them: in
        each row of the disc those from `first` up to `last` (excluded), n×rows both."""
        size = max(1, _BLOCK // self._rows.shape[1])
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            places = self.places[side][part][:, None]
            first, last = (self._before[1 - side][places + ends] for ends in self._rows)
            yield part, first, last

    def _near(self, side: int, pixels: _Index, wanted: NDArray[np.bool_]) -> tuple[_Index, _Index]:
        """Every pair of one of these pixels and a wanted one of the other side within reach."""
        found = [(pixels[:0], pixels[:0])]
        for part, first, last in self._rows_of(side, pixels):
            count = last - first
            wide = int(count.sum()) > len(wanted)  # then look among the wanted ones alone
            if wide:
                before = np.append(0, np.cumsum(wanted[:-1])).astype(np.int32)
                first = before[first]
                count = before[last] - first
            rows = np.flatnonzero(count)
            each, start = count.ravel()[rows], first.ravel()[rows]
            ends = np.cumsum(each, dtype=np.int32)
            ours = np.repeat(part[rows // count.shape[1]], each)
            theirs = np.arange(len(ours), dtype=np.int32) + np.repeat(start - (ends - each), each)
            if wide:
                found.append((ours, np.flatnonzero(wanted[:-1]).astype(np.int32)[theirs]))
            else:
                kept = wanted[theirs]
                found.append((ours[kept], theirs[kept]))
        ours, theirs = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return ours, theirs

    def lengthen(self, free: _Index) -> None:
        """Turns alternating paths around, each of which adds a pair, until there are none.

        A path begins at a free pixel of side 0, the root of its tree, and ends at a free one of
        side 1. `tree[side]` holds the root of the tree that a pixel belongs to.
        """
        tree = [self._blank(side) for side in (0, 1)]
        tree[0][free] = free
        parent, ends = self._blank(1), self._blank(0)
        ours, theirs = self._near(0, free, tree[1] < 0)
        while True:
            ends[:-1] = -1
            while len(theirs):
                parent[theirs] = ours
                once = parent[theirs] == ours
                theirs = theirs[once]
                tree[1][theirs] = tree[0][ours[once]]
                last = self.mate[1][theirs] < 0
                ends[tree[1][theirs[last]]] = theirs[last]
                theirs = theirs[~last]
                front = self.mate[1][theirs]
                tree[0][front] = tree[1][theirs]
                ours, theirs = self._near(0, front[ends[tree[0][front]] < 0], tree[1] < 0)
            path = ends[:-1][ends[:-1] >= 0]
            if not len(path):
                return
            while len(path):
                ours = parent[path]
                before = self.mate[0][ours]
                self._pair(ours, path)
                path = before[before >= 0]
            # Trees that found an end are taken down; the others go on where they stood beside them.
            down = []
            for roots in tree:
                grown = np.flatnonzero(roots[:-1] >= 0).astype(np.int32)
                down.append(grown[ends[roots[grown]] >= 0])
                roots[down[-1]] = -1
            standing = tree[0] >= 0
            standing[-1] = False
            theirs, ours = self._near(1, down[1], standing)
