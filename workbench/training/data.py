"""The training set of the Paperdoll world: rendered once, memory-mapped ever after."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.paperdoll import (
    SIDE,
    STYLES,
    TAG_GROUPS,
    Scene,
    draw_in,
    render,
    sample_scene,
)

TRAIN_SEEDS = range(24_000)
"""Scenes the stages may learn from."""
AUDIT_SEEDS = range(800_000, 800_512)
"""Scenes kept for the audit; no stage ever sees them."""

OTHER_STYLES = 0.35
"""Share of the pictures that those who judge pictures of every style see in another style."""

_FORMAT = 1
_CHUNK = 250


@dataclass(frozen=True)
class WorldData:
    """Rendered scenes as arrays; the first axis is the scene.

    Attributes:
        rgb: uint8 (N, 128, 128, 3).
        depth: float16 (N, 128, 128).
        normal: int8 (N, 128, 128, 3), unit vectors times 127.
        segmentation: uint8 (N, 128, 128).
        skeleton: float32 (N, 18, 3).
        tags: uint8 (N, 8), index of the tag within its group.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    segmentation: np.ndarray
    skeleton: np.ndarray
    tags: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb)

    def pictures(self, rows: np.ndarray | slice, style: str = "render") -> np.ndarray:
        """Pictures of some scenes in a drawing style, uint8 (n, 128, 128, 3)."""
        rgb = self.rgb[rows]
        if style == "render":
            return rgb
        return draw_in(style, rgb, self.depth[rows], self.normal[rows], self.segmentation[rows])

    def mixed_pictures(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pictures of some scenes, `OTHER_STYLES` of them in another style than the render's."""
        out = np.array(self.rgb[rows])
        for style in STYLES[1:]:
            chosen = rng.random(len(rows)) < OTHER_STYLES / (len(STYLES) - 1)
            out[chosen] = self.pictures(rows[chosen], style)
        return out

    def words(self, index: int) -> tuple[str, ...]:
        """The eight tags of a scene, in group order."""
        pairs = zip(TAG_GROUPS.values(), self.tags[index], strict=True)
        return tuple(options[k] for options, k in pairs)


_SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "rgb": ((SIDE, SIDE, 3), np.uint8),
    "depth": ((SIDE, SIDE), np.float16),
    "normal": ((SIDE, SIDE, 3), np.int8),
    "segmentation": ((SIDE, SIDE), np.uint8),
    "skeleton": ((18, 3), np.float32),
    "tags": ((len(TAG_GROUPS),), np.uint8),
}


def world_data(folder: Path, seeds: Sequence[int] = TRAIN_SEEDS, *, workers: int = 2) -> WorldData:
    """The rendered scenes of ``seeds``, made in ``folder`` if they are not there yet.

    Where there are more scenes from the same seed on, the first of them are taken. A half-made set
    is made anew: the marker file is written last.
    """
    marker = folder / "complete.json"
    wanted = {"format": _FORMAT, "first": seeds[0], "count": len(seeds)}
    have = json.loads(marker.read_text()) if marker.exists() else {}
    if have | {"count": wanted["count"]} != wanted or have.get("count", 0) < wanted["count"]:
        folder.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        _render_all(folder, seeds, workers)
        marker.write_text(json.dumps(wanted))
    rows = {k: np.load(folder / f"{k}.npy", mmap_mode="r")[: len(seeds)] for k in _SHAPES}
    return WorldData(**rows)


def render_arrays(seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Render scenes in this process into the arrays that `WorldData` describes."""
    out: dict[str, np.ndarray] = {
        name: np.zeros((len(seeds), *shape), dtype) for name, (shape, dtype) in _SHAPES.items()
    }
    for row, seed in enumerate(seeds):
        scene = sample_scene(seed)
        picture = render(scene)
        out["rgb"][row] = picture.rgb
        out["depth"][row] = picture.depth
        out["normal"][row] = np.round(picture.normal * 127)
        out["segmentation"][row] = picture.segmentation
        out["skeleton"][row] = picture.skeleton
        out["tags"][row] = tag_indices(scene)
    return out


def held_pictures(seeds: Sequence[int], style: str = "render") -> np.ndarray:
    """Pictures of scenes in a drawing style, uint8 (N, 128, 128, 3)."""
    a = render_arrays(seeds)
    return draw_in(style, a["rgb"], a["depth"], a["normal"], a["segmentation"])


def tag_indices(scene: Scene) -> list[int]:
    """Each group's tag as its index within the group."""
    pairs = zip(TAG_GROUPS.values(), scene.tags, strict=True)
    return [options.index(tag) for options, tag in pairs]


def _render_all(folder: Path, seeds: Sequence[int], workers: int) -> None:
    arrays = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(len(seeds), *shape)
        )
        for name, (shape, dtype) in _SHAPES.items()
    }
    chunks = [seeds[i : i + _CHUNK] for i in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(min(workers, os.cpu_count() or 1)) as pool:
        for number, part in enumerate(pool.map(render_arrays, chunks)):
            start = number * _CHUNK
            for name, rows in part.items():
                arrays[name][start : start + len(rows)] = rows
    for array in arrays.values():
        array.flush()


def words_of(tags: np.ndarray) -> list[tuple[str, ...]]:
    """Tag indices (N, 8) as words."""
    groups = list(TAG_GROUPS.values())
    return [tuple(g[int(k)] for g, k in zip(groups, row, strict=True)) for row in tags]
