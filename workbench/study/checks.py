"""What is allowed in a study beyond the type of each field: names, files, and combinations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.prompts import Prompt, webui_syntax, whole_length
from workbench.study.canonical import canonical_json
from workbench.study.choices import Choices, FamilyChoice
from workbench.study.errors import (
    StudyError,
    did_you_mean,
    problem,
    short,
    structure_problems,
    unknown,
)
from workbench.study.fields import ControlChoice, PairChoice, StudyFields
from workbench.study.labels import SOURCES_ALLOWED, is_map, is_scene, path_of
from workbench.study.protocols import resolution_problems
from workbench.study.sources import is_file, source_file

MAX_CELLS = 100_000
MAX_READINGS = 4_000_000
"""Rows of the largest table of measurements that anything here reads."""
READINGS_OF_A_CELL = 16
"""At most so many, and one for each word of the prompt."""


@dataclass(frozen=True)
class ControlKey:
    """Canonical JSON of one control's settings: all of them, and those that shape its map."""

    settings: str
    map_settings: str


def control_key(study: StudyFields, choice: ControlChoice, choices: Choices) -> ControlKey:
    """Fill in defaults and write the settings canonically, so equal settings are equal text.

    What the study does not say is the family's, and what that does not say the control type's.
    """
    family = choices.families[study.family]
    settings = {**family.settings_for(choice.type, study.judges), **choice.settings}
    values = choices.settings_type(choice.type).model_validate(settings)
    return ControlKey(values.canonical(), values.map_canonical())


def cross_problems(study: StudyFields, skip: Collection[str] = ()) -> list[str]:
    """Problems between fields. Fields in `skip` are already known to be wrong."""
    lines: list[str] = []
    for name in ("base", "sources", "lengths", "scales", "seeds"):
        if name not in skip:
            lines += _repeated(name, getattr(study, name))
    for fields, problems_of in (
        ({"controls"}, _pair_problems),
        ({"prompt", "lengths", "unit"}, _length_problems),
        ({"forms", "captions", "lengths", "shortening", "unit"}, _form_problems),
        ({"prompt", "shortening"}, _shortening_problems),
        ({"sources", "controls"}, _map_problems),
        ({"extra_prompts"}, _extra_problems),
        ({"sources", "captions"}, _caption_problems),
        ({"prompt", "extra_prompts", "captions", "alternatives"}, _alternative_problems),
        ({"sources", "source_sha256"}, lambda study: _not_sources(study, "source_sha256")),
    ):
        if fields.isdisjoint(skip):
            lines += problems_of(study)
    if not skip and study.cell_count > MAX_CELLS:
        what = f"the grid has {study.cell_count:,} cells"
        lines.append(problem("study", what, f"up to {MAX_CELLS:,}"))
    readings = study.cell_count * (READINGS_OF_A_CELL + len(study.tags)) if not skip else 0
    if not lines and readings > MAX_READINGS:
        what = f"about {readings:,} readings would come of it"
        lines.append(problem("study", what, f"up to {MAX_READINGS:,} (split it into several)"))
    return lines


def _length_problems(study: StudyFields) -> list[str]:
    if study.unit == "tokens" or study.captions:  # told by the plan, which has the tokenizers
        return []
    count = whole_length(Prompt.of(study.prompt), study.unit)
    return [
        problem(f"lengths[{i}]", f"{n} is longer than the prompt", f"0 to {count}")
        for i, n in enumerate(study.lengths)
        if n > count
    ]


def _form_problems(study: StudyFields) -> list[str]:
    lines = []
    kinds = {tuple(c) if isinstance(c, dict) else None for c in study.captions.values()}
    if len(kinds) > 1:
        what = "sources have captions of different forms"
        lines.append(problem("captions", what, "the same names, in the same order, for each"))
    if study.forms and study.captions:
        lines.append(problem("forms", "has no meaning with captions", "forms of each caption"))
    if len(study.forms) == 1:
        lines.append(problem("forms", "is one form only", "two forms or more"))
    if study.form_names and study.lengths:
        lines.append(problem("lengths", "cannot be varied together with forms", "one of the two"))
    plain = study.shortening.method == "prefix" and not study.shortening.keep
    if not plain and (study.form_names or study.unit != "tags"):
        said = "forms" if study.form_names else f"unit: {study.unit}"
        what = f"has no meaning with {said}"
        lines.append(problem("shortening", what, "prefix, without keep"))
    if study.form_names and study.unit != "tags":
        lines.append(problem("unit", "has no meaning with forms", "nothing"))
    return lines


def _extra_problems(study: StudyFields) -> list[str]:
    lines = []
    for setting, tags in study.extra_prompts.items():
        field = f"extra_prompts.{setting}"
        if setting == "empty" and tags:
            lines.append(problem(field, "has tags", "nothing (empty: [])"))
        elif setting != "empty" and not tags:
            lines.append(problem(field, "has no tags", "a list of tags"))
    return lines


def _shortening_problems(study: StudyFields) -> list[str]:
    keep, method = study.shortening.keep, study.shortening.method
    lines = _repeated("shortening.keep", keep)
    if keep and method != "prefix":
        lines.append(problem("shortening.keep", f"has no meaning with {method}", "method prefix"))
    for i, tag in enumerate(keep):
        if tag not in study.tags:
            what = f'"{tag[:60]}" is not in the prompt{did_you_mean(tag, study.tags)}'
            lines.append(problem(f"shortening.keep[{i}]", what, ", ".join(study.tags)))
    return lines


def name_problems(study: StudyFields, choices: Choices, skip: Collection[str] = ()) -> list[str]:
    """Families, base models, controls and control settings that do not exist."""
    if "family" in skip:
        return []
    family = choices.families.get(study.family)
    if family is None:
        return [unknown("family", study.family, sorted(choices.families), "family")]
    lines: list[str] = []
    if "judges" not in skip:
        lines += _judge_problems(study, family)
    making = _making_problems if study.made_elsewhere is None else _reading_problems
    return lines + making(study, family, choices, skip)


def _reading_problems(
    study: StudyFields, family: FamilyChoice, choices: Choices, skip: Collection[str]
) -> list[str]:
    """What cannot be read off pictures that were made elsewhere, by whatever models."""
    lines: list[str] = []
    for field, choice in named_controls(study) if "controls" not in skip else ():
        lines += _settings_problems(field, choice.type, choice.settings, choices)
        lines += _fixed_problems(study, field, choice, family)
    return lines


def _making_problems(
    study: StudyFields, family: FamilyChoice, choices: Choices, skip: Collection[str]
) -> list[str]:
    """Base models, controls, settings and schedulers that do not exist."""
    lines: list[str] = []
    if "base" not in skip:
        noun = f"base model in the family {study.family}"
        lines += [
            unknown(f"base[{i}]", name, family.base, noun)
            for i, name in enumerate(study.base)
            if name not in family.base
        ]
    if "controls" not in skip:
        for field, choice in named_controls(study):
            if choice.type in family.controls:
                lines += _settings_problems(field, choice.type, choice.settings, choices)
                lines += _fixed_problems(study, field, choice, family)
            else:
                noun = f"control in the family {study.family}"
                lines.append(unknown(f"{field}.type", choice.type, family.controls, noun))
        if not lines:
            lines += _net_problems(study, family, choices)
    if "scheduler" not in skip and study.scheduler not in family.schedulers:
        what = f"{study.scheduler} does not work with the family {study.family}"
        lines.append(problem("scheduler", what, ", ".join(family.schedulers)))
    return lines


def _net_problems(study: StudyFields, family: FamilyChoice, choices: Choices) -> list[str]:
    """Controls without a ControlNet for their method, and pairs that cannot run together."""
    lines = []
    for i, entry in enumerate(study.controls):
        members = entry.pair if isinstance(entry, PairChoice) else (entry,)
        uses = [
            (choice.type, control_key(study, choice, choices).map_settings) for choice in members
        ]
        what = family.net_problem(uses)
        if what:
            lines.append(problem(f"controls[{i}]", what))
    return lines


def _judge_problems(study: StudyFields, family: FamilyChoice) -> list[str]:
    where = f"in the family {study.family}"
    lines = []
    for need, name in study.judges.items():
        if need not in family.judges:
            lines.append(
                unknown("judges", need, sorted(family.judges), f"choice of judges {where}")
            )
        elif name not in family.judges[need]:
            noun = f"{need} judge {where}"
            lines.append(unknown(f"judges.{need}", name, family.judges[need], noun))
    return lines + resolution_problems(study.protocol, study.family, family.resolution)


def _not_sources(study: StudyFields, field: str) -> list[str]:
    """The keys of a field that should be sources and are none."""
    return [
        problem(f"{field}.{label}", "is not among the sources", ", ".join(study.sources))
        for label in getattr(study, field)
        if label not in study.sources
    ]


def _caption_problems(study: StudyFields) -> list[str]:
    if not study.captions:
        return []
    lines = _not_sources(study, "captions")
    missing = [label for label in study.sources if label not in study.captions]
    if missing:
        lines.append(problem("captions", f"{', '.join(missing)[:200]} has none", "one a source"))
    if study.extra_prompts:
        what = "cannot be varied where sources have captions"
        lines.append(problem("extra_prompts", what, "nothing"))
    if study.shortening.method != "prefix" or study.shortening.keep:
        lines.append(problem("shortening", "does not go together with captions", "prefix"))
    return lines


def _alternative_problems(study: StudyFields) -> list[str]:
    words = list(
        dict.fromkeys(
            [*study.tags, *(t for e in study.extra_prompts.values() for t in Prompt.of(e).names)]
        )
    )
    lines = []
    for word, others in study.alternatives.items():
        field = f"alternatives.{word}"
        if study.captions:
            lines.append(
                problem(field, "has no meaning with captions, which are not taken to words")
            )
        elif word not in words:
            what = f'"{word[:60]}" is in no prompt{did_you_mean(word, words)}'
            lines.append(problem(field, what, ", ".join(words)))
        if not others:
            lines.append(
                problem(field, "has no alternative", "words that may be seen in its place")
            )
        if word.casefold() in (other.casefold() for other in others):
            lines.append(problem(field, "is its own alternative", "other words"))
        lines += _repeated(field, others)
    return lines


def check_syntax(study: StudyFields) -> None:
    """StudyError for a study that is to start and has prompts of `syntax_problems`."""
    if lines := syntax_problems(study):
        raise StudyError(lines)


def syntax_problems(study: StudyFields, skip: Collection[str] = ()) -> list[str]:
    """Prompts in the syntax of the webui, which no text encoder knows, unless they are `literal`.

    For whoever starts a study: a run that was made with such a prompt can still be read.
    """
    if study.literal or "literal" in skip:
        return []
    written: dict[str, Any] = {} if study.captions or study.forms else {"prompt": study.prompt}
    written |= {f"forms.{name}": text for name, text in study.forms.items()}
    written |= {f"extra_prompts.{name}": text for name, text in study.extra_prompts.items()}
    for label, caption in study.captions.items():
        forms = caption if isinstance(caption, dict) else {"": caption}
        written |= {f"captions.{label}.{k}".rstrip("."): text for k, text in forms.items()}
    loose = ("captions", "forms")
    texts = {f: (Prompt.of(t).text, f.partition(".")[0] in loose) for f, t in written.items()}
    texts["negative_prompt"] = (study.negative_prompt, False)
    found = {field: webui_syntax(*text) for field, text in texts.items()}
    return [
        problem(
            field,
            f"{what} is syntax of the webui, which is not done here: the model would read the "
            "characters",
            "plain words; literal: true where the characters themselves are meant",
        )
        for field, what in found.items()
        if what and field.partition(".")[0] not in skip
    ]


def named_controls(study: StudyFields) -> list[tuple[str, ControlChoice]]:
    """Every control the study names and the field it stands in: "controls[0]"."""
    found: list[tuple[str, ControlChoice]] = []
    for i, entry in enumerate(study.controls):
        if isinstance(entry, PairChoice):
            found += [(f"controls[{i}].pair[{k}]", choice) for k, choice in enumerate(entry.pair)]
        else:
            found.append((f"controls[{i}]", entry))
    return found


def _entry_key(entry: ControlChoice | PairChoice) -> str:
    """Equal for entries that ask for the same, whatever the order in a pair."""
    values = entry.model_dump()
    if isinstance(entry, PairChoice):
        values["pair"] = sorted(values["pair"], key=_text)
    return _text(values)


def _pair_problems(study: StudyFields) -> list[str]:
    lines = _repeated("controls", [_entry_key(entry) for entry in study.controls])
    for i, entry in enumerate(study.controls):
        if not isinstance(entry, PairChoice):
            continue
        types = [choice.type for choice in entry.pair]
        if types[0] == types[1]:
            what = f"has {types[0]} twice"
            lines.append(problem(f"controls[{i}].pair", what, "two different control types"))
        for name, axis in entry.scales.items():
            field = f"controls[{i}].scales.{name}"
            if name not in types:
                hint = did_you_mean(name, types)
                lines.append(problem(field, f"is not in the pair{hint}", ", ".join(types)))
            lines += _repeated(field, axis)
    return lines


def _map_problems(study: StudyFields) -> list[str]:
    """A control map steers one control type only, so a study with one has no other."""
    alone = len(study.controls) == 1 and isinstance(study.controls[0], ControlChoice)
    if alone or study.made_elsewhere:
        return []
    what = "is a control map, but the study has several control types"
    return [
        problem(f"sources[{i}]", what, "one control type, that of the map")
        for i, label in enumerate(study.sources)
        if is_map(label)
    ]


def source_problems(study: StudyFields, folder: Path, skip: Collection[str] = ()) -> list[str]:
    """Source files that are not there."""
    if "sources" in skip:
        return []
    lines = []
    for i, label in enumerate(study.sources):
        if not is_scene(label) and not is_file(source_file(label, folder)):
            what = f'there is no file "{path_of(label)}" in {folder.resolve()}'
            lines.append(problem(f"sources[{i}]", what, SOURCES_ALLOWED))
    return lines


def _settings_problems(
    field: str, control: str, settings: Mapping[str, Any], choices: Choices
) -> list[str]:
    try:
        settings_type = choices.settings_type(control)
    except ValueError as error:  # the family has a ControlNet for it, but we have no extractor
        return [problem(f"{field}.type", str(error))]
    try:
        settings_type.model_validate(dict(settings))
    except ValidationError as error:
        keys = {"": list(settings_type.model_fields)}
        return structure_problems(error, keys=keys, allowed={}, prefix=f"{field}.settings")
    return []


def _fixed_problems(
    study: StudyFields, field: str, choice: ControlChoice, family: FamilyChoice
) -> list[str]:
    """Settings that contradict the family's network, or that nobody says."""
    lines = []
    for key, known in family.fixed_settings(choice.type, study.judges).items():
        where, said = f"{field}.settings.{key}", choice.settings.get(key)
        network = f"the {choice.type} network of the family {study.family}"
        if known and said not in (None, known):
            lines.append(problem(where, f"{short(said)}, but {network} has {known}", known))
        elif not known and said is None:
            what = f"is missing, and {network} does not say its {key}"
            lines.append(problem(where, what, f"{key} here or in the family's catalogue entry"))
    return lines


def _text(value: Any) -> str:
    """Canonical JSON, or Python's own text for values which JSON cannot say."""
    try:
        return canonical_json(value)
    except (TypeError, ValueError):
        return repr(value)


def _repeated(field: str, values: Iterable[Any]) -> list[str]:
    seen: set[Any] = set()
    lines = []
    for value in values:
        if value in seen:
            lines.append(problem(field, f"{short(value)} appears twice", "each value once"))
        seen.add(value)
    return lines
