"""Pictures that came since an explorer was filled, put into their places; nothing is built anew."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.explorer.data import TAG_COLUMNS, plain_value, told_of

if TYPE_CHECKING:
    from workbench.explorer.view import View
    from workbench.store import Record


def unmade(view: View) -> dict[str, list[int]]:
    """Trial -> its cells, of those whose picture is neither there nor failed."""
    cells = view.shown.data["cells"]
    found: dict[str, list[int]] = {}
    for cell, trial in enumerate(view.shown.trials):
        if cells["sample"][cell] < 0 and not (cells["failed"] and cells["failed"][cell]):
            found.setdefault(trial, []).append(cell)
    return found


def grow(
    view: View,
    records: Iterable[Record],
    places: Mapping[str, list[int]],
    read_back: Collection[str],
) -> list[dict[str, Any]] | None:
    """Put new pictures and their readings into the data of a view, and say what was put.

    Means, intervals and sweet spots stay as they were.

    Args:
        records: of the new pictures.
        places: trial -> its cells in the view, see `unmade`.
        read_back: control labels whose maps can be read back.

    Returns:
        For each cell: "cell"; "sample" and "read", numbers of pictures or -1; "failed", or "";
        "values", metric -> [value, chance, ceiling, reason]; "tags", as in `explorer_data`. None,
        and nothing is put, where a metric or a word is new, which only another view can show.
    """
    data, put = view.shown.data, []
    words = {name: i for i, name in enumerate(data["tags"]["names"])}
    for record in records:
        for cell in places[record.trial.id]:
            rows = [row for row in record.rows if row["cell"] == view.shown.cells[cell]]
            named = {str(row["metric"]): row for row in rows if ":" not in str(row["metric"])}
            values = {name: row for name, row in named.items() if told_of(name)}
            spoken = [str(row["metric"]).partition(":") for row in rows]
            tags = {tag for head, colon, tag in spoken if colon and head in TAG_COLUMNS}
            if not values.keys() <= data["metrics"].keys() or not tags <= words.keys():
                return None
            label = data["controls"][data["cells"]["control"][cell]]["label"]
            number, trial = view.catalogue.number, record.trial.id
            put.append(
                {
                    "cell": cell,
                    "failed": record.failed,
                    "sample": -1 if record.failed else number("sample", trial),
                    "read": -1
                    if record.failed or label not in read_back
                    else number("read", trial, label),
                    "values": {name: _reading(row) for name, row in values.items()},
                    "tags": _tags(rows, words),
                }
            )
    for one in put:
        _place(data, one)
    return put


def _reading(row: Mapping[str, Any]) -> list[Any]:
    """Value, chance, ceiling and reason as `explorer_data` rounds them."""
    ends = [round(_number(row.get(end)), 6) for end in ("chance", "ceiling")]
    value = _number(row.get("value"))
    return [
        *map(plain_value, (value, *ends)),
        str(row.get("reason") or "") if math.isnan(value) else "",
    ]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _tags(rows: Iterable[Mapping[str, Any]], words: Mapping[str, int]) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        head, _, tag = str(row["metric"]).partition(":")
        value = _number(row.get("value"))
        if head in TAG_COLUMNS and not math.isnan(value):
            mine = found.setdefault(words[tag], [words[tag], -1, -1, -1])
            mine[TAG_COLUMNS[head]] = round(100 * value) if head == "tag" else int(value)
    return list(found.values())


def _place(data: Mapping[str, Any], one: Mapping[str, Any]) -> None:
    """The same as the script does with it."""
    cells, cell = data["cells"], one["cell"]
    cells["sample"][cell], cells["read"][cell] = one["sample"], one["read"]
    if one["failed"]:
        cells["failed"] = cells["failed"] or [""] * len(cells["sample"])
        cells["failed"][cell] = one["failed"]
    data["tags"]["cells"][cell] = one["tags"]
    for name, (value, *ends, reason) in one["values"].items():
        metric = data["metrics"][name]
        metric["values"][cell] = value
        if ends not in metric["references"]:
            metric["references"].append(ends)
        metric["at"][cell] = metric["references"].index(ends)
        if reason:
            metric["reasons"][str(cell)] = reason
