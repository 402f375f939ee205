"""What a study can choose from: families with what they offer, and the settings of controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.samplers import SAMPLER_NAMES

if TYPE_CHECKING:
    from workbench.controls import ControlSettings
    from workbench.families import Family
    from workbench.families.reading import TextReader

SettingsOf = Callable[[str, Mapping[str, str]], Mapping[str, Any]]
"""Settings of a control type under a study's choice of judges (what is needed -> name)."""
ReaderOf = Callable[[str, str | Path | None], "TextReader | None"]
"""The tokenizers of a base model in a models folder (None: the usual one); None without them."""


@dataclass(frozen=True)
class FamilyChoice:
    """What one model family offers: names of base models, of controls, of schedulers, and of judges
    by what is needed; and the side of its pictures in pixels (0: not told).

    `defaults` are what a study gets for fields that it leaves out; `settings_for` the same for the
    settings of a control type, `fixed_settings` those that follow from its network and cannot be
    chosen ("" where nobody says). `net_problem` says why some
    controls, each with its settings as JSON, cannot steer a picture together ("" if they can).
    `text_limit` is how many tokens of a prompt are read, `reader` has the tokenizers.
    """

    base: tuple[str, ...]
    controls: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resolution: int = 0
    schedulers: tuple[str, ...] = SAMPLER_NAMES
    net_problem: Callable[[Sequence[tuple[str, str]]], str] = lambda _: ""
    settings_for: SettingsOf = lambda *_: {}
    fixed_settings: SettingsOf = lambda *_: {}
    text_limit: int = 77
    reader: ReaderOf = lambda *_: None

    @classmethod
    def of(cls, family: Family) -> FamilyChoice:
        """What a family of the catalogue offers."""
        return cls(
            base=tuple(family.base),
            controls=family.controls,
            judges={need: tuple(refs) for need, refs in family.judges.items()},
            resolution=family.resolution,
            schedulers=family.schedulers,
            defaults={"base": [family.default_base], **family.defaults.model_dump()},
            net_problem=lambda uses: _net_problem(family, uses),
            text_limit=family.text_limit,
            reader=lambda base, models: _reader(family, base, models),
            settings_for=lambda control, judges: _judged(family, judges).settings_for(control),
            fixed_settings=lambda control, judges: _judged(family, judges).fixed_settings(control),
        )


def _reader(family: Family, base: str, models: str | Path | None) -> TextReader | None:
    from workbench.families.reading import text_reader

    return text_reader(family, base, models)


def _judged(family: Family, judges: Mapping[str, str]) -> Family:
    """The family under those of the judges that it has; the others are told elsewhere."""
    return family.with_judges(
        {need: name for need, name in judges.items() if name in family.judges.get(need, {})}
    )


def _net_problem(family: Family, uses: Sequence[tuple[str, str]]) -> str:
    from workbench.families import FamilyError

    try:
        names = [family.controlnet_name(control, settings) for control, settings in uses]
    except FamilyError as error:
        return str(error)
    return family.pair_problem(*names) if len(names) == 2 else ""


@dataclass(frozen=True)
class Choices:
    """What exists on this machine: families, and the settings type of every control."""

    families: Mapping[str, FamilyChoice]
    settings_type: Callable[[str], type[ControlSettings]]


def installed_choices() -> Choices:
    """The families of the catalogue and the controls that this package knows."""
    from workbench.families import load_catalogue

    return choices_among(load_catalogue().values())


def choices_among(families: Iterable[Family], *, readers: bool = True) -> Choices:
    """These families, whatever is installed, and the controls that this package knows; without
    `readers` no tokenizer is looked for."""
    from workbench.controls import get_control

    offered = {family.name: FamilyChoice.of(family) for family in families}
    if not readers:
        offered = {k: replace(v, reader=lambda *_: None) for k, v in offered.items()}
    return Choices(offered, lambda control: get_control(control).settings_type)
