"""A small memory that forgets what was not used for longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps the entries that were used last: `capacity` of them, or as many as fit in `most_bytes`.

    Bytes are those of tensors and arrays, alone or in tuples. The newest entry is kept even where
    it is too large alone. For one thread. Raises ValueError for a capacity below 1.
    """

    def __init__(self, capacity: int, most_bytes: int | None = None) -> None:
        if capacity < 1:
            raise ValueError("a cache must hold at least one entry")
        self.capacity = capacity
        self.most_bytes = most_bytes
        self.bytes = 0
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value kept under the key, or None."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value, and forget the oldest ones where there is no more room."""
        if key in self._entries:
            self.bytes -= _size(self._entries.pop(key))
        self._entries[key] = value
        self.bytes += _size(value)
        while len(self._entries) > 1 and self._is_full():
            self.bytes -= _size(self._entries.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def _is_full(self) -> bool:
        too_large = self.most_bytes is not None and self.bytes > self.most_bytes
        return too_large or len(self._entries) > self.capacity


def _size(value: Any) -> int:
    if isinstance(value, tuple | list):
        return sum(_size(part) for part in value)
    return int(getattr(value, "nbytes", 0))
