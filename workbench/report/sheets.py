"""The pictures of a run, laid out for contact sheets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis import control_type
from workbench.controls import ControlError, Networks, get_control
from workbench.images import ImageError, fit_image_to
from workbench.plots import SheetRow
from workbench.plots.style import tags_label
from workbench.store import RunFolder, StoreError
from workbench.study import SourceImage

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SIDE = 192
"""Pictures are shown at most this large."""
MAX_ROWS = 24
MapKey = tuple[str, str, str]
"""(source label, control, control settings as JSON)"""


@dataclass(frozen=True)
class Sheet:
    """One contact sheet: one control (its label, see `analysis.distinct_controls`), one seed.

    left_out: how many rows of the study did not fit.
    """

    control: str
    seed: int
    rows: tuple[SheetRow, ...]
    scales: tuple[float, ...]
    left_out: int


def source_pictures(run: RunFolder) -> dict[str, SourceImage]:
    """The sources of a run by label; empty, with a warning in the log, if they cannot be read."""
    try:
        return run.read_sources()
    except (StoreError, ImageError) as error:
        log.warning("the report shows no sources: %s", error)
        return {}


def control_maps(
    frame: pd.DataFrame, sources: Mapping[str, SourceImage], family: str
) -> dict[MapKey, np.ndarray]:
    """Control maps of the sources, extracted anew; a control that cannot be is left out.

    Loads the networks a control needs from the model family, and nothing for those without.
    """
    maps: dict[MapKey, np.ndarray] = {}
    settings_of = frame.get("control_settings")
    if settings_of is None or not sources:
        return maps
    kinds = frame["control"].map(control_type)
    for name, text in dict.fromkeys(zip(kinds, settings_of, strict=True)):
        try:
            control = get_control(name)
            settings = control.settings(json.loads(text or "{}"))
            networks: Networks = {}
            needs = control.needs_for(settings)
            if needs:
                from workbench.families.loading import ModelShelf

                lent = ModelShelf(family).networks()
                networks = {need: lent[need] for need in needs}
            pictures = [source.image for source in sources.values()]
            made = control.extract(pictures, settings, networks)
        except (ControlError, OSError, ValueError, KeyError, ImportError) as error:
            log.warning("the report shows no %s maps: %s", name, error)
            continue
        for label, found in zip(sources, made, strict=True):
            maps[label, str(name), str(text)] = small(found.picture)
    return maps


def sheets(
    run: RunFolder,
    frame: pd.DataFrame,
    sources: Mapping[str, SourceImage],
    maps: Mapping[MapKey, np.ndarray],
) -> list[Sheet]:
    """Contact sheets of a run, one for each label of its labelled frame, with the first seed."""
    cells = frame[frame["setting"] == "length"].drop_duplicates("cell")
    shown = {label: small(source.image) for label, source in sources.items()}
    found = []
    for control, group in cells.groupby("control", sort=False):
        seed = int(group["seed"].min())
        one = group[group["seed"] == seed]
        scales = sorted({float(scale) for scale in one["scale"]})
        rows = []
        for name, mine in one.groupby("source", sort=False):
            source = str(name)
            settings = str(mine["control_settings"].iloc[0]) if "control_settings" in mine else ""
            control_map = maps.get((source, control_type(str(control)), settings))
            for label, line in _lines(mine):
                trials = dict(zip(line["scale"], line["trial"], strict=True))
                samples = [sample_of(run, trials.get(scale)) for scale in scales]
                rows.append(
                    SheetRow(short_label(source), label, shown.get(source), control_map, samples)
                )
                if len(rows) == MAX_ROWS:
                    break
            if len(rows) == MAX_ROWS:
                break
        total = sum(len(_lines(mine)) for _, mine in one.groupby("source"))
        left_out = total - len(rows)
        found.append(Sheet(str(control), seed, tuple(rows), tuple(scales), left_out))
    return found


def small(image: np.ndarray) -> np.ndarray:
    """The picture, no larger than it is shown."""
    if max(image.shape[:2]) <= SIDE:
        return image
    return fit_image_to(image, (SIDE, SIDE))


def short_label(source: str) -> str:
    """A source's name without its folders and ending."""
    return source if ":" in source else PurePath(source).stem


def _lines(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of a sheet for one source: one for each form of the prompt, shortest first."""
    named = rows["label"] if "label" in rows else rows["length"].map(tags_label)
    forms = dict.fromkeys(zip(rows["length"], named, strict=True))
    return [
        (
            tags_label(0) if length == 0 else str(label),
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
