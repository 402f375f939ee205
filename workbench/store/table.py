"""The long table of all readings as a pure function of records, and its form as a Parquet file."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.store.errors import StoreError
from workbench.store.schema import ALONE, COLUMNS, Record
from workbench.study.checks import MAX_READINGS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

OTHER_COLUMNS = "the table of measurements has other columns than this program writes"
MAX_TABLE_BYTES = 256 * 2**20
MAX_TEXT_BYTES = 512 * 2**20
ROW_TEXT_BYTES = 600
"""Texts of a table: so much in all, or so much a row in a table of the largest studies."""
_OWN = {"metric": None, **dict.fromkeys(("value", "chance", "ceiling", "adherence")), "reason": ""}
"""What each reading says itself, with what it is where nobody says it."""
_FROM_CELL = COLUMNS.keys() - _OWN.keys() - {"cell", "trial"}
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
    places: dict[str, list[Any]] = {name: [] for name in COLUMNS if name not in _OWN}
    columns: dict[str, list[Any]] = {name: [] for name in _OWN}
    place: list[int] = []
    for record in records:
        made = {name: record.made_by.get(name) for name in ("tokens", "truncated")}
        known: dict[str, int] = {}
        for row in record.rows:
            cell = row["cell"]
            if cells is not None and cell not in cells:
                continue
            facts = record.cells.get(cell, {})
            own = not _FROM_CELL.isdisjoint(row)
            if own or cell not in known:
                known[cell] = len(places["cell"])
                told = {**ALONE, **made, **facts, **(row if own else {})}
                told |= {"cell": cell, "trial": record.trial.id}
                for name, values in places.items():
                    values.append(told.get(name))
            place.append(known[cell])
            if own:
                del known[cell]
            for name, values in columns.items():
                values.append(row[name] if name in row else facts.get(name, _OWN[name]))
    return _joined(_typed(places), _typed(columns), np.array(place, dtype=np.int64))


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
        names = pq.read_schema(io.BytesIO(data)).names
        if names not in (list(COLUMNS), [name for name in COLUMNS if name not in ALONE]):
            raise StoreError(OTHER_COLUMNS)
        # Texts are read once each: a small file can say a long one in any number of rows.
        texts = [name for name in names if COLUMNS[name] == "string"]
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts)
        _refuse_large(file.metadata)
        if not _fits(file.schema_arrow):
            raise StoreError(OTHER_COLUMNS)
        table = file.read()
        for name in [name for name in COLUMNS if name not in names]:
            filled = pa.array([ALONE[name]] * len(table), _schema().field(name).type)
            table = table.append_column(name, filled)
        if _text_bytes(table) > max(MAX_TEXT_BYTES, len(table) * ROW_TEXT_BYTES):
            raise StoreError("the table of measurements is too large: its texts are too long")
        frame: pd.DataFrame = table.cast(_schema()).to_pandas()
        numbers = frame.select_dtypes("float")
        if numbers.isin([math.inf, -math.inf]).any(axis=None):
            raise StoreError("the table of measurements holds an infinite number")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"the table of measurements is damaged ({error})") from error
    return frame


def _refuse_large(metadata: Any) -> None:
    """StoreError for a table that no study fills: a small file can hold any number of rows."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MAX_READINGS or size > MAX_TABLE_BYTES:
        raise StoreError(f"the table of measurements is too large ({metadata.num_rows:,} rows)")


def _fits(schema: Any) -> bool:
    """Whether the columns have their types, texts as themselves or as places in a list of them."""
    import pyarrow as pa

    kinds = [getattr(kind, "value_type", kind) for kind in schema.types]
    return bool(kinds == [pa.type_for_alias(COLUMNS[name]) for name in schema.names])


def _text_bytes(table: Any) -> int:
    """How long all texts are when each row has its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            lengths = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
            total += pc.sum(lengths.cast(pa.int64())).as_py() or 0
    return total


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def _typed(columns: dict[str, list[Any]]) -> pa.Table:
    import pyarrow as pa

    schema = _schema()
    try:
        return pa.Table.from_pydict(columns, schema=pa.schema([schema.field(n) for n in columns]))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StoreError(f"a reading has a value of the wrong type ({error})") from error


def _joined(places: pa.Table, readings: pa.Table, place: np.ndarray) -> pd.DataFrame:
    """Each reading with what it shares with others at its place, in the order of the table.

    The few places are put in order first: to sort all readings by 14 columns takes longer than
    to read them.
    """
    keys = [name for name in _ORDER if name != "metric"]
    groups = places.select(keys).to_pandas().groupby(keys, dropna=False)
    metric = readings["metric"].to_pandas().factorize(sort=True)[0]
    order = np.lexsort((metric, groups.ngroup().to_numpy()[place]))
    whole, own = places.take(place[order]), readings.take(order)
    for name in own.column_names:
        whole = whole.append_column(name, own[name])
    frame: pd.DataFrame = whole.select(list(COLUMNS)).to_pandas()
    return frame
