"""Any pictures, without a study: extract a control map, compare two pictures by it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import controls
from workbench.controls import ControlMap, Networks
from workbench.metrics import Reading

if TYPE_CHECKING:
    import numpy as np

    from workbench.families.manager import ModelManager


def extract(
    picture: np.ndarray | str | Path, control: str, *, family: str = "paperdoll", **settings: Any
) -> ControlMap:
    """The control map of one picture, at the picture's own size.

    As `controls.extract`, with the networks and settings of a model family where the control type
    needs them. They are loaded once.

    Args:
        picture: a file, or an array H×W or H×W×3 or 4, uint8 or float in [0, 1].
        control: the control type, for example "depth".
        family: lends the networks; the settings it needs come before the defaults.
        settings: of the extractor, by name.

    Raises:
        ControlError: no such control type. ImageError: not a picture. FamilyError, LocateError:
        the family or its networks are not there. pydantic.ValidationError: wrong settings.
    """
    values, networks = _lent(control, family, settings)
    return controls.extract(picture, control, networks=networks, **values)


def compare(
    preds: np.ndarray | str | Path,
    target: np.ndarray | str | Path,
    control: str,
    *,
    family: str = "paperdoll",
    **settings: Any,
) -> dict[str, Reading]:
    """How well the picture `preds` keeps the control that `target` asks for, metric by metric.

    As `controls.compare`: maps of both are extracted, `preds` being cut and resampled to the size
    of `target` first. Arguments and errors are those of `extract`.
    """
    values, networks = _lent(control, family, settings)
    return controls.compare(preds, target, control, networks=networks, **values)


def _lent(control: str, family: str, settings: dict[str, Any]) -> tuple[dict[str, Any], Networks]:
    """Settings with those of the family, and its networks where the control needs any."""
    from workbench.families import get_family

    chosen = controls.get_control(control)
    values = {**get_family(family).settings_for(control), **settings}
    networks = _manager(family).networks() if chosen.needs_for(chosen.settings(values)) else {}
    return values, networks


@cache
def _manager(family: str) -> ModelManager:
    from workbench.families.manager import ModelManager

    return ModelManager(family)
