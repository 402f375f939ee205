"""One-to-one matching of the pixels of two edge maps, as in the Berkeley segmentation benchmark.

Each pixel of one map may be paired with one pixel of the other that lies within the tolerance; the
largest number of such pairs is a maximum matching of a bipartite graph (Martin, Fowlkes and Malik
2004, "Learning to detect natural image boundaries using local brightness, color, and texture
cues"; their program, correspondPixels, also makes the pairs short, which changes no score).

The pairs are found exactly. Nearest pixels are paired first: pixels one fixed step apart never
compete for one another, so each step pairs a whole map at once. The few that are left over grow
trees of alternating paths, all at the same time, until each tree reaches a pixel without a partner
or nothing more can be reached (Azad, Buluç and Pothen 2015, "A parallel tree grafting algorithm for
maximum cardinality matching in bipartite graphs", IPDPS).

A pixel may reach hundreds of others, and looking at all of them time and again is what would take
long. So trees first grow through a sample of them, which finds nearly every pair; only the last
trees, which find the rest and prove that there are no more, grow through all. What lies within
reach of a pixel are a few ranges of the other map's pixels, one in each row of the disc around it,
which spares looking at every place of the disc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 21
_STEPS = 128
"""How many steps pair the nearest. The further ones pair few, and the trees find those anyway."""
_SAMPLE = 24
"""How many of the pixels within reach the trees grow through at first."""

_Index = NDArray[np.int32]
_Near = Callable[[_Index, NDArray[np.bool_]], tuple[_Index, _Index]]


def matched_pixels(a: NDArray[np.bool_], b: NDArray[np.bool_], tolerance: float) -> int:
    """The largest number of pairs of a pixel of `a` and one of `b` (bool H×W both).

    No pixel is in two pairs, and the two of a pair are at most `tolerance` pixels apart (Euclidean,
    0 or more). The order of the maps does not matter. Time grows with the number of edge pixels
    times the tolerance.
    """
    graph = _Graph(*((a, b) if np.count_nonzero(a) <= np.count_nonzero(b) else (b, a)), tolerance)
    graph.pair_nearest()
    if len(graph.steps) > _SAMPLE:
        sample = graph.sample()
        graph.lengthen(partial(_sampled, sample[:, ::2]))
        graph.lengthen(partial(_sampled, sample))
    graph.lengthen(graph.near)
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
        row, column = np.nonzero(a)
        self._places = ((row + reach) * width + column + reach).astype(np.int32)
        flat = np.pad(b, reach).ravel()
        there = np.flatnonzero(flat)
        self._numbers = np.full(flat.size, len(there), np.int32)
        self._numbers[there] = np.arange(len(there))
        self._before = np.zeros(flat.size + 1, np.int32)
        np.cumsum(flat, out=self._before[1:])
        self._sizes = (len(self._places), len(there))
        self.mate = [self._blank(side) for side in (0, 1)]

    def _blank(self, side: int) -> _Index:
        values = np.full(self._sizes[side] + 1, -1, np.int32)
        values[-1] = np.iinfo(np.int32).max
        return values

    def pair_nearest(self) -> None:
        """Pairs pixels, the nearest first."""
        free = np.arange(self._sizes[0], dtype=np.int32)
        for step in self.steps[:_STEPS]:
            to = self._numbers[self._places[free] + step]
            hit = self.mate[1][to] < 0
            self._pair(free[hit], to[hit])
            free = free[~hit]

    def _pair(self, ours: _Index, theirs: _Index) -> None:
        self.mate[0][ours] = theirs
        self.mate[1][theirs] = ours

    def _rows_of(self, pixels: _Index) -> Iterator[tuple[_Index, _Index, _Index]]:
        """Some of these pixels of side 0 at a time, and side 1's within reach of each of them: in
        each row of the disc those from `first` up to `last` (excluded), n×rows both."""
        size = max(1, _BLOCK // self._rows.shape[1])
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            places = self._places[part][:, None]
            first, last = (self._before[places + ends] for ends in self._rows)
            yield part, first, last

    def sample(self) -> _Index:
        """For each pixel of side 0 some of side 1 within its reach, n×_SAMPLE.

        They are spread evenly over all in reach, from another beginning for each pixel. Where
        fewer are in reach some come twice; where none is, the number of no pixel stands.
        """
        found = [np.empty((0, _SAMPLE), np.int32)]
        for part, first, last in self._rows_of(np.arange(self._sizes[0], dtype=np.int32)):
            ends = np.cumsum(last - first)
            count = np.diff(ends[len(self._rows[0]) - 1 :: len(self._rows[0])], prepend=0)[:, None]
            begin = part.astype(np.uint32) * np.uint32(2654435769) / 2**32  # Fibonacci hashing
            share = (np.arange(_SAMPLE) + begin[:, None]) / _SAMPLE
            nth = np.cumsum(count)[:, None] - count + (share * count).astype(np.int64)
            row = np.searchsorted(ends, nth, side="right").clip(max=len(ends) - 1)
            theirs = last.ravel()[row] - (ends[row] - nth)
            found.append(np.where(count > 0, theirs, self._sizes[1]).astype(np.int32))
        return np.concatenate(found)

    def near(self, pixels: _Index, wanted: NDArray[np.bool_]) -> tuple[_Index, _Index]:
        """Every pair of one of these pixels of side 0 and a wanted one of side 1 within reach."""
        found = [(pixels[:0], pixels[:0])]
        for part, first, last in self._rows_of(pixels):
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

    def lengthen(self, near: _Near) -> None:
        """Turns alternating paths around, each of which adds a pair, until there are none.

        near: the pairs of pixels that paths go through: of some of side 0 and wanted ones of side
            1; a pair may come twice.

        A path begins at a free pixel of side 0, the root of its tree, and ends at a free one of
        side 1. `tree[side]` holds the root of the tree that a pixel belongs to.
        """
        ours_mate, their_mate = self.mate
        tree = [self._blank(side) for side in (0, 1)]
        parent, turn, ends = self._blank(1), self._blank(1), self._blank(0)
        front = np.flatnonzero(ours_mate < 0).astype(np.int32)
        tree[0][front] = front
        while True:
            ends[:-1] = -1
            while len(front):
                ours, theirs = near(front, tree[1] < 0)
                order = np.arange(len(theirs), dtype=np.int32)
                turn[theirs] = order
                once = turn[theirs] == order
                ours, theirs = ours[once], theirs[once]
                roots, partners = tree[0][ours], their_mate[theirs]
                parent[theirs] = ours
                tree[1][theirs] = roots
                free = partners < 0
                ends[roots[free]] = theirs[free]
                grows = ~free & (ends[roots] < 0)
                front = partners[grows]
                tree[0][front] = roots[grows]
            path = ends[:-1][ends[:-1] >= 0]
            if not len(path):
                return
            while len(path):
                ours = parent[path]
                before = ours_mate[ours]
                self._pair(ours, path)
                path = before[before >= 0]
            # Trees that found an end are taken down; the others go on where they stood beside them.
            for roots in tree:
                grown = np.flatnonzero(roots[:-1] >= 0).astype(np.int32)
                roots[grown[ends[roots[grown]] >= 0]] = -1
            front = np.flatnonzero(tree[0][:-1] >= 0).astype(np.int32)


def _sampled(sample: _Index, pixels: _Index, wanted: NDArray[np.bool_]) -> tuple[_Index, _Index]:
    """Every pair of one of these pixels and a wanted one in its row of the sample."""
    theirs = sample[pixels]
    kept = wanted[theirs]
    return np.repeat(pixels, np.count_nonzero(kept, axis=1)), theirs[kept]
