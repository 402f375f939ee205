"""The study: what to vary and what to hold fixed, as one typed value and one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from workbench.study.canonical import settings_hash
from workbench.study.checks import cross_problems, name_problems, source_problems, syntax_problems
from workbench.study.choices import Choices, installed_choices
from workbench.study.errors import StudyError, problem, structure_problems
from workbench.study.fields import (
    ALLOWED,
    MEASURED,
    PAIR,
    QUIET,
    ControlChoice,
    PairChoice,
    Runtime,
    Shortening,
    StudyFields,
)
from workbench.study.labels import SOURCES_ALLOWED
from workbench.study.protocols import follow
from workbench.study.ranges import with_sources
from workbench.study.yamlfile import dump_yaml, parse_yaml, read_text, study_file

# Stand in for a missing or wrong required field while the other fields are checked.
_FILLERS: dict[str, Any] = {
    "name": "study",
    "sources": ["paperdoll:0"],
    "controls": ["canny"],
    "prompt": ["tag"],
}


class Study(StudyFields):
    """A declared experiment: the grid of everything in a list, under the settings held fixed.

    Wrong values raise StudyError with all problems at once, whether the study comes from a file
    or from keyword arguments. Names of families, base models and controls are checked by
    `from_yaml`, `from_dict` and `make_plan`, which know what exists.
    `lengths` may be empty: then only the full prompt is used. They count tags, or the `unit`:
    words, sentences, tokens. `forms` are the study's own short and long texts instead of lengths.
    An entry of `controls` is one control, or a pair of them that steers at once. A source
    `map:<path>` is no picture but already a map of the study's one control type, drawn by hand or
    made by another program.

    `fill_batches` makes a batch that is too small full with copies, which are thrown away: pixels
    depend on the size of the batch by a rounding, so this is how a single picture of a larger run
    is made again to the byte. `captions` give every source a prompt of its own, whole or cut
    by `lengths`, or in forms of its own; `prompt` may then be left out, as with `forms`, where it
    is the last of them. `alternatives` say what may be seen in place of a word,
    so that the word is judged alone against them. `judges` chooses among the extractors and judges
    of the family, `protocol` a published evaluation (see `workbench.study.protocols`).
    `literal` takes what looks like syntax of the webui, `(snow:1.3)`, for the characters it is.
    `source_sha256` pins sources to their pixels, after fitting: a study that was taken out of a
    report or a picture refuses any other source. It says what was, not what to do, so it is no part
    of the `hash`. With `made_elsewhere` it is no experiment to run: it names what pictures from
    another program were measured by (`workbench.scoring`), and `base` the models that are said to
    have made them.
    """

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        context = info.context or {}
        data, broken = follow(data)
        lines: list[str] = []
        skip: set[str] = set()
        try:
            study = handler(data)
        except ValidationError as error:
            keys = {
                "": list(cls.model_fields),
                "controls": list(ControlChoice.model_fields),
                PAIR: list(PairChoice.model_fields),
                "shortening": list(Shortening.model_fields),
                "runtime": list(Runtime.model_fields),
            }
            lines = structure_problems(error, keys=keys, allowed=ALLOWED)
            if not isinstance(data, Mapping):
                raise StudyError(lines) from None
            skip = {str(item["loc"][0]) for item in error.errors() if item["loc"]}
            good = {k: v for k, v in data.items() if k in cls.model_fields and k not in skip}
            study = handler({**_FILLERS, **good})
        lines += broken + cross_problems(study, skip)
        if "choices" in context:
            lines += name_problems(study, context["choices"], skip)
        if context.get("starts"):
            lines += syntax_problems(study, skip)
        if "folder" in context:
            lines += source_problems(study, context["folder"], skip)
        if lines:
            raise StudyError(lines)
        return study

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        folder: Path | None = None,
        choices: Choices | None = None,
        starts: bool = False,
    ) -> Study:
        """Check plain data against what exists (`choices`, else what is installed).

        Settings which the data does not name are the family's defaults. With a `folder`, source
        paths are relative to it and must exist, and patterns ("pictures/*.png") are written out.
        A study that `starts` is asked for more than one that is read back: see `syntax_problems`.
        """
        choices = choices or installed_choices()
        context: dict[str, Any] = {"choices": choices, "starts": starts}
        if folder is not None:
            context["folder"] = folder
        if folder is not None:
            try:
                data = with_sources(data, folder)
            except ValueError as error:
                raise StudyError([problem("sources", str(error), SOURCES_ALLOWED)]) from None
        filled, _ = follow(data)
        made_here = not filled.get("made_elsewhere")
        family = filled.get("family", cls.model_fields["family"].default)
        offered = choices.families.get(family) if isinstance(family, str) else None
        defaults = offered.defaults if offered and made_here else {}
        silent = {k: v for k, v in defaults.items() if k not in filled}  # protocols come first
        study = cls.model_validate({**silent, **data}, context=context)
        study._folder = folder or Path()
        return study

    @classmethod
    def from_yaml(cls, path: str | Path, *, choices: Choices | None = None) -> Study:
        """Read a study file, or the package's own of that name ("demo").

        Source paths are relative to the file's folder.
        """
        path = study_file(path)
        data = parse_yaml(read_text(path), name=str(path))
        return cls.from_dict(data, folder=path.parent, choices=choices, starts=True)

    def to_yaml(self) -> str:
        """YAML text which `from_yaml` reads back as an equal study; every setting is written."""
        values = self._values()
        quiet = {k for k in QUIET if not values.get(k)}
        quiet |= {"unit"} if self.unit == "tags" else set()
        return dump_yaml({k: v for k, v in values.items() if k not in quiet})

    @property
    def folder(self) -> Path:
        """Source paths are relative to this folder."""
        return self._folder

    @property
    def hash(self) -> str:
        """SHA-256 over all settings, 64 hexadecimal digits."""
        return settings_hash(self._values())

    def _values(self) -> dict[str, Any]:
        """The settings as plain values; of pictures made elsewhere what was measured alone."""
        values = self.model_dump(mode="json")
        if self.made_elsewhere is None:
            return values
        return {name: values[name] for name in MEASURED}

    def __eq__(self, other: object) -> bool:
        """Equal settings; the folder the file lies in does not matter."""
        if not isinstance(other, Study):
            return NotImplemented
        return self.model_dump() == other.model_dump()
