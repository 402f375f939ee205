"""The pictures of a run, laid out for contact sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis import control_type
from workbench.analysis.frames import count_tags
from workbench.controls import LegendEntry, MapKey, resolve
from workbench.explorer import RunPictures, source_name
from workbench.images import ImageError, fit_image_to
from workbench.plots import SheetRow
from workbench.store import RunFolder, StoreError
from workbench.study import SourceImage

if TYPE_CHECKING:
    import pandas as pd

SIDE = 192
"""Pictures are shown at most this large."""
MAX_ROWS = 24
MAX_SCALES = 16
"""More columns than so many are too small to see anything in."""


@dataclass(frozen=True)
class Sheet:
    """One contact sheet: one control (its label, see `analysis.distinct_controls`), one seed.

    left_out: how many rows of the study did not fit. scales_left_out: how many scales; those shown
    are evenly chosen. legend: the colours of its control maps.
    """

    control: str
    seed: int
    rows: tuple[SheetRow, ...]
    scales: tuple[float, ...]
    left_out: int
    scales_left_out: int = 0
    legend: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True, eq=False)
class ShownMap:
    """A control map as large as it is shown, and what its colours mean."""

    picture: np.ndarray
    legend: tuple[LegendEntry, ...] = ()


def control_maps(pictures: RunPictures) -> dict[MapKey, ShownMap]:
    """Control maps of the sources as the run keeps them; no model is loaded for these.

    What a run of an earlier version did not keep is made anew, where its networks are on this disk;
    else it is left out.
    """
    places = {
        ("wanted", source, label): MapKey(source, control_type(label), text)
        for label, text in pictures.settings.items()
        for source in pictures.sources
    }
    once = {key: picture for picture, key in places.items()}  # base models share their maps
    found = pictures.pixels(list(once.values()))
    return {
        places[picture]: _shown(places[picture].control, places[picture].settings, pixels)
        for picture, pixels in found
    }


def _shown(name: str, text: str, picture: np.ndarray) -> ShownMap:
    """A map's picture as it is shown, with what its colours mean."""
    control, settings = resolve(name, text)
    if not control.has_legend:
        return ShownMap(small(picture))
    found = control.from_picture_for(picture, settings)
    return ShownMap(small(picture), tuple(control.legend(found, settings)))


def sheets(
    run: RunFolder,
    frame: pd.DataFrame,
    sources: Mapping[str, SourceImage],
    maps: Mapping[MapKey, ShownMap],
) -> list[Sheet]:
    """Contact sheets of a run, one for each label of its labelled frame, with the first seed."""
    cells = frame[frame["setting"] == "length"].drop_duplicates("cell")
    shown = {label: small(source.image) for label, source in sources.items()}
    found = []
    for control, group in cells.groupby("control", sort=False):
        seed = int(group["seed"].min())
        one = group[group["seed"] == seed]
        scales = shown_scales(one["scale"])
        rows: list[SheetRow] = []
        named: dict[str, LegendEntry] = {}
        for name, mine in one.groupby("source", sort=False):
            source = str(name)
            settings = str(mine["control_settings"].iloc[0]) if "control_settings" in mine else ""
            control_map = maps.get(MapKey(source, control_type(str(control)), settings))
            map_picture = None
            if control_map is not None:
                map_picture = control_map.picture
                named |= {entry.name: entry for entry in control_map.legend}
            for label, line in _lines(mine):
                trials = dict(zip(line["scale"], line["trial"], strict=True))
                samples = [sample_of(run, trials.get(scale)) for scale in scales]
                rows.append(
                    SheetRow(source_name(source), label, shown.get(source), map_picture, samples)
                )
                if len(rows) == MAX_ROWS:
                    break
            if len(rows) == MAX_ROWS:
                break
        total = sum(len(_lines(mine)) for _, mine in one.groupby("source"))
        left_out = total - len(rows)
        found.append(
            Sheet(
                str(control),
                seed,
                tuple(rows),
                tuple(scales),
                left_out,
                one["scale"].nunique() - len(scales),
                tuple(named.values()),
            )
        )
    return found


def shown_scales(scales: pd.Series) -> list[float]:
    """The columns of a sheet in rising order: of more than `MAX_SCALES` some, evenly chosen."""
    every = np.unique(scales.to_numpy(dtype=float))
    columns = np.linspace(0, len(every) - 1, min(len(every), MAX_SCALES)).round().astype(int)
    return [float(scale) for scale in every[columns]]


def small(image: np.ndarray) -> np.ndarray:
    """The picture, no larger than it is shown."""
    if max(image.shape[:2]) <= SIDE:
        return image
    return fit_image_to(image, (SIDE, SIDE))


def _lines(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of a sheet for one source: one for each form of the prompt, shortest first."""
    named = rows["label"] if "label" in rows else rows["length"].map(count_tags)
    forms = dict.fromkeys(zip(rows["length"], named, strict=True))
    return [
        (
            count_tags(0) if length == 0 else str(label),
            rows[(rows["length"] == length) & (named == label)],
        )
        for length, label in sorted(forms)
    ]


def sample_of(run: RunFolder, trial: str | None) -> np.ndarray | None:
    """A trial's picture, or None if there is none (yet)."""
    if trial is None:
        return None
    try:
        return small(run.read_sample(str(trial)))
    except (StoreError, ImageError):
        return None
