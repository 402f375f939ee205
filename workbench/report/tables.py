"""The tables of the report, and the summary as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import analysis
from workbench.formats import ends, fixed, number

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Table:
    """A table as text. ``numeric`` says of each column whether it is set flush right.

    ``notes`` stand below it, a line each.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()


def interval_text(
    mean: float, low: float, high: float, digits: int = 2, *, spread: float = math.nan
) -> str:
    """Return ``0.63 [0.58, 0.69]``; without an interval ``0.63 ± 0.04``, the spread over seeds."""
    text = fixed(mean, digits)
    if math.isfinite(low) and math.isfinite(high):
        start, end = ends(low, high, lambda value: fixed(value, digits))
        text += f" [{start}, {end}]"
    elif math.isfinite(spread):
        text += f" ± {fixed(spread, digits)}"
    return text


def adherence_text(mean: float, low: float, high: float, *, spread: float = math.nan) -> str:
    """`interval_text` of an adherence or its change; an interval that says nothing is not shown."""
    if analysis.says_nothing(low, high):
        return f"{fixed(mean)} ({analysis.TOO_FEW})"
    return interval_text(mean, low, high, spread=spread)


def summary_frame(
    frame: pd.DataFrame, points: pd.DataFrame, spots: pd.DataFrame, extra: Sequence[str]
) -> pd.DataFrame:
    """Return the points of the trade-off with the means of further metrics beside them.

    Args:
        frame: the long frame of the run.
        points, spots: what `analysis.tradeoff` and `analysis.sweet_spot` return.
        extra: metrics whose mean raw value becomes a column each.
    """
    keys = ["control", "length", "scale"]
    table = points.copy()
    for metric in extra:
        means = analysis.curve(frame, metric, column="value")[[*keys, "mean"]]
        table = table.merge(means.rename(columns={"mean": metric}), on=keys, how="left")
    best = set(spots[keys].itertuples(index=False, name=None)) if len(spots) else set()
    table["sweet_spot"] = [key in best for key in table[keys].itertuples(index=False, name=None)]
    return table


def summary_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8. Text which a spreadsheet would compute is made plain text."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([safe_cell(name) for name in table.columns])
    for row in table.itertuples(index=False, name=None):
        writer.writerow([safe_cell(value) for value in row])
    return buffer.getvalue().encode("utf-8")


def safe_cell(value: object) -> object:
    """Return a cell for CSV: text which starts like a formula gets a quote, NaN becomes empty.

    Numbers stay numbers, negative ones too.
    """
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    return value


def point_table(table: pd.DataFrame, value_label: str, primary: str) -> Table:
    """Return the summary of one control type for reading."""
    heads = (
        "Prompt", "Scale", "Control adherence", "Prompt adherence", "Harmonic mean", value_label,
        "CLIP full prompt", "CLIP source", "",
    )  # fmt: skip
    rows = []
    for row in analysis.records(table):
        marks = ["★"] if row["sweet_spot"] else []
        marks += ["front"] if row["pareto"] else []
        rows.append(
            (
                str(row["label"]),
                number(row["scale"]),
                *(
                    adherence_text(
                        row[f"{side}_adherence"],
                        row[f"{side}_low"],
                        row[f"{side}_high"],
                        spread=row[f"{side}_spread"],
                    )
                    for side in ("control", "prompt")
                ),
                fixed(row["harmonic"]),
                fixed(row.get(primary, math.nan)),
                fixed(row.get("clip_full", math.nan), 1),
                fixed(row.get("clip_source", math.nan), 1),
                ", ".join(marks),
            )
        )
    return Table(heads, tuple(rows), (False, *[True] * 7, False))


def glance_table(frame: pd.DataFrame, labels: Mapping[str, str], prompt_metric: str) -> Table:
    """Return what the scale does to control and prompt, for each control type.

    One line over all prompt lengths, or one for each where their mean would mislead; a note says
    why (see `analysis.trends_by_length`).
    """
    primary = analysis.primary_metrics(frame)
    lengths = analysis.trends_by_length(frame, prompt_metric=prompt_metric)
    rows, notes = [], []
    for control in analysis.controls_in(frame):
        mine = frame[frame["control"] == control]
        label = labels.get(control, control)
        for what, metric in (("control", primary[control]), ("prompt", prompt_metric)):
            known = lengths[(lengths["control"] == control) & (lengths["what"] == what)]
            reason = next(iter(known["reason"]), "")
            if reason:
                found = analysis.records(known.sort_values("length"))
                notes.append(
                    f"{label}, {what} adherence: a line for each prompt length, not their mean, as "
                    f"they differ: {reason}."
                )
            else:
                found = analysis.records(analysis.trend(mine, metric))
            names = [str(name) for name in known.sort_values("length")["label"]]
            mean = f"mean over {analysis.lengths_in_words(names)}" if len(names) > 1 else ""
            for row in found:
                if row["x_last"] <= row["x_first"]:
                    continue
                prompt = str(row["label"]) if reason else mean or names[0]
                rows.append((label, f"{what} adherence", prompt, *_effect_cells(row)))
    heads = (
        *("Control", "What", "Prompt", "Scale", "Mean", "Change [95 % interval]"),
        *("Found in 4 of 5", "Verdict"),
    )
    numeric = (False, False, False, True, True, True, True, False)
    return Table(heads, tuple(rows), numeric, notes=tuple(notes))


def _effect_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A trend for reading: scales, means, change, what could have been missed, verdict."""
    limits = row["change"], row["change_low"], row["change_high"]
    missed = row["direction"] == "no clear effect" and not row["why"]
    return (
        f"{number(row['x_first'])} → {number(row['x_last'])}",
        f"{fixed(row['first'])} → {fixed(row['last'])}",
        adherence_text(*limits, spread=row["spread"]),
        fixed(row["mde"]) if missed else "–",
        ": ".join(t for t in (str(row["direction"]), analysis.decided(row)) if t),
    )


def spot_table(spots: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    """Return the sweet spots for reading."""
    rows = []
    for row in analysis.records(spots):
        edge = {"low": "smallest scale tried", "high": "largest scale tried"}
        notes = [edge.get(str(row["at_edge"]), ""), str(row["note"])]
        if row["at_edge"] == "high" and row["prompt"] >= 1:
            notes[0] += ", prompt at its ceiling: control alone decides"
        rows.append(
            (
                labels.get(str(row["control"]), str(row["control"])),
                str(row["label"]),
                interval_text(row["scale"], row["scale_low"], row["scale_high"]),
                interval_text(row["harmonic"], row["harmonic_low"], row["harmonic_high"]),
                "; ".join(note for note in notes if note),
            )
        )
    heads = ("Control", "Prompt", "Best scale [95 %]", "Harmonic mean [95 %]", "Note")
    return Table(heads, tuple(rows), (False, False, True, True, False))


def setting_table(frame: pd.DataFrame, labels: Mapping[str, str], prompt_metric: str) -> Table:
    """Return control and prompt adherence of the prompts beside the shortened ones, if any."""
    settings = [s for s in dict.fromkeys(frame["setting"]) if s != "length"]
    by = ("control", "setting", "prompt", "scale")
    primary = analysis.primary_metrics(frame)
    rows: list[tuple[str, ...]] = []
    for control in analysis.controls_in(frame) if settings else []:
        mine = frame[frame["control"] == control]
        tables = [
            {
                tuple(row[key] for key in by): adherence_text(row["mean"], row["low"], row["high"])
                for row in analysis.records(analysis.curve(mine, metric, by=by, settings=settings))
            }
            for metric in (primary[control], prompt_metric)
        ]
        for key, control_text in tables[0].items():
            _, setting, prompt, scale = key
            shown = (labels.get(control, control), str(setting), str(prompt) or "–")
            rows.append((*shown, number(float(scale)), control_text, tables[1].get(key, "–")))
    heads = ("Control", "Setting", "Prompt", "Scale", "Control adherence", "Prompt adherence")
    return Table(heads, tuple(rows), (False, False, False, True, True, True))


def nothing_table(frame: pd.DataFrame, failed: Mapping[str, int]) -> Table:
    """Return why numbers are missing: failed pictures, and readings with nothing to compare."""
    missing = frame[(frame["reason"].fillna("") != "") & frame["adherence"].isna()]
    counts = Counter(
        (str(metric).partition(":")[0], str(reason))
        for metric, reason in zip(missing["metric"], missing["reason"], strict=True)
    )
    rows = [("picture", reason, str(count)) for reason, count in sorted(failed.items())]
    rows += [(metric, reason, str(n)) for (metric, reason), n in sorted(counts.items())]
    return Table(("What", "Why", "How often"), tuple(rows), (False, False, True))


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) for every leaf of plain JSON data; lists of leaves are joined."""
    if isinstance(value, Mapping):
        if not value and prefix:
            yield prefix, "–"
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for index, item in enumerate(value, start=1):
            yield from flatten(item, f"{prefix} {index}")
    elif isinstance(value, list):
        yield prefix, ", ".join(str(item) for item in value) or "–"
    else:
        yield prefix, "–" if value is None or value == "" else str(value)


def pairs_table(value: Any, heads: tuple[str, str], caption: str = "") -> Table:
    """Return plain JSON data as a table of names and values."""
    return Table(heads, tuple(flatten(value)), (False, False), caption)
