"""The long table of all readings, built from records and kept as a Parquet file."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from workbench.store.errors import StoreError
from workbench.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

_TEXT = ("cell", "trial", "source", "control", "control_settings", "base", "setting", "label")
COLUMNS: dict[str, str] = {
    **dict.fromkeys(_TEXT, "string"),
    "length": "int64",
    "dropped": "string",
    "prompt": "string",
    "full_prompt": "string",
    "scale": "float64",
    "seed": "int64",
    "metric": "string",
    "value": "float64",
    "chance": "float64",
    "ceiling": "float64",
    "adherence": "float64",
    "reason": "string",
    "tokens": "int64",
    "truncated": "bool",
    # In a pair of controls the other one; without one "" and NaN.
    "partner": "string",
    "partner_settings": "string",
    "partner_scale": "float64",
}
_ALONE = {"partner": "", "partner_settings": "", "partner_scale": math.nan}
_ORDER = (
    "partner", "partner_settings", "base", "control", "control_settings", "source", "setting",
    "length", "label", "scale", "partner_scale", "seed", "cell", "metric",
)  # fmt: skip


def build_table(records: Iterable[Record], cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row for each reading, in an order that depends on nothing but the contents.

    Facts of the cell and of the making (tokens, truncated) are joined to each reading; what a
    reading says itself wins. With `cells`, only readings of these cells. The columns are there,
    with their types, even where there is no row.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        made = {name: record.made_by.get(name) for name in ("tokens", "truncated")}
        for row in record.rows:
            if cells is not None and row["cell"] not in cells:
                continue
            facts = record.cells.get(row["cell"], {})
            rows.append({"reason": "", **_ALONE, **made, **facts, **row, "trial": record.trial.id})
    return _frame(rows).sort_values(list(_ORDER), ignore_index=True)


def encode_table(frame: pd.DataFrame) -> bytes:
    """The bytes of `measurements.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, schema=_schema(), preserve_index=False)
    buffer = io.BytesIO()
    # Without pandas' own metadata the types on reading follow from the columns alone.
    pq.write_table(table.replace_schema_metadata(None), buffer, compression="zstd")
    return buffer.getvalue()


def decode_table(data: bytes) -> pd.DataFrame:
    """Read `measurements.parquet`; StoreError if it is damaged or has other columns.

    A table from before there were pairs gets their columns, empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
        if not set(_ALONE) & set(table.column_names):
            for name, value in _ALONE.items():
                filled = pa.array([value] * len(table), _schema().field(name).type)
                table = table.append_column(name, filled)
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"the table of measurements is damaged ({error})") from error
    if list(frame.columns) != list(COLUMNS):
        raise StoreError("the table of measurements has other columns than this program writes")
    return frame


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pyarrow as pa

    filled = [{name: row.get(name) for name in COLUMNS} for row in rows]
    try:
        frame: pd.DataFrame = pa.Table.from_pylist(filled, schema=_schema()).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StoreError(f"a reading has a value of the wrong type ({error})") from error
    return frame
