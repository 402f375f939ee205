"""The pixels behind the explorer: samples, sources and control maps of a run, as WebP files."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from workbench.analysis import control_type
from workbench.controls import ControlError, MapKey, Networks, resolve
from workbench.explorer.data import PULL, SO_FAR, Picture
from workbench.images import ImageError, fit_image_to
from workbench.store import RunFolder, StoreError
from workbench.study import SourceImage
from workbench.study.errors import one_line

if TYPE_CHECKING:
    import pandas as pd

    from workbench.families import Family
    from workbench.families.manager import ModelManager

log = logging.getLogger(__name__)

SIDE = 256
"""Pictures are shown at most this large; the full size is asked for by itself."""
QUALITY = 82
BATCH = 8
FEW = 200
"""So many pictures are read back at the most by a small network, which takes 50 ms for each."""


class LocalNetworks:
    """The networks of a model family that lie on this disk; each is loaded when it is first used.

    Args:
        family: the family, or its name; one that is not known has none.
        judges: those the study chose, see `Family.with_judges`.
        models: the models folder.

    `names` are those that are there, `is_small` says whether the family is an embedded one, whose
    networks read a picture in milliseconds.
    """

    def __init__(
        self,
        family: Family | str,
        judges: Mapping[str, str] | None = None,
        models: str | Path | None = None,
    ) -> None:
        from workbench.families import FamilyError, LocateError, get_family
        from workbench.families.locate import locate

        self._models = models
        self._manager: ModelManager | None = None
        self.names: frozenset[str] = frozenset()
        self.is_small = False
        try:
            known = get_family(family) if isinstance(family, str) else family
            self._family = known.with_judges(judges or {})
        except FamilyError as error:
            log.warning("control maps are not read back: %s", error)
            return
        found = set()
        for name, ref in self._family.networks.items():
            with suppress(LocateError):
                if locate(ref, models).folder is not None:
                    found.add(name)
        self.names, self.is_small = frozenset(found), bool(self._family.world)

    def lend(self, needs: Iterable[str]) -> Networks:
        """The networks of these names."""
        if self._manager is None:
            from workbench.families.manager import ModelManager

            self._manager = ModelManager(self._family, models_dir=self._models)
        networks = self._manager.networks()
        return {name: networks[name] for name in needs}


class OnTheWay(Protocol):
    """Who is driving in the pictures of a run, see `influences.Ways`."""

    def values(self, trials: Collection[str]) -> dict[str, Any]: ...
    def pull(self, trial: str, step: int) -> np.ndarray | None: ...
    def so_far(self, trial: str, step: int) -> np.ndarray | None: ...


class RunPictures:
    """The pictures of a run, read when they are asked for. Reads only.

    Args:
        run: the run folder.
        frame: its labelled frame, see `analysis.distinct_controls`.
        networks: make control maps now, of pictures and where a run kept none of its sources; None:
            control types that need a network have none but the kept ones.
        ways: those to the pictures, if anybody looked who is driving.
    """

    def __init__(
        self,
        run: RunFolder,
        frame: pd.DataFrame,
        networks: LocalNetworks | None = None,
        ways: OnTheWay | None = None,
    ) -> None:
        self.run = run
        self.ways = ways
        self.networks = networks
        kinds = frame.drop_duplicates("control")
        texts = kinds["control_settings"] if "control_settings" in kinds else [""] * len(kinds)
        self.settings: Mapping[str, str] = dict(
            zip(kinds["control"].map(str), map(str, texts), strict=True)
        )
        """Control label -> its settings as JSON."""

    @cached_property
    def sources(self) -> Mapping[str, SourceImage]:
        """The sources by label; those that cannot be read are left out, and logged."""
        found: dict[str, SourceImage] = {}
        try:
            for label, entry in self.run.source_entries().items():
                try:
                    found |= self.run.read_sources({label: entry})
                except (StoreError, ImageError) as error:
                    log.warning("the source %s is not shown: %s", one_line(label), error)
        except StoreError as error:
            log.warning("the sources are not shown: %s", error)
        return found

    def readable(self, count: int = 0, *, costly: bool = False) -> list[str]:
        """The control labels whose maps can be read back from pictures.

        Those that need no network, and those whose network is on this disk and small, as long as
        it reads at most `FEW` pictures; with `costly` all of them.

        Args:
            count: how many pictures there are.
        """
        there: frozenset[str] = frozenset()
        if self.networks is not None and (costly or (self.networks.is_small and count <= FEW)):
            there = self.networks.names
        return [label for label in self.settings if self._needs(label) <= there]

    def pixels(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, np.ndarray]]:
        """Each picture that can be had with its pixels, uint8 H×W×3, in any order.

        One that is missing or damaged is left out, with a warning in the log.
        """
        to_make: dict[str, list[Picture]] = {}
        for picture in pictures:
            kind, _, label = picture
            found = self._kept(picture)
            if found is not None:
                yield picture, found
            elif kind in ("wanted", "read"):
                to_make.setdefault(label, []).append(picture)
        for label, mine in to_make.items():
            for start in range(0, len(mine), BATCH):
                yield from self._made(label, mine[start : start + BATCH])

    def files(
        self, pictures: Sequence[Picture], side: int = SIDE, quality: int = QUALITY
    ) -> Iterator[tuple[Picture, bytes]]:
        """As `pixels`, each as a WebP file of at most `side` pixels a side."""
        for picture, pixels in self.pixels(pictures):
            # The colours of a map of who pulls are three numbers each.
            yield picture, webp(pixels, side, quality, lossless=picture[0] == PULL)

    def _kept(self, picture: Picture) -> np.ndarray | None:
        """A picture as the run keeps it."""
        kind, one, label = picture
        if kind in (PULL, SO_FAR):
            if self.ways is None:
                return None
            kept = self.ways.pull if kind == PULL else self.ways.so_far
            return kept(one, int(label))
        if kind == "sample":
            try:
                return self.run.read_sample(one)
            except (StoreError, ImageError) as error:
                log.warning("a picture is not shown: %s", error)
                return None
        source = self.sources.get(one)
        if source is None or kind == "source":
            return None if source is None else source.image
        return self._kept_map(source, label)

    def _kept_map(self, source: SourceImage, label: str) -> np.ndarray | None:
        kind = control_type(label)
        try:
            kept = self.run.read_map(MapKey(source.sha256, kind, self.settings[label]))
        except (StoreError, ImageError) as error:
            log.warning("a kept %s map cannot be read, so it is made anew: %s", kind, error)
            kept = None
        return source.image if kept is None and source.is_map else kept

    def _made(self, label: str, mine: list[Picture]) -> Iterator[tuple[Picture, np.ndarray]]:
        """Control maps made now, of samples or of sources."""
        inputs = [
            self._kept(("sample" if kind == "read" else "source", one, "")) for kind, one, _ in mine
        ]
        there = [
            (key, pixels) for key, pixels in zip(mine, inputs, strict=True) if pixels is not None
        ]
        maps = self._extract(label, [pixels for _, pixels in there])
        yield from zip([key for key, _ in there], maps, strict=False)

    def _extract(self, label: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
        """Control maps of pictures; none, with a warning, where that cannot be."""
        if not pictures:
            return []
        try:
            control, settings = resolve(control_type(label), self.settings[label])
            needs = self._needs(label)
            networks: Networks = self.networks.lend(needs) if needs and self.networks else {}
            return [found.picture for found in control.extract(pictures, settings, networks)]
        except (ControlError, OSError, ValueError, KeyError, ImportError) as error:
            log.warning("no %s maps are shown: %s", label, error)
            return []

    def _needs(self, label: str) -> frozenset[str]:
        try:
            control, settings = resolve(control_type(label), self.settings[label])
        except (ControlError, ValueError):
            return frozenset()
        return frozenset(control.needs_for(settings))


def webp(
    pixels: np.ndarray, side: int = SIDE, quality: int = QUALITY, *, lossless: bool = False
) -> bytes:
    """A picture, uint8 H×W×3, as a WebP file of at most `side` pixels a side."""
    from PIL import Image

    high, wide = pixels.shape[:2]
    if max(high, wide) > side:
        share = side / max(high, wide)
        pixels = fit_image_to(pixels, (max(1, round(high * share)), max(1, round(wide * share))))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, format="WEBP", quality=quality, method=4, lossless=lossless
    )
    return buffer.getvalue()
