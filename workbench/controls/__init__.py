"""Control types, one file each: settings, extraction of the map, comparison of two maps.

Every module in this folder is a control type of the same name, found by looking, except the
shared ones in `_SHARED`. A control module defines `CONTROL`, its one instance. Modules load when
asked for, so that naming the control types costs nothing.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    ControlSettings,
    Networks,
)

__all__ = [
    "CONTROL_NAMES",
    "Control",
    "ControlError",
    "ControlMap",
    "ControlSettings",
    "Networks",
    "get_control",
    "network_needs",
]

_SHARED = frozenset({"base", "compare"})

CONTROL_NAMES: tuple[str, ...] = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.name not in _SHARED and not module.name.startswith("_")
    )
)
"""The control types which exist, in alphabetical order."""


def network_needs(chosen: Iterable[tuple[str, str]]) -> list[str]:
    """Names of the networks that controls need, in alphabetical order.

    chosen: pairs of a control type and its settings as JSON ("" for the defaults).
    """
    found: set[str] = set()
    for name, text in set(chosen):
        control = get_control(name)
        found |= set(control.needs_for(control.settings(json.loads(text or "{}"))))
    return sorted(found)


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
