"""The record of one trial: what was made, how, and what was measured on it, as plain JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.prompts import join_tags
from workbench.store.columns import MADE_BY, wrong_type
from workbench.store.errors import SchemaError, StoreError
from workbench.study import Cell, ControlUse, Trial
from workbench.study.jsontext import parse_json

SCHEMA = 1
MAX_VALUES = 2_000_000
"""Values and keys in one record: a picture without control may fill a cell of every source."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """One trial's `record.json`.

    `sample_sha256` covers the pixels, `file_sha256` the PNG file; both are "" for a failed trial,
    whose reason is `failed`. `cells` maps the id of each measured cell to its facts; `rows` holds
    the readings, each naming its cell. `extra` is for what analysis needs later (embeddings).
    """

    trial: Trial
    made_by: Mapping[str, Any] = field(default_factory=dict)
    sample_sha256: str = ""
    file_sha256: str = ""
    failed: str = ""
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

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
        without cell or metric, or of another trial.
        """
        rows = checked_rows(self.trial.id, rows)
        facts = {cell.id: cell_facts(cell) for cell in cells}
        renewed = {(row["cell"], row["metric"]) for row in rows}
        kept = tuple(
            row
            for row in self.rows
            if (row["cell"], row["metric"]) not in renewed and not (only and row["cell"] in facts)
        )
        return replace(
            self,
            rows=(*kept, *rows),
            cells={**self.cells, **facts},
            extra={**self.extra, **(extra or {})},
        )


def cell_facts(cell: Cell) -> dict[str, Any]:
    """The columns of the long table which are the same for all readings of a cell."""
    return {
        "source": cell.source,
        "control": cell.control,
        "control_settings": cell.control_settings,
        "base": cell.base,
        "setting": cell.variant.setting,
        "label": cell.variant.label,
        "length": cell.variant.length,
        "dropped": join_tags(cell.variant.dropped),
        "prompt": cell.variant.text,
        "full_prompt": cell.full_prompt,
        "scale": cell.scale,
        "seed": cell.seed,
        **(_partner_facts(cell.partner) if cell.partner else {}),
    }


def _partner_facts(partner: ControlUse) -> dict[str, Any]:
    """What the cells of a pair say of the other control."""
    return {
        "partner": partner.control,
        "partner_settings": partner.control_settings,
        "partner_scale": partner.scale,
    }


def checked_rows(trial_id: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows as plain JSON; StoreError for one without cell or metric, or of another trial.

    So for one with a value of the wrong type, and for two readings of one metric of one cell.
    """
    checked: list[Row] = []
    for row in rows:
        if not row.get("cell") or not row.get("metric"):
            raise StoreError(f"trial {trial_id}: a reading must name its cell and its metric")
        if row.get("trial", trial_id) != trial_id:
            raise StoreError(f"trial {trial_id}: a reading belongs to trial {row['trial']}")
        values = {name: value for name, value in plain(row).items() if name != "trial"}
        if odd := wrong_type(values):
            raise StoreError(f"trial {trial_id}: {odd} of a reading is of the wrong type")
        checked.append(values)
    if twice := _read_twice(checked):
        raise StoreError(f"trial {trial_id}: {twice}")
    return tuple(checked)


def _read_twice(rows: Iterable[Row]) -> str:
    """What to say of two readings of one metric of one cell, of which one must be false; "" if
    there are none."""
    counts = Counter((str(row["cell"]), str(row["metric"])) for row in rows)
    twice = next((key for key, count in counts.items() if count > 1), None)
    return "" if twice is None else f"it has {twice[1]} of cell {twice[0]} twice"


def encode_record(record: Record) -> bytes:
    """The bytes of `record.json`. NaN and infinity become null."""
    data = {
        "schema": SCHEMA,
        "trial": record.trial.to_dict(),
        "made_by": record.made_by,
        "sample_sha256": record.sample_sha256,
        "file_sha256": record.file_sha256,
        "failed": record.failed,
        "cells": record.cells,
        "rows": list(record.rows),
        "extra": record.extra,
    }
    return json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")


def decode_record(data: bytes) -> Record:
    """The inverse of `encode_record`; StoreError for anything else.

    SchemaError for a record of another version of this program.
    """
    try:
        raw = parse_json(data, MAX_VALUES)
        if raw["schema"] != SCHEMA:
            raise SchemaError("its record", raw["schema"], SCHEMA)
        record = Record(
            trial=Trial.from_dict(raw["trial"]),
            made_by=dict(raw["made_by"]),
            sample_sha256=str(raw["sample_sha256"]),
            file_sha256=str(raw["file_sha256"]),
            failed=str(raw["failed"]),
            cells={str(key): dict(facts) for key, facts in raw["cells"].items()},
            rows=tuple(dict(row) for row in raw["rows"]),
            extra=dict(raw["extra"]),
        )
        record.trial.id  # noqa: B018 - cannot be told where a number is none
        if any(not (row.get("cell") and row.get("metric")) for row in record.rows):
            raise StoreError("its record has a reading without cell or metric")
        for values in (*record.rows, *record.cells.values()):
            if odd := wrong_type(values):
                raise StoreError(f"its record is damaged ({odd} is of the wrong type)")
        if twice := _read_twice(record.rows):
            raise StoreError(f"its record is damaged ({twice})")
        if odd := wrong_type(record.made_by, MADE_BY):
            raise StoreError(f"its record is damaged ({odd} of its making is of the wrong type)")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StoreError(f"its record is damaged ({type(error).__name__}: {error})") from error
    return record


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
