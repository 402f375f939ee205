"""Protects: what is kept on a device stays within its bytes, and what is in use stays."""

import torch

from workbench.families.manager import ModelManager, TensorCache


def tensor(size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.uint8)


def test_the_entry_unused_for_longest_goes_first() -> None:
    """A count of control maps means megabytes for one family and gigabytes for another."""
    cache = TensorCache(100)
    cache["a"], cache["b"] = (tensor(20), tensor(20)), tensor(40)
    assert cache.get("a") is not None
    cache["c"] = tensor(40)
    assert set(cache) == {"a", "c"} and cache.currsize == 80
    cache["a"] = tensor(10)
    assert (len(cache), cache.currsize) == (2, 50)


def test_what_is_too_large_alone_is_not_kept() -> None:
    cache = TensorCache(100)
    cache["a"] = tensor(40)
    cache["b"] = tensor(101)
    assert set(cache) == {"a"}
    cache["a"] = tensor(101)
    assert len(cache) == 0 == cache.currsize


def test_the_caches_of_a_manager_are_bounded(manager: ModelManager) -> None:
    for cache in (manager.prompt_cache, manager.latent_cache, manager.hint_cache("depth")):
        assert 0 < cache.maxsize <= 256_000_000
