"""A small world of names to check studies against, so that no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from pydantic import Field

from workbench.controls import ControlError, ControlSettings
from workbench.study import Choices, FamilyChoice, Study


class EdgeSettings(ControlSettings):
    """Two settings shape the map, `tolerance` only the comparison."""

    comparison_only: ClassVar[frozenset[str]] = frozenset({"tolerance"})

    low: int = Field(default=100, ge=0, le=255)
    high: int = Field(default=200, ge=0, le=255)
    tolerance: float = 0.0075


class DepthSettings(ControlSettings):
    """No settings at all."""


def _settings_type(control: str) -> type[ControlSettings]:
    known: dict[str, type[ControlSettings]] = {"canny": EdgeSettings, "depth": DepthSettings}
    if control not in known:
        raise ControlError(f"there is no control type {control!r}")
    return known[control]


@pytest.fixture(scope="session")
def choices() -> Choices:
    """Two families; `toy` lists a control that nobody wrote an extractor for."""
    return Choices(
        families={
            "paperdoll": FamilyChoice(("render", "ink"), ("depth", "canny")),
            "toy": FamilyChoice(("plain",), ("depth", "sonar")),
        },
        settings_type=_settings_type,
    )


@pytest.fixture
def study() -> Callable[..., Study]:
    """Makes a small valid study; keyword arguments replace fields."""

    def make(**changes: Any) -> Study:
        fields: dict[str, Any] = {
            "name": "small",
            "sources": ["paperdoll:1", "paperdoll:2"],
            "controls": ["depth", "canny"],
            "prompt": "a girl, long hair, winter, snow",
            "lengths": [2, 4],
            "scales": [0, 0.5, 1],
            "seeds": [1, 2],
        }
        return Study(**(fields | changes))

    return make
