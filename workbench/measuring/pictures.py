"""The pictures behind chance and ceiling, made when first asked for.

The embedded world renders them; every other family uses the study's own sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from workbench.measuring.judges import Judges
from workbench.study import SourceImage

AGAIN = "again:"
POOL_SEEDS = range(910_000, 910_016)
"""Unrelated scenes of the embedded world; training and audit use other seeds."""
CEILING_SEEDS = range(920_000, 920_008)
"""Poses and scenery of the scenes that are rendered to have a prompt's tags."""


class ReferencePictures:
    """Unrelated pictures, round-tripped sources, and pictures that have a prompt's tags.

    All pictures are uint8 size×size×3 and went once through the VAE, as every sample does.
    """

    def __init__(self, sources: Mapping[str, SourceImage], judges: Judges) -> None:
        self._sources = {source.sha256: source.image for source in sources.values()}
        self._drawn = {source.sha256 for source in sources.values() if source.is_map}
        self._judges = judges
        self.rendered = judges.family.world == "paperdoll"
        self._scenes: dict[tuple[str, ...], list[np.ndarray]] = {}
        self._twice: dict[str, np.ndarray] = {}

    def pool_name(self, source_sha256: str) -> list[str]:
        """What decides the pool, for a cache key; equal names mean equal pictures."""
        if self.rendered:
            return [f"paperdoll:{POOL_SEEDS.start}-{POOL_SEEDS.stop}"]
        return sorted(sha for sha in self._sources if sha != source_sha256)

    def pool_ids(self, source_sha256: str, *, maps: bool = False) -> list[str]:
        """Names of the pictures unrelated to a source; empty if there are none.

        With `maps` also those of sources that are drawn maps, of which there is no picture.
        """
        if self.rendered:
            return [f"paperdoll:{seed}" for seed in POOL_SEEDS]
        return [sha for sha in self.pool_name(source_sha256) if maps or sha not in self._drawn]

    def picture(self, name: str) -> np.ndarray:
        """An unrelated picture by its name, or a source by its hash, with `AGAIN` before it twice
        round-tripped."""
        if name.startswith(AGAIN):
            return self.source_again(name.removeprefix(AGAIN))
        return self._world[name] if name.startswith("paperdoll:") else self._round_tripped[name]

    def source(self, source_sha256: str) -> np.ndarray:
        """A source pushed once through the VAE."""
        return self._round_tripped[source_sha256]

    def source_again(self, source_sha256: str) -> np.ndarray:
        """A source pushed twice through the VAE."""
        if source_sha256 not in self._twice:
            once = self._round_tripped[source_sha256]
            self._twice[source_sha256] = self._judges.vae_roundtrip([once])[0]
        return self._twice[source_sha256]

    def scenes_with(self, tags: Sequence[str]) -> list[np.ndarray]:
        """Scenes rendered to have these tags; words the world does not know are left out."""
        key = tuple(tags)
        if key not in self._scenes:
            from workbench.paperdoll import scene_for_tags

            self._scenes[key] = self._render([scene_for_tags(key, s) for s in CEILING_SEEDS])
        return self._scenes[key]

    @cached_property
    def _round_tripped(self) -> dict[str, np.ndarray]:
        names = [name for name in self._sources if name not in self._drawn]
        pictures = self._judges.vae_roundtrip([self._sources[name] for name in names])
        return dict(zip(names, pictures, strict=True))

    @cached_property
    def _world(self) -> dict[str, np.ndarray]:
        from workbench.paperdoll import sample_scene

        pictures = self._render([sample_scene(seed) for seed in POOL_SEEDS])
        return {f"paperdoll:{s}": image for s, image in zip(POOL_SEEDS, pictures, strict=True)}

    def _render(self, scenes: Sequence[object]) -> list[np.ndarray]:
        from workbench.images import fit_image
        from workbench.paperdoll import Scene, render

        size = self._judges.family.resolution
        pictures = [fit_image(render(s).rgb, size) for s in scenes if isinstance(s, Scene)]
        return self._judges.vae_roundtrip(pictures)
