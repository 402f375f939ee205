"""The pixels behind the explorer: samples, sources and control maps of a run, as WebP files."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis import control_type
from workbench.controls import ControlError, MapKey, Networks, resolve
from workbench.explorer.data import Picture
from workbench.images import ImageError, fit_image_to
from workbench.store import RunFolder, StoreError
from workbench.study import SourceImage

if TYPE_CHECKING:
    import pandas as pd

    from workbench.families.manager import ModelManager

log = logging.getLogger(__name__)

SIDE = 256
"""Pictures are shown at most this large; the full size is asked for by itself."""
QUALITY = 82
BATCH = 32


class LocalNetworks:
    """The networks of a model family that lie on this disk; each is loaded when it is first used.

    Args:
        family: its name; one that is not known has none.
        judges: those the study chose, see `Family.with_judges`.
        models: the models folder.

    `names` are those that are there, `is_small` says whether the family is an embedded one, whose
    networks read a picture in milliseconds.
    """

    def __init__(
        self, family: str, judges: Mapping[str, str] | None = None, models: str | Path | None = None
    ) -> None:
        from workbench.families import FamilyError, LocateError, get_family
        from workbench.families.locate import locate

        self._models = models
        self._manager: ModelManager | None = None
        self.names: frozenset[str] = frozenset()
        self.is_small = False
        try:
            self._family = get_family(family).with_judges(judges or {})
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


class RunPictures:
    """The pictures of a run, read when they are asked for. Reads only.

    Args:
        run: the run folder.
        frame: its labelled frame, see `analysis.distinct_controls`.
        networks: read control maps back from pictures; None: control types that need one have no
            such maps.
    """

    def __init__(
        self, run: RunFolder, frame: pd.DataFrame, networks: LocalNetworks | None = None
    ) -> None:
        self.run = run
        self._networks = networks
        kinds = frame.drop_duplicates("control")
        texts = kinds["control_settings"] if "control_settings" in kinds else [""] * len(kinds)
        self._settings = dict(zip(kinds["control"].map(str), map(str, texts), strict=True))
        self._sources: Mapping[str, SourceImage] | None = None

    @property
    def sources(self) -> Mapping[str, SourceImage]:
        """The sources by label; none, with a warning in the log, if they cannot be read."""
        if self._sources is None:
            try:
                self._sources = self.run.read_sources()
            except (StoreError, ImageError) as error:
                log.warning("the explorer shows no sources: %s", error)
                self._sources = {}
        return self._sources

    def readable(self) -> list[str]:
        """The control labels whose maps can be read back from pictures."""
        there = self._networks.names if self._networks else frozenset()
        return [label for label in self._settings if self._needs(label) <= there]

    def pixels(self, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, np.ndarray]]:
        """Each picture that can be had with its pixels, uint8 H×W×3, in any order.

        One that is missing or damaged is left out.
        """
        read: dict[str, list[Picture]] = {}
        for picture in pictures:
            kind, one, other = picture
            if kind == "read":
                read.setdefault(other, []).append(picture)
                continue
            found = self._kept(kind, one, other)
            if found is not None:
                yield picture, found
        for label, mine in read.items():
            for start in range(0, len(mine), BATCH):
                yield from self._read_back(label, mine[start : start + BATCH])

    def files(
        self, pictures: Sequence[Picture], side: int = SIDE, quality: int = QUALITY
    ) -> Iterator[tuple[Picture, bytes]]:
        """As `pixels`, each as a WebP file of at most `side` pixels a side."""
        for picture, pixels in self.pixels(pictures):
            yield picture, webp(pixels, side, quality)

    def _kept(self, kind: str, one: str, other: str) -> np.ndarray | None:
        try:
            if kind == "sample":
                return self.run.read_sample(one)
            source = self.sources.get(one)
            if source is None or kind == "source":
                return None if source is None else source.image
            return self._wanted(source, other)
        except (StoreError, ImageError) as error:
            log.warning("the explorer lacks a picture: %s", error)
            return None

    def _wanted(self, source: SourceImage, label: str) -> np.ndarray | None:
        """The map of a source: the kept one, or made anew for a run that kept none."""
        key = MapKey(source.sha256, control_type(label), self._settings[label])
        kept = self.run.read_map(key)
        if kept is None and source.is_map:
            return source.image
        return kept if kept is not None else next(iter(self._extract(label, [source.image])), None)

    def _read_back(self, label: str, mine: list[Picture]) -> Iterator[tuple[Picture, np.ndarray]]:
        samples = [(key, self._kept("sample", key[1], "")) for key in mine]
        there = [(key, pixels) for key, pixels in samples if pixels is not None]
        maps = self._extract(label, [pixels for _, pixels in there])
        yield from zip([key for key, _ in there], maps, strict=False)

    def _extract(self, label: str, pictures: list[np.ndarray]) -> list[np.ndarray]:
        """Control maps made now; none, with a warning, where that cannot be."""
        if not pictures:
            return []
        needs = self._needs(label)
        try:
            control, settings = resolve(control_type(label), self._settings[label])
            networks: Networks = {}
            if needs:
                if self._networks is None:
                    return []
                networks = self._networks.lend(needs)
            return [found.picture for found in control.extract(pictures, settings, networks)]
        except (ControlError, OSError, ValueError, KeyError, ImportError) as error:
            log.warning("the explorer shows no %s maps: %s", label, error)
            return []

    def _needs(self, label: str) -> frozenset[str]:
        try:
            control, settings = resolve(control_type(label), self._settings[label])
        except (ControlError, ValueError):
            return frozenset()
        return frozenset(control.needs_for(settings))


def webp(pixels: np.ndarray, side: int = SIDE, quality: int = QUALITY) -> bytes:
    """A picture, uint8 H×W×3, as a WebP file of at most `side` pixels a side."""
    from PIL import Image

    high, wide = pixels.shape[:2]
    if max(high, wide) > side:
        share = side / max(high, wide)
        pixels = fit_image_to(pixels, (max(1, round(high * share)), max(1, round(wide * share))))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()
