"""The entries of a study's `controls`: one control, or a pair of them that steers at once.

    controls:
      - depth                                    # a name: default settings, the study's scales
      - {type: canny, settings: {low: 50}}
      - pair: [depth, canny]                     # two ControlNets on every picture
        scales: {depth: [0, 0.5, 1], canny: [0, 1]}

A pair takes the study's scales on both axes unless it says otherwise, and the grid holds every
combination of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictStr,
    Tag,
)

from workbench.study.canonical import tidy_float

# In brackets, so that the paths of problems leave them out.
SINGLE, PAIR = "[single]", "[pair]"

Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(tidy_float)]
Scale = Annotated[Number, Field(ge=0, le=10)]


def as_mapping(key: str) -> BeforeValidator:
    """Let a bare word stand for a mapping: `canny` for `{type: canny}`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class Value(BaseModel):
    """What all parts of a study are: unchangeable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ControlChoice(Value):
    """A control type and the settings of its extractor (empty: the defaults)."""

    type: StrictStr
    settings: dict[StrictStr, Any] = Field(default_factory=dict)


def _two(controls: tuple[ControlChoice, ...]) -> tuple[ControlChoice, ...]:
    if len(controls) != 2:
        raise ValueError(f"needs two control types, not {len(controls)}")
    return controls


class PairChoice(Value):
    """Two control types that steer a picture together, each with a scale axis of its own.

    `scales` maps a type of the pair to its axis; a type it does not name takes the study's scales.
    The grid holds every combination of the two axes, and the source gives both maps.
    """

    pair: Annotated[tuple[Annotated[ControlChoice, as_mapping("type")], ...], AfterValidator(_two)]
    scales: dict[StrictStr, Annotated[tuple[Scale, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    def axes(self, scales: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
        """The scales of each of the two controls; `scales` are the study's."""
        return tuple(self.scales.get(choice.type, scales) for choice in self.pair)


def _case(value: Any) -> str:
    paired = isinstance(value, PairChoice) or (isinstance(value, Mapping) and "pair" in value)
    return PAIR if paired else SINGLE


ControlEntry = Annotated[
    Annotated[ControlChoice, Tag(SINGLE)] | Annotated[PairChoice, Tag(PAIR)],
    Discriminator(_case),
    as_mapping("type"),
]
