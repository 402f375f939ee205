"""The values a study expands into: trials, cells, sources, and the plan that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from workbench.controls import MapKey
from workbench.prompts import PromptVariant
from workbench.study.canonical import short_hash, tidy_float
from workbench.study.labels import is_map


@dataclass(frozen=True)
class ControlUse:
    """One control at work: its type, its settings as canonical JSON, its conditioning scale."""

    control: str
    control_settings: str
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tidy_float(self.scale))


@dataclass(frozen=True)
class Trial:
    """Everything that determines one image, and nothing that does not.

    `control`, `source_sha256` are None and `control_settings` is "" when no control can matter;
    then `scale` and `control_start` are 0 and `control_end` is 1 (see `make_plan`).
    `control_settings` is canonical JSON of the settings that shape the control map.
    `size` is the side of the square picture in pixels; start and end are fractions of the steps.

    A pair of controls steers with the same source, start and end: `control`, `control_settings` and
    `scale` are those of the first, `also` holds the other, types in alphabetical order and no
    scale 0. So a pair in which one control has scale 0 is the trial of the other control alone, and
    trials of one control are written down (and have the ids) as if there were no pairs.

    `networks` are the networks that the study chose to draw the control maps with, as pairs of
    what is needed ("depth") and the name of the choice; empty where it left that to the family.

    `picture` is the SHA-256 of the pixels of a picture that another program made, else "". What is
    not known of its making is 0 or "", and `base` the name of its model as it was told.
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
    also: tuple[ControlUse, ...] = ()
    networks: tuple[tuple[str, str], ...] = ()
    picture: str = ""

    def __post_init__(self) -> None:
        for name in ("guidance_scale", "scale", "control_start", "control_end"):
            object.__setattr__(self, name, tidy_float(getattr(self, name)))
        for name in ("seed", "steps", "size"):
            object.__setattr__(self, name, int(getattr(self, name)))
        if (self.control is None) != (self.source_sha256 is None):
            raise ValueError("a trial has a control and a source, or neither")
        object.__setattr__(self, "also", tuple(self.also))
        object.__setattr__(self, "networks", tuple((need, name) for need, name in self.networks))
        if self.also:
            types = [use.control for use in self.controls]
            scales = [self.scale, *(use.scale for use in self.also)]
            if self.control is None or types != sorted(set(types)) or min(scales) <= 0:
                raise ValueError(
                    "several controls of a trial must differ in type, stand in alphabetical order "
                    "and have scales above 0"
                )

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits; the same on every machine and in every version."""
        return short_hash(self.to_dict())

    @property
    def controls(self) -> tuple[ControlUse, ...]:
        """The controls that steer, none at scale 0: usually one, in a pair two."""
        if self.control is None or self.scale == 0:
            return ()
        return (ControlUse(self.control, self.control_settings, self.scale), *self.also)

    @property
    def map_key(self) -> MapKey | None:
        """(source_sha256, control, control_settings): the map of `control`; None without one."""
        if self.control is None or self.source_sha256 is None:
            return None
        return MapKey(self.source_sha256, self.control, self.control_settings)

    @property
    def map_keys(self) -> tuple[MapKey, ...]:
        """The map of each of the controls that steer, in their order."""
        source = self.source_sha256 or ""
        return tuple(MapKey(source, use.control, use.control_settings) for use in self.controls)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values; `also`, `networks`, `picture` where there is any."""
        values = {name: getattr(self, name) for name in _FIELDS}
        del values["also"], values["networks"], values["picture"]
        more = {
            "also": [asdict(use) for use in self.also],
            "picture": self.picture,
            "networks": [list(pair) for pair in self.networks],
        }
        return {**values, **{name: value for name, value in more.items() if value}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """The inverse of `to_dict`. Missing or unknown keys raise ValueError."""
        values = {"also": (), "networks": (), "picture": "", **data}
        if odd := _FIELDS.keys() ^ values.keys():
            raise ValueError(f"not a trial: missing or unknown keys {', '.join(sorted(odd))}")
        return cls(**values | {"also": tuple(ControlUse(**use) for use in values["also"])})


_FIELDS = dict.fromkeys(one.name for one in fields(Trial))


@dataclass(frozen=True)
class Cell:
    """One cell of the study's grid. Several cells may share one trial (one picture).

    `control_settings` is canonical JSON of all settings, those of the comparison included. A point
    of a pair's grid is two cells, one for each control, which measures the picture by its own map;
    `partner` is the other control there. `judges` are those of the study's choices that can change
    its readings: the CLIP, the judge of words and the networks of its controls.
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
    partner: ControlUse | None = None
    judges: tuple[tuple[str, str], ...] = ()

    @property
    def leads(self) -> bool:
        """Whether it is the only cell of its point of the grid, or the first of a pair's two."""
        return self.partner is None or self.control < self.partner.control

    @property
    def map_key(self) -> MapKey:
        """(source_sha256, control, control_settings) of the map this cell is scored against."""
        return MapKey(self.source_sha256, self.control, self.control_settings)


@dataclass(frozen=True, eq=False)
class SourceImage:
    """A source fitted to the family: `image` is uint8 size×size×3 RGB, read-only.

    `label` is the text of the study; `sha256` covers shape and pixels; `tags` are known for
    rendered scenes and empty for files. A source that is a map (`is_map`) is one of the study's one
    control type, as that stores its maps. `cut` is the share of the original that lies outside of
    its centred square and is not seen, in [0, 1); 0 also where nobody wrote it down. `note` says in
    a sentence how a map was turned around, or why it may have to be ("" for neither).
    """

    label: str
    sha256: str
    image: np.ndarray
    tags: tuple[str, ...] = ()
    cut: float = 0.0
    note: str = ""

    @property
    def is_map(self) -> bool:
        """Whether it is no picture but already a control map."""
        return is_map(self.label)


@dataclass(frozen=True)
class ControlCount:
    """How much one control (type and settings) asks for. In a pair both count its pictures."""

    control: str
    control_settings: str
    cells: int
    trials: int
    partner: str = ""


@dataclass(frozen=True)
class PlanSummary:
    """The figures of a dry run.

    `trials_before` counts one picture per cell (per two cells in a pair), `trials` what is left
    after identical pictures are merged = `text_only` + `controlled`; `paired` of these are steered
    by two controls. `maps` counts distinct control maps. `steps` is the number of denoising steps
    of one trial.
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
    paired: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {**asdict(self), "controls": [asdict(count) for count in self.controls]}


@dataclass(frozen=True, eq=False)
class Plan:
    """A study expanded: all cells, the distinct trials behind them, and the source pictures.

    `alternatives` are the study's own: word -> what may be seen in its place. `told` says what the
    text encoders do not read of its prompts, a sentence each. `reads` is False where their
    tokenizers are not on this disk, `knows_reading` where they would have to be to tell that.
    """

    cells: tuple[Cell, ...]
    trials: tuple[Trial, ...]
    sources: Mapping[str, SourceImage] = field(default_factory=dict)
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    reads: bool = True
    knows_reading: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """How drawn maps were turned around, or may have to be, and what of its prompts is not
        read, a sentence each."""
        return (*(source.note for source in self.sources.values() if source.note), *self.told)

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
        groups: dict[tuple[str, str, str], list[Cell]] = {}
        for cell in self.cells:
            partner = cell.partner.control if cell.partner else ""
            groups.setdefault((cell.control, cell.control_settings, partner), []).append(cell)
        counts = tuple(
            ControlCount(name, text, len(cells), len({c.trial_id for c in cells} & ids), partner)
            for (name, text, partner), cells in groups.items()
        )
        return PlanSummary(
            cells=len(self.cells),
            trials_before=sum(cell.leads for cell in self.cells),
            trials=len(self.trials),
            text_only=len(self.trials) - len(controlled),
            controlled=len(controlled),
            maps=len({key for trial in controlled for key in trial.map_keys}),
            sources=len(self.sources),
            steps=self.trials[0].steps if self.trials else 0,
            controls=counts,
            paired=sum(len(trial.controls) > 1 for trial in controlled),
        )
