"""Extracting from and comparing any pictures, whatever their size and kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.controls import get_control
from workbench.controls.base import ControlMap, ControlSettings, Networks
from workbench.images import as_rgb, fit_image_to
from workbench.metrics.spec import Reading

Settings = ControlSettings | Mapping[str, Any] | None


def extract_file(
    control_name: str,
    image: np.ndarray,
    settings: Settings = None,
    networks: Networks | None = None,
) -> ControlMap:
    """The control map of one picture, at the picture's own size.

    image: whatever `workbench.images.as_rgb` takes: grey, RGB, with or without alpha.
    settings: the control's settings object, plain values for it, or None for the defaults.
    networks: what the control needs of them (`Control.needs`), None for none.
    Raises ControlError (unknown control, missing network), ImageError (not a picture),
    pydantic.ValidationError (wrong settings).
    """
    control = get_control(control_name)
    checked = _settings(control_name, settings)
    maps: list[ControlMap] = control.extract([as_rgb(image)], checked, networks or {})
    return maps[0]


def compare_pictures(
    control_name: str,
    a: np.ndarray,
    b: np.ndarray,
    settings: Settings = None,
    networks: Networks | None = None,
) -> dict[str, Reading]:
    """How well picture `b` keeps the control that picture `a` asks for: one reading per metric.

    Both are extracted with the same settings. If the sizes differ, `b` is first cut to the
    proportions of `a` (the largest centred part) and resampled to the size of `a`, so that the
    extractor sees both at one scale. The roles matter: `a` is what was wanted, `b` what came out.
    Arguments and errors are those of `extract_file`.
    """
    control = get_control(control_name)
    checked = _settings(control_name, settings)
    first = as_rgb(a, "the first picture")
    second = fit_image_to(as_rgb(b, "the second picture"), (first.shape[0], first.shape[1]))
    wanted, got = control.extract([first, second], checked, networks or {})
    readings: dict[str, Reading] = control.compare(wanted, got, checked)
    return readings


def _settings(control_name: str, settings: Settings) -> ControlSettings:
    control = get_control(control_name)
    if isinstance(settings, control.settings_type):
        return settings
    if isinstance(settings, ControlSettings):
        raise TypeError(f"{type(settings).__name__} are not the settings of {control_name}")
    checked: ControlSettings = control.settings(settings)
    return checked
