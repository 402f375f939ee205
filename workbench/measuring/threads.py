"""Reading several large pictures at once: OpenCV, NumPy and PyTorch free the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

THREADS = min(4, os.cpu_count() or 1)
"""So many pictures are read at once."""
LARGE = 256 * 256
"""Pixels of a picture from which on threads are worth it: below, most time is Python's own."""


def at_once(work: Callable[[A], B], items: Iterable[A], pixels: int) -> list[B]:
    """What `work`, which must be pure, makes of each item, in order.

    pixels: of a picture; large ones are read by `THREADS` threads. The first error is raised.
    """
    every = list(items)
    if pixels < LARGE or min(THREADS, len(every)) < 2:
        return [work(item) for item in every]
    with ThreadPoolExecutor(min(THREADS, len(every)), "reading") as pool:
        return list(pool.map(work, every))
