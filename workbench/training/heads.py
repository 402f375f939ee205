"""What the judge reads in the training scenes, kept on disk: one pass for all control types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from workbench.controls import ControlSettings
    from workbench.families.judge import Judge

_CHUNK = 96
_TYPES: dict[str, Any] = {
    "depth": np.float16,
    "edges": np.float16,
    "normal": np.float16,
    "segmentation": np.uint8,
    "pose": np.float32,
}


def judge_heads(work_dir: Path, judge: Judge, rgb: np.ndarray) -> dict[str, np.ndarray]:
    """All heads' readings of the pictures, memory-mapped: head -> array (N, ...).

    Made once per picture set and judge; half-made files are made anew.
    """
    folder = work_dir / f"heads-{fingerprint(judge, rgb)}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        stores: dict[str, np.memmap[Any, Any]] = {}
        for start in range(0, len(rgb), _CHUNK):
            part = rgb[start : start + _CHUNK]
            for name, read in judge.read(part).items():
                if name not in stores:
                    stores[name] = np.lib.format.open_memmap(
                        folder / f"{name}.npy",
                        mode="w+",
                        dtype=_TYPES[name],
                        shape=(len(rgb), *read.shape[1:]),
                    )
                stores[name][start : start + len(part)] = read
        for store in stores.values():
            store.flush()
        (folder / "complete").touch()
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _TYPES}


def map_settings(control: str) -> ControlSettings:
    """The extractor's settings for the maps of the embedded family: those its studies get."""
    from workbench.controls import get_control
    from workbench.families import get_family

    found: ControlSettings = get_control(control).settings(
        get_family("paperdoll").settings_for(control)
    )
    return found


def stored_networks(
    heads: Mapping[str, np.ndarray], start: int
) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    """Stand-ins for the judge's networks that look up the pictures from ``start`` on."""

    def lookup(name: str) -> Callable[[np.ndarray], np.ndarray]:
        def read(rgb: np.ndarray) -> np.ndarray:
            found = np.array(heads[name][start : start + len(rgb)])
            return found.astype(np.float32) if found.dtype == np.float16 else found

        return read

    return {name: lookup(name) for name in heads}


def fingerprint(judge: Judge | None, rgb: np.ndarray, settings: str = "") -> str:
    """Names what is read in pictures: who reads (None: no network), by which settings, in which."""
    import hashlib

    digest = hashlib.sha256(f"{rgb.shape}{settings}".encode())
    digest.update(np.ascontiguousarray(rgb[:2]).tobytes())
    for tensor in judge.state_dict().values() if judge is not None else ():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
