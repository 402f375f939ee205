"""Which readings of a run a report can show: those that say what they are about."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from workbench.controls import ControlError, get_control
from workbench.store import FACTS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

MOST = 1_000
"""No study has longer prompts, in tags, or larger scales."""


def usable(frame: pd.DataFrame) -> pd.DataFrame:
    """The readings whose source, control, prompt, scale and seed are told and can be.

    The others, of a damaged table or an edited record, are left out with a warning in the log.
    """
    good = frame[list(FACTS)].notna().all(axis=1)
    for name, fits in (
        ("control", _is_control),
        ("partner", lambda text: not text or _is_control(text)),
        ("control_settings", _are_settings),
        ("partner_settings", _are_settings),
    ):
        known = frame[name].dropna().unique()
        good &= frame[name].isin([text for text in known if fits(text)])
    good &= frame["length"].between(0, MOST) & frame["scale"].between(0, MOST)
    if good.all():
        return frame
    log.warning("%d readings do not say what they are about and are left out", (~good).sum())
    kept = frame[good].reset_index(drop=True)
    return kept.astype({"length": "int64", "seed": "int64"})


def _is_control(name: str) -> bool:
    try:
        get_control(name)
    except ControlError:
        return False
    return True


def _are_settings(text: str) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except (ValueError, RecursionError):
        return False
