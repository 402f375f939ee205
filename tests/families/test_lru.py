"""Protects: caches stay small and keep what is in use."""

import pytest

from workbench.families.lru import LruCache


def test_the_entry_unused_for_longest_goes_first() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert "b" not in cache
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)


def test_putting_again_replaces_and_refreshes() -> None:
    cache: LruCache[str, int] = LruCache(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, value)
    assert (cache.get("a"), cache.get("b")) == (3, None)
    cache.clear()
    assert len(cache) == 0


def test_it_must_hold_something() -> None:
    with pytest.raises(ValueError, match="at least one"):
        LruCache(0)
