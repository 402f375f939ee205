"""Control types, one file each: settings, extraction of the map, comparison of two maps.

Every module in this folder is a control type of the same name, found by looking, except `base`
and those whose names begin with an underscore. A control module defines `CONTROL`, its one
instance. Modules load when asked for, so that naming the control types costs nothing.

`extract` and `compare` do the whole work for pictures at hand:

    >>> import numpy as np
    >>> from workbench import controls
    >>> disc = np.zeros((64, 64, 3), np.uint8)
    >>> disc[16:48, 16:48] = 255
    >>> controls.extract(disc, "canny", high=150).picture.shape
    (64, 64, 3)
    >>> round(controls.compare(np.roll(disc, 8, axis=1), disc, "canny")["canny_f1"].value, 3)
    0.371
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    ControlSettings,
    LegendEntry,
    MapKey,
    Networks,
)
from workbench.images import as_rgb, fit_image_to, read_image
from workbench.metrics.spec import Reading

__all__ = [
    "CONTROL_NAMES",
    "Control",
    "ControlError",
    "ControlMap",
    "ControlSettings",
    "LegendEntry",
    "MapKey",
    "Networks",
    "compare",
    "extract",
    "get_control",
    "map_warning",
    "network_needs",
    "resolve",
]

LEAST_DRAWN, MOST_DRAWN = 0.001, 0.6
"""Shares of a map of lines below and above which it hardly steers."""

log = logging.getLogger(__name__)

CONTROL_NAMES: tuple[str, ...] = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.name != "base" and not module.name.startswith("_")
    )
)
"""The control types which exist, in alphabetical order."""


def get_control(name: str) -> Control[Any]:
    """The control type called `name`; ControlError names those which exist."""
    if name not in CONTROL_NAMES:
        near = get_close_matches(name, CONTROL_NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ControlError(
            f"there is no control type {name!r}; there are: {', '.join(CONTROL_NAMES)}{hint}"
        )
    control: Control[Any] = import_module(f"{__name__}.{name}").CONTROL
    return control


def resolve(name: str, settings_json: str = "") -> tuple[Control[Any], Any]:
    """A control type and its settings from their names as they are stored.

    settings_json: the settings as JSON, "" for the defaults.
    Raises ControlError (no such control type), pydantic.ValidationError (wrong settings).
    """
    control = get_control(name)
    return control, control.settings_type.model_validate_json(settings_json or "{}")


def network_needs(chosen: Iterable[tuple[str, str]]) -> list[str]:
    """Names of the networks that controls need, in alphabetical order.

    chosen: pairs of a control type and its settings as JSON ("" for the defaults).
    """
    found: set[str] = set()
    for name, text in set(chosen):
        control, settings = resolve(name, text)
        found |= set(control.needs_for(settings))
    return sorted(found)


def map_warning(control: Control[Any], settings: Any, made: ControlMap, source: str) -> str:
    """What is wrong with a map that shows nothing, or hardly anything, in one sentence, else "".

    Such a map steers hardly at all, and a picture cannot be held against it. Lines should cover at
    least `LEAST_DRAWN` and at most `MOST_DRAWN` of it.

    source: whose map it is, for the sentence.
    """
    what = f"the map of {source} ({control.label})"
    if control.is_lines:
        drawn = float((made.picture.max(axis=2) >= 64).mean())
        if drawn < LEAST_DRAWN:
            share = "nothing" if drawn == 0 else f"hardly anything ({drawn:.2%})"
            return f"{what} is empty: {share} of it is drawn, so it cannot steer"
        if drawn > MOST_DRAWN:
            return f"{what} is nearly solid: {drawn:.0%} of it are lines, so it cannot steer well"
        return ""
    if control.has_legend and len(control.legend(made, settings)) == 1:
        return f"{what} is solid: all of it is {control.legend(made, settings)[0].name}"
    reason = control.nothing_in(made, settings)
    return f"{what} is empty, so it cannot steer: {reason}" if reason else ""


def extract(
    picture: np.ndarray | str | Path,
    control: str,
    *,
    networks: Networks | None = None,
    **settings: Any,
) -> ControlMap:
    """The control map of one picture, at the picture's own size.

    picture: a file, or an array as `workbench.images.as_rgb` takes it: grey or RGB, with or
        without alpha, uint8 or float in [0, 1].
    control: the control type, for example "canny".
    networks: what the control needs of them (`Control.needs`), None for none.
    settings: of the extractor, by name; the defaults for the rest.
    Raises ControlError (unknown control, missing network), ImageError (not a picture),
    pydantic.ValidationError (wrong settings).
    """
    chosen = get_control(control)
    values = chosen.settings(settings)
    maps: list[ControlMap] = chosen.extract([_picture(picture)], values, networks or {})
    name = "the picture" if isinstance(picture, np.ndarray) else str(picture)
    if warning := map_warning(chosen, values, maps[0], name):
        log.warning("%s", warning)
    return maps[0]


def compare(
    preds: np.ndarray | str | Path,
    target: np.ndarray | str | Path,
    control: str,
    *,
    networks: Networks | None = None,
    **settings: Any,
) -> dict[str, Reading]:
    """How well the picture `preds` keeps the control that `target` asks for, metric by metric.

    Both are extracted with the same settings. If the sizes differ, `preds` is first cut to the
    proportions of `target` (the largest centred part) and resampled to its size, so that the
    extractor sees both at one scale. The roles matter: `target` is what was wanted, `preds` what
    came out. Arguments and errors are those of `extract`.
    """
    chosen = get_control(control)
    values = chosen.settings(settings)
    wanted = _picture(target, "the target")
    made = fit_image_to(_picture(preds, "the compared picture"), (wanted.shape[0], wanted.shape[1]))
    found, truth = chosen.extract([made, wanted], values, networks or {})
    readings: dict[str, Reading] = chosen.compare(found, truth, values)
    return readings


def _picture(picture: np.ndarray | str | Path, name: str = "the picture") -> np.ndarray:
    return read_image(picture) if isinstance(picture, str | Path) else as_rgb(picture, name)
