"""The values a study expands into: trials, cells, sources, and the plan that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from workbench.prompts import PromptVariant
from workbench.study.canonical import short_hash, tidy_float


@dataclass(frozen=True)
class Trial:
    """Everything that determines one image, and nothing that does not.

    `control`, `source_sha256` are None and `control_settings` is "" when no control can matter;
    then `scale` and `control_start` are 0 and `control_end` is 1 (see `make_plan`).
    `control_settings` is canonical JSON of the settings that shape the control map.
    `size` is the side of the square picture in pixels; start and end are fractions of the steps.
    """

    family: str
    base: str
    control: str | None
    control_settings: str
    source_sha256: str | None
    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str
    scale: float
    control_start: float
    control_end: float
    size: int

    def __post_init__(self) -> None:
        for name in ("guidance_scale", "scale", "control_start", "control_end"):
            object.__setattr__(self, name, tidy_float(getattr(self, name)))
        for name in ("seed", "steps", "size"):
            object.__setattr__(self, name, int(getattr(self, name)))
        if (self.control is None) != (self.source_sha256 is None):
            raise ValueError("a trial has a control and a source, or neither")

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits; the same on every machine and in every version."""
        return short_hash(self.to_dict())

    @property
    def map_key(self) -> tuple[str, str, str] | None:
        """(source_sha256, control, control_settings): which control map; None without control."""
        if self.control is None or self.source_sha256 is None:
            return None
        return (self.source_sha256, self.control, self.control_settings)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """The inverse of `to_dict`. Missing or unknown keys raise ValueError."""
        wanted = {f.name for f in fields(cls)}
        if set(data) != wanted:
            odd = ", ".join(sorted(wanted ^ set(data)))
            raise ValueError(f"not a trial: missing or unknown keys {odd}")
        return cls(**data)


@dataclass(frozen=True)
class Cell:
    """One cell of the study's grid. Several cells may share one trial (one picture).

    `control_settings` is canonical JSON of all settings, those of the comparison included.
    """

    id: str
    trial_id: str
    source: str
    source_sha256: str
    control: str
    control_settings: str
    variant: PromptVariant
    full_prompt: str
    scale: float
    seed: int
    base: str

    @property
    def map_key(self) -> tuple[str, str, str]:
        """(source_sha256, control, control_settings) of the map this cell is scored against."""
        return (self.source_sha256, self.control, self.control_settings)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A source fitted to the family: `image` is uint8 size×size×3 RGB, read-only.

    `label` is the text of the study; `sha256` covers shape and pixels; `tags` are known for
    rendered scenes and empty for files.
    """

    label: str
    sha256: str
    image: np.ndarray
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlCount:
    """How much one control (type and settings) asks for."""

    control: str
    control_settings: str
    cells: int
    trials: int


@dataclass(frozen=True)
class PlanSummary:
    """The figures of a dry run.

    `trials_before` counts one picture per cell, `trials` what is left after identical pictures
    are merged = `text_only` + `controlled`. `maps` counts distinct control maps. `steps` is the
    number of denoising steps of one trial.
    """

    cells: int
    trials_before: int
    trials: int
    text_only: int
    controlled: int
    maps: int
    sources: int
    steps: int
    controls: tuple[ControlCount, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {**asdict(self), "controls": [asdict(count) for count in self.controls]}


@dataclass(frozen=True, eq=False)
class Plan:
    """A study expanded: all cells, the distinct trials behind them, and the source pictures."""

    cells: tuple[Cell, ...]
    trials: tuple[Trial, ...]
    sources: Mapping[str, SourceImage] = field(default_factory=dict)

    @cached_property
    def trials_by_id(self) -> Mapping[str, Trial]:
        """Trial id -> trial."""
        return {trial.id: trial for trial in self.trials}

    @cached_property
    def cells_by_trial(self) -> Mapping[str, tuple[Cell, ...]]:
        """Trial id -> the cells which its picture fills."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(cell.trial_id, []).append(cell)
        return {trial_id: tuple(cells) for trial_id, cells in groups.items()}

    def describe(self) -> PlanSummary:
        """Counts for a dry run and for an estimate of the time."""
        controlled = [trial for trial in self.trials if trial.control is not None]
        ids = {trial.id for trial in controlled}
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault((cell.control, cell.control_settings), []).append(cell)
        counts = tuple(
            ControlCount(name, settings, len(cells), len({c.trial_id for c in cells} & ids))
            for (name, settings), cells in groups.items()
        )
        return PlanSummary(
            cells=len(self.cells),
            trials_before=len(self.cells),
            trials=len(self.trials),
            text_only=len(self.trials) - len(controlled),
            controlled=len(controlled),
            maps=len({trial.map_key for trial in controlled}),
            sources=len(self.sources),
            steps=self.trials[0].steps if self.trials else 0,
            controls=counts,
        )
