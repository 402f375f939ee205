"""Protects: caches stay small and keep what is in use."""

import numpy as np
import pytest

from workbench.families.loading import ModelManager
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


def test_bytes_bound_it_where_entries_are_large() -> None:
    """A count of control maps means megabytes for one family and gigabytes for another."""
    cache: LruCache[str, tuple[np.ndarray, ...]] = LruCache(100, most_bytes=100)
    for key in "abc":
        cache.put(key, (np.zeros(20, np.uint8), np.zeros(20, np.uint8)))
    assert ("a" in cache, "b" in cache, "c" in cache, cache.bytes) == (False, True, True, 80)
    cache.put("b", (np.zeros(10, np.uint8),))
    assert (len(cache), cache.bytes) == (2, 50)
    cache.put("large", (np.zeros(500, np.uint8),))
    assert (len(cache), "large" in cache, cache.bytes) == (1, True, 500)
    cache.clear()
    assert cache.bytes == 0


def test_the_caches_on_a_device_are_bounded_by_bytes(manager: ModelManager) -> None:
    for cache in (manager.prompt_cache, manager.latent_cache, manager.hint_cache("depth")):
        assert cache.most_bytes is not None and cache.most_bytes <= 256_000_000
