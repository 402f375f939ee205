"""The files of a run as values: what is in them, of which type, and in which version.

Whoever changes the form of a file raises `SCHEMA` and gives `_STEPS` the step from the older form.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Required, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import to_json
from typing_extensions import TypedDict

from workbench.prompts import CAPTION, Prompt, PromptVariant, join_tags
from workbench.store.errors import SchemaError, StoreError
from workbench.study import Cell, ControlUse, Plan, SourceImage, Study, Trial
from workbench.study.errors import one_line
from workbench.study.jsontext import parse_json
from workbench.study.plan import judges_of, named

SCHEMA = 1
MAX_VALUES = 2_000_000
"""Values and keys in one record: a picture without control may fill a cell of every source."""

_KINDS = {
    "string": Annotated[str, Strict()],
    "int64": Annotated[int, Strict(), Field(ge=-(2**63), lt=2**63)],
    "float64": Annotated[float, Strict(), Field(allow_inf_nan=False)],
    "bool": Annotated[bool, Strict()],
}
FACTS = {
    **dict.fromkeys(("source", "control", "control_settings", "base"), "string"),
    **dict.fromkeys(("setting", "label"), "string"),
    "length": "int64",
    **dict.fromkeys(("dropped", "prompt", "full_prompt"), "string"),
    "scale": "float64",
    "seed": "int64",
}
"""Columns that a reading has from its cell: without them nobody knows what it is about."""
ALONE = {"partner": "", "partner_settings": "", "partner_scale": math.nan}
"""In a pair of controls the other one; so without one."""
COLUMNS: dict[str, str] = {
    "cell": "string",
    "trial": "string",
    **FACTS,
    "metric": "string",
    **dict.fromkeys(("value", "chance", "ceiling", "adherence"), "float64"),
    "reason": "string",
    "tokens": "int64",
    "truncated": "bool",
    "partner": "string",
    "partner_settings": "string",
    "partner_scale": "float64",
}
"""The columns of the table of measurements, with their types as Arrow names them."""
_MADE_BY = {
    **dict.fromkeys(("tokens", "batch_size", "threads"), "int64"),
    "truncated": "bool",
    "seconds": "float64",
    "start": "string",
}


def _typed(name: str, kinds: Mapping[str, str], **needed: Any) -> Any:
    """A dictionary whose values of these names have these types or are None; others are free."""
    types = {key: _KINDS[kind] | None for key, kind in kinds.items()}
    make: Any = TypedDict
    made = make(name, {**types, **needed}, total=False)
    made.__pydantic_config__ = ConfigDict(extra="allow")
    return made


def _each(of: Any) -> PlainValidator:
    """Checks the values of a dictionary; ends at the first that is wrong, however many are."""
    adapter: TypeAdapter[Any] = TypeAdapter(of)

    def check(values: Any) -> dict[str, Any]:
        if not isinstance(values, Mapping):
            raise ValueError("it is no list of names and values")
        found = {}
        for key, value in values.items():
            try:
                found[key] = adapter.validate_python(value)
            except ValidationError as error:
                raise ValueError(f"at {one_line(str(key))}: {clause(error)}") from None
        return found

    return PlainValidator(check)


def _read_once(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Of two readings of one metric of one cell one must be false."""
    named = [(row["cell"], row["metric"]) for row in rows]
    if len(set(named)) < len(named):
        twice = next(key for key, count in Counter(named).items() if count > 1)
        raise ValueError(f"it has {twice[1]} of cell {twice[0]} twice")
    return rows


def _trial(value: Any) -> Trial:
    trial = value if isinstance(value, Trial) else Trial.from_dict(value)
    trial.id  # noqa: B018 - cannot be told where a number is none
    return trial


_NAME = Required[Annotated[str, Strict(), Field(min_length=1)]]
if TYPE_CHECKING:
    Row = Mapping[str, Any]
    CellFacts = Mapping[str, Any]
    MadeBy = Mapping[str, Any]
else:
    Row = _typed("Row", COLUMNS, cell=_NAME, metric=_NAME)
    CellFacts = _typed("CellFacts", COLUMNS)
    MadeBy = _typed("MadeBy", _MADE_BY)
Rows = Annotated[tuple[Row, ...], FailFast(), AfterValidator(_read_once)]
_ROWS: TypeAdapter[tuple[Row, ...]] = TypeAdapter(Rows)


class Record(BaseModel):
    """One trial's `record.json`.

    `sample_sha256` covers the pixels, `file_sha256` and `file_bytes` (None in older records) the
    PNG file; the hashes are "" for a failed trial, whose reason is `failed`. `cells` maps the id of
    each measured cell to its facts; `rows` holds the readings, each naming its cell. `extra` is for
    what analysis needs later (embeddings).
    """

    model_config = ConfigDict(frozen=True)

    trial: Annotated[Trial, PlainValidator(_trial)]
    made_by: MadeBy = {}
    sample_sha256: str = ""
    file_sha256: str = ""
    file_bytes: int | None = None
    failed: str = ""
    cells: Annotated[Mapping[str, CellFacts], _each(CellFacts)] = {}
    rows: Rows = ()
    extra: Mapping[str, Any] = {}

    @property
    def retry(self) -> bool:
        """Whether it failed for a reason that may be gone: memory, a fault of the program."""
        return bool(self.failed) and bool(self.made_by.get("retry"))

    def with_rows(
        self,
        rows: Iterable[Row],
        cells: Iterable[Cell],
        extra: Mapping[str, Any] | None = None,
        *,
        only: bool = False,
    ) -> Record:
        """The record with more readings; a metric read anew for a cell replaces the old one.

        With `only`, the cells lose all readings that are not among `rows`. StoreError for a reading
        without cell or metric, with a value of the wrong type, of another trial, or said twice.
        """
        new = self._checked(rows)
        facts = {cell.id: plain(cell_facts(cell)) for cell in cells}
        renewed = {(row["cell"], row["metric"]) for row in new}
        kept = tuple(
            row
            for row in self.rows
            if (row["cell"], row["metric"]) not in renewed and not (only and row["cell"] in facts)
        )
        return self.model_copy(
            update={
                "rows": (*kept, *new),
                "cells": {**self.cells, **facts},
                "extra": {**self.extra, **plain(extra or {})},
            }
        )

    def _checked(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """New readings as plain JSON, without the trial that they are of."""
        values = []
        for row in rows:
            found = plain(row)
            if (other := found.pop("trial", self.trial.id)) != self.trial.id:
                raise StoreError(f"trial {self.trial.id}: a reading belongs to trial {other}")
            values.append(found)
        try:
            return _ROWS.validate_python(values)
        except ValidationError as error:
            raise StoreError(f"trial {self.trial.id}: {clause(error)}") from error


def cell_facts(cell: Cell) -> dict[str, Any]:
    """The columns of the long table which are the same for all readings of a cell."""
    facts = {
        "source": cell.source,
        "control": cell.control,
        "control_settings": cell.control_settings,
        "base": cell.base,
        "setting": cell.variant.setting,
        "label": cell.variant.name,
        "length": cell.variant.length,
        "dropped": join_tags([*cell.variant.dropped, *cell.variant.unread]),
        "prompt": cell.variant.text,
        "full_prompt": cell.full_prompt,
        "scale": cell.scale,
        "seed": cell.seed,
    }
    if cell.partner:
        facts["partner"] = cell.partner.control
        facts["partner_settings"] = cell.partner.control_settings
        facts["partner_scale"] = cell.partner.scale
    return facts


def plan_of(records: Iterable[Record], sources: Mapping[str, SourceImage], study: Study) -> Plan:
    """The plan of a run whose study cannot say it, for its pictures were made elsewhere.

    Cells are those of the records, with the ids that follow from what the records say of them, so
    an edited fact is another cell than the one that was measured.

    Args:
        records: of all trials.
        sources: as they were used, by label. KeyError if a record names another one.
        study: chooses judges and alternatives.
    """
    found = list(records)
    cells: dict[str, Cell] = {}
    for record in found:
        window = record.trial.control_start, record.trial.control_end
        for facts in record.cells.values():
            cell = named(_cell_of(facts, record.trial, sources[facts["source"]], study), *window)
            cells.setdefault(cell.id, cell)
    return Plan(tuple(cells.values()), tuple(r.trial for r in found), sources, study.alternatives)


def _cell_of(facts: CellFacts, trial: Trial, source: SourceImage, study: Study) -> Cell:
    """The inverse of `cell_facts`; the id is still to be told."""
    text = facts["prompt"]
    whole = facts["setting"] == "length" and facts["label"] == CAPTION
    tags = (text,) if whole else Prompt.of(text).names
    lacking = Prompt.of(facts["dropped"]).names
    use = ControlUse(facts["control"], facts["control_settings"], facts["scale"])
    partner = None
    if facts.get("partner"):
        others = (facts[name] for name in ("partner", "partner_settings", "partner_scale"))
        partner = ControlUse(*others)
    return Cell(
        id="",
        trial_id=trial.id,
        source=facts["source"],
        source_sha256=source.sha256,
        control=use.control,
        control_settings=use.control_settings,
        variant=PromptVariant(
            facts["label"],
            tags,
            len(tags),
            tuple(tag for tag in lacking if tag not in tags),
            facts["setting"],
            None if text == join_tags(tags) else text,
            unread=tuple(tag for tag in lacking if tag in tags),
            is_caption=whole,
        ),
        full_prompt=facts["full_prompt"],
        scale=use.scale,
        seed=facts["seed"],
        base=facts["base"],
        partner=partner,
        judges=judges_of(study, [use, partner] if partner else [use]),
    )


def encode_record(record: Record) -> bytes:
    """The bytes of `record.json`. NaN and infinity become null."""
    values = {name: getattr(record, name) for name in Record.model_fields}
    if record.file_bytes is None:
        del values["file_bytes"]
    return encode_json({"schema": SCHEMA, **values, "trial": record.trial.to_dict()})


def decode_record(data: bytes) -> Record:
    """The inverse of `encode_record`; StoreError for anything else.

    SchemaError for a record of another version of this program.
    """
    try:
        raw = parse_json(data, MAX_VALUES)
        if lost := {"schema", *Record.model_fields} - {"file_bytes", *raw}:
            raise ValueError(f"{min(lost)} is missing")
        return Record.model_validate(upgrade(raw, "its record"))
    except ValidationError as error:
        raise StoreError(f"its record is damaged ({clause(error)})") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StoreError(f"its record is damaged ({type(error).__name__}: {error})") from error


Table = dict[str, Any] | None
Hashes = Annotated[dict[str, str], _each(str)] | None


class _Open(BaseModel):
    """A part of the manifest: what is not named here is kept as it is."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, populate_by_name=True)


class Runtime(_Open):
    """Settings of memory and speed: asked for, and in force on the pipeline of each control."""

    asked: Table = None
    in_force: Table = None


class Determinism(_Open):
    """Flags that decide whether pixels can be made again (`families.determinism.flags`)."""

    threads: Annotated[int, Field(ge=-(2**31), le=2**31)] | None = None


class Executor(_Open):
    """Who did the work, on which devices."""

    kind: str
    workers: list[dict[str, str]]
    threads: int | None = None
    scheduler: str | None = None


class Manifest(_Open):
    """`manifest.json`: everything outside the study that a run's figures may depend on.

    models: part ("base/render", "controlnet/depth") -> id and revision. weight_hashes: weight file
    -> SHA-256. words: who judges words ("judge"), on what that was validated ("validated", "" if
    nobody has), what tells its weights from others ("weights"), and the words that it does not know
    ("unknown"). hardware: card, driver and libraries, or processor (`families.hardware`).
    sources: label -> SHA-256 of the fitted pixels. earlier: manifests of earlier starts that differ
    in more than the time, newest first. What a run of an earlier version did not say is None.
    """

    schema_version: int = Field(SCHEMA, alias="schema")
    created: str | None = None
    study: str | None = None
    study_hash: str = ""
    device: str | None = None
    dtype: str | None = None
    runtime: Runtime | None = None
    safety_checker: bool | None = None
    models: Table = None
    words: Table = None
    weight_hashes: Hashes = None
    scheduler: str | None = None
    scheduler_config: Table = None
    sources: Hashes = None
    hardware: Table = None
    deterministic: Determinism | None = None
    versions: Table = None
    python: str | None = None
    platform: str | None = None
    cpu_count: int | None = None
    git: Table = None
    executor: Executor | None = None
    earlier: list[Manifest] | None = None

    def as_json(self) -> dict[str, Any]:
        """The values of the file, without what it does not say."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @property
    def essence(self) -> dict[str, Any]:
        """What two starts under the same conditions have in common."""
        return {k: v for k, v in self.as_json().items() if k not in ("created", "earlier")}

    @property
    def start_id(self) -> str:
        """Names the start that the manifest describes; records carry it in `made_by`."""
        text = json.dumps(plain(self.essence), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class SourceEntry(BaseModel):
    """A source in `sources.json`: its kept picture in `sources/`, the hash of its pixels, tags.

    `cut` is the share of the original outside of its centred square, 0 where nobody wrote it down.
    note: how a drawn map was turned around before it was kept; left out where it was not.
    """

    file: str
    sha256: str
    tags: tuple[str, ...]
    cut: float = Field(default=0.0, ge=0, lt=1)
    note: str = ""


class PlannedCells(BaseModel):
    """`cells.json`: cell -> trial of the study as it was at the last start.

    The trial is "" for all cells of a run whose version kept the cells alone.
    """

    model_config = ConfigDict(frozen=True)

    cells: Annotated[Mapping[str, str], _each(str)]

    @property
    def trials(self) -> frozenset[str] | None:
        """Ids of the planned trials; None where they were not kept."""
        found = frozenset(self.cells.values())
        return None if "" in found else found


SOURCES: TypeAdapter[dict[str, SourceEntry]] = TypeAdapter(
    Annotated[dict[str, SourceEntry], _each(SourceEntry)]
)
_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version of a file's form -> what makes the next version's out of it."""


def upgrade(raw: dict[str, Any], what: str) -> dict[str, Any]:
    """The values of a file in the form of this version; SchemaError if there is no way to it."""
    found = raw.get("schema", SCHEMA)
    while isinstance(found, int) and found in _STEPS:
        raw = _STEPS[found](raw)
        found = raw["schema"]
    if found != SCHEMA:
        raise SchemaError(what, found, SCHEMA)
    return raw


def decode_manifest(raw: Any, what: str) -> Manifest:
    """A manifest from the values of its file. ValueError with a clause that says what is wrong.

    SchemaError, which calls the run `what`, for that of another version of this program.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no list of conditions")
    return checked(Manifest.model_validate, upgrade(raw, what))


def decode_cells(raw: Any) -> PlannedCells:
    """The planned cells from the values of their file, a list of ids in older runs. ValueError."""
    if isinstance(raw, list):
        raw = {"cells": dict.fromkeys(map(str, raw), "")}
    elif isinstance(raw, dict):
        raw = upgrade(raw, "the list of cells")
    return checked(PlannedCells.model_validate, raw)


T = TypeVar("T")


def checked(validate: Callable[[Any], T], raw: Any) -> T:
    """What a validation of pydantic's makes of values; ValueError with a clause if one is wrong."""
    try:
        return validate(raw)
    except ValidationError as error:
        raise ValueError(clause(error)) from error


def clause(error: ValidationError) -> str:
    """What is wrong, as a clause, by the first of the errors."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    names = [part for part in first["loc"] if isinstance(part, str)]
    if first["type"] == "value_error":
        return first["msg"].removeprefix("Value error, ")
    if not names:
        return "it is of another form"
    name = {"study_hash": "its hash of the study"}.get(names[-1], names[-1])
    if names[0] == "made_by" and len(names) > 1:
        name += " of its making"
    lost = first["type"] in ("missing", "string_too_short")
    return f"{name} {'is missing' if lost else 'is of the wrong type'}"


def encode_json(value: Any) -> bytes:
    """The bytes of a JSON file of a run, a value a line. NaN and infinity become null."""
    return to_json(plain(value), indent=1)


def plain(value: Any) -> Any:
    """Plain JSON values: NumPy numbers unpacked, tuples as lists, NaN and infinity as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)
