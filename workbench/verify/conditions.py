"""Under which conditions a run was made, under which it is verified, and what may explain what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.versions import FIGURES

_PIXELS = set(FIGURES) - {"controlnet-workbench"}
"""Packages that take part in pixels and readings; what this program did is told by its commit."""


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name of a condition -> (then, now) for all that differ. What was not recorded is left out."""
    found: dict[str, tuple[str, str]] = {}
    for name in ("device", "dtype", "python", "platform", "cpu_count"):
        _compare(found, name, then.get(name), now.get(name))
    for part in ("deterministic", "versions"):
        old, new = then.get(part) or {}, now.get(part) or {}
        for name in old:
            _compare(found, name, old[name], new.get(name, "not installed"))
    old, new = then.get("git"), now.get("git")
    if old and new:
        _compare(found, "source code", _commit(old), _commit(new))
    return found


def explanation(
    found: Mapping[str, tuple[str, str]], weights: tuple[str, ...] = (), otherwise: str = ""
) -> str:
    """Why figures may differ, in a clause.

    Args:
        found: from `changes`.
        weights: names of the weight files that are not those of the run.
        otherwise: what it must be where nothing that decides pixels has changed. Things that
            hardly do (Python, the commit of this program) are then named beside it.
    """
    parts = []
    if weights:
        shown = ", ".join(weights[:2]) + (" …" if len(weights) > 2 else "")
        parts.append(f"the weights have changed ({shown})")
    parts += [_was(found, name) for name in found if name in _PIXELS or name in _SWITCHES]
    if parts:
        return "; ".join(parts[:4])
    weak = [_was(found, name) for name in _WEAK if name in found]
    return "; or ".join([otherwise, *weak] if otherwise else weak)


def _was(found: Mapping[str, tuple[str, str]], name: str) -> str:
    return f"{name} was {found[name][0]} and is {found[name][1]}"


_WEAK = ("platform", "cpu_count", "python", "source code")
_SWITCHES = {
    "device",
    "dtype",
    "threads",
    "deterministic_algorithms",
    "cudnn_deterministic",
    "cudnn_benchmark",
    "cudnn_tf32",
    "matmul_tf32",
    "float32_matmul_precision",
    "cublas_workspace",
}


def _compare(found: dict[str, tuple[str, str]], name: str, old: Any, new: Any) -> None:
    if old is not None and old != new:
        found[name] = (str(old), str(new))


def _commit(state: Mapping[str, Any]) -> str:
    dirty = " with changes" if state.get("dirty") else ""
    return f"{str(state.get('commit', ''))[:10]}{dirty}"
