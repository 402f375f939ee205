"""What the explorer shows of a run, as plain values that JSON can carry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import analysis
from workbench.analysis.frames import WITH, count_tags
from workbench.analysis.tags import lacked_tags
from workbench.controls import ControlError, get_control
from workbench.measuring.specs import metric_spec
from workbench.prompts import parse_tags
from workbench.store import cell_facts, plain
from workbench.store.schema import ALONE
from workbench.study.labels import is_scene, path_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.study import Cell

VERSION = 1
"""Of the layout of `explorer_data`; the script refuses another one."""
CONTROL = "control"
"""Stands for the primary metric of each control type, as `analysis.PROMPT_METRIC` of the prompt."""
PLACES = ("control", "source", "base", "seed", "scale")
PLACE_NAMES = ("control", "source", "seed", "prompt", "scale")
DIGITS = 4
TAG_COLUMNS = {"tag": 1, "tag_obeyed": 2, "tag_source": 3}
"""What is said of a word, and where it stands in what a cell tells of it."""
UNMADE = ""
"""Stands for the metric in the row of a cell whose picture has not been made."""

PULL, SO_FAR = "pull", "so far"
"""What a picture on the way is: where text and control pull, and what it looks like so far."""

Picture = tuple[str, str, str]
"""What a picture is ("sample", "source", "wanted", "read", `PULL` or `SO_FAR`), and two names that
tell which: the trial; the source; source and control; trial and control; trial and step."""


@dataclass
class Catalogue:
    """The pictures that the explorer may ask for, each named once; data refer to them by number."""

    pictures: list[Picture] = field(default_factory=list)
    _known: dict[Picture, int] = field(default_factory=dict)

    def number(self, kind: str, one: str, other: str = "") -> int:
        """The number of a picture; a new one if it has none yet."""
        key = (kind, one, other)
        if key not in self._known:
            self._known[key] = len(self.pictures)
            self.pictures.append(key)
        return self._known[key]


@dataclass(frozen=True)
class Shown:
    """What the explorer shows: values for JSON, the pictures that they name by number, and the
    trial and the id of each cell."""

    data: dict[str, Any]
    pictures: Sequence[Picture]
    trials: Sequence[str]
    cells: Sequence[str]

    def place(self, cell: int) -> dict[str, Any]:
        """Where a cell lies, by the names of its control, source, seed, prompt and scale."""
        data, cells = self.data, self.data["cells"]
        return {
            "control": data["controls"][cells["control"][cell]]["label"],
            "source": data["sources"][cells["source"][cell]]["name"],
            "seed": data["seeds"][cells["seed"][cell]],
            "prompt": data["prompts"][cells["prompt"][cell]]["label"],
            "scale": data["scales"][cells["scale"][cell]],
        }

    def cell_at(self, place: object) -> int | None:
        """The cell that lies at a place (as `place` says it); None if there is none."""
        if not isinstance(place, Mapping):
            return None
        try:
            return self._places.get(tuple(place.get(name) for name in PLACE_NAMES))
        except TypeError:  # a browser may send anything
            return None

    @cached_property
    def _places(self) -> dict[tuple[Any, ...], int]:
        found: dict[tuple[Any, ...], int] = {}
        for cell in range(len(self.trials)):
            found.setdefault(tuple(self.place(cell).values()), cell)
        return found


def explorer_data(
    frame: pd.DataFrame,
    *,
    title: str = "",
    sources: Iterable[str] = (),
    failed: Mapping[str, str] | None = None,
    read_back: Iterable[str] = (),
    notes: Sequence[str] = (),
    catalogue: Catalogue | None = None,
) -> Shown:
    """Everything that the explorer shows of a run but the pixels.

    Cells stand in columns, one entry for each; where a column holds whole numbers they point into
    the list of that name. A metric's `at` points into its `references`, pairs of chance and
    ceiling, and adherence is (value - chance) / (ceiling - chance).

    Args:
        frame: labelled long frame of the run, see `analysis.distinct_controls`. A row without a
            metric is of a cell whose picture has not been made, see `unmade_rows`.
        title: the run's name.
        sources: those whose picture can be shown.
        failed: trial -> why it has no picture.
        read_back: control labels whose maps can be read back from the pictures.
        notes: what a reader must know, a sentence each; the answer first.
        catalogue: of an earlier view of the run: pictures keep their numbers.
    """
    failed, sources, read_back = dict(failed or {}), set(sources), set(read_back)
    cells = frame.drop_duplicates("cell").reset_index(drop=True)
    unmade = (cells["metric"] == UNMADE).to_list()
    kinds, frame = frame, frame[frame["metric"] != UNMADE]
    prompts, prompt_of = _prompts(cells)
    lists: dict[str, list[Any]] = {}
    columns: dict[str, Any] = {"prompt": prompt_of}
    for name in PLACES:
        lists[name], columns[name] = _indexed(cells[name])
    lists["text"], columns["text"] = _indexed(cells["prompt"])
    whole, columns["whole"] = _indexed(cells["full_prompt"])
    lacking, columns["cut"] = _indexed(lacked_tags(cells))
    catalogue = Catalogue() if catalogue is None else catalogue
    trials = cells["trial"].map(str)
    reasons = [failed.get(trial, "") for trial in trials]
    columns["sample"] = [
        -1 if reason or absent else catalogue.number("sample", trial)
        for trial, reason, absent in zip(trials, reasons, unmade, strict=True)
    ]
    columns["wanted"] = [
        catalogue.number("wanted", str(source), str(control)) if source in sources else -1
        for source, control in zip(cells["source"], cells["control"], strict=True)
    ]
    columns["read"] = [
        catalogue.number("read", trial, str(control)) if n >= 0 and control in read_back else -1
        for trial, control, n in zip(trials, cells["control"], columns["sample"], strict=True)
    ]
    metrics, tags = _readings(frame, cells)
    data = {
        "version": VERSION,
        "title": title,
        "notes": list(notes),
        "controls": [_control(str(label), kinds) for label in lists.pop("control")],
        "sources": [
            {
                "name": str(name),
                "label": source_name(str(name)),
                "picture": catalogue.number("source", str(name)) if name in sources else -1,
            }
            for name in lists.pop("source")
        ],
        "bases": lists.pop("base"),
        "seeds": lists.pop("seed"),
        "scales": lists.pop("scale"),
        "texts": lists.pop("text"),
        "prompts": prompts,
        "wholes": [_words(text, tags["names"]) for text in whole],
        "cuts": [
            [i for i, tag in enumerate(tags["names"]) if tag in parse_tags(text)]
            for text in lacking
        ],
        "cells": columns | {"failed": reasons if any(reasons) else []},
        "metrics": metrics,
        "tags": tags,
        "curves": _curves(frame, prompts, metrics),
        "spots": _spots(frame, prompts),
    }
    return Shown(
        plain_value(data), tuple(catalogue.pictures), tuple(trials), tuple(map(str, cells["cell"]))
    )


def with_ways(shown: Shown, ways: Mapping[str, Any], catalogue: Catalogue) -> Shown:
    """The same with who is driving, cell by cell, beside it.

    Pictures on the way are [step, number of the maps of where text, control and interaction pull,
    number of the picture so far], -1 where there is none.

    Args:
        ways: as `influences.Ways.values` says it; nothing is added where it is {}.
        catalogue: that of what is shown.
    """
    if not ways:
        return shown
    seen = {}
    for cell, trial in enumerate(shown.trials):
        if (way := ways["trials"].get(trial)) is None:
            continue
        so_far = {n: catalogue.number(SO_FAR, trial, str(n)) for n in way["so_far_at"]}
        steps = [
            [n, catalogue.number(PULL, trial, str(n)), so_far.get(n, -1)] for n in way["maps_at"]
        ]
        seen[cell] = {"group": way["group"], "figures": way["figures"], "steps": steps}
    driving = plain_value({"groups": ways["groups"], "cells": seen})
    return replace(
        shown, data=shown.data | {"driving": driving}, pictures=tuple(catalogue.pictures)
    )


def unmade_rows(cells: Iterable[Cell], frame: pd.DataFrame) -> pd.DataFrame:
    """A long frame with a row, without a metric, for each cell that it does not have yet.

    Args:
        cells: those of the plan.
        frame: the run's long frame, not labelled yet. It is returned if nothing is missing.
    """
    import pandas as pd

    cells = tuple(cells)
    there = set(frame["cell"]) if cells else set()
    rows = [
        {**ALONE, **plain(cell_facts(cell)), "cell": cell.id, "trial": cell.trial_id}
        for cell in cells
        if cell.id not in there
    ]
    if not rows:
        return frame
    more = pd.DataFrame(rows).assign(metric=UNMADE, reason="").reindex(columns=frame.columns)
    return pd.concat([frame, more], ignore_index=True) if len(frame) else more


def source_name(source: str) -> str:
    """What people call a source: a scene by its number, a picture by its file's name."""
    if is_scene(source):
        return f"scene {source.partition(':')[2]}"
    return path_of(source).replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or source


def _control(label: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A control as the frame labels it: its type, what tells it from others, and its metrics."""
    kind = analysis.control_type(label)
    base = frame.loc[frame["control"] == label, "base"].iloc[0]
    detail = label[len(kind) :].strip().removeprefix("(").removesuffix(")")
    parts = [part for part in detail.split("; ") if part and part != f"base {base}"]
    detail = "; ".join(parts)
    try:
        control = get_control(kind)
    except ControlError:
        name, metrics = kind, []
    else:
        name, metrics = control.label, [spec.name for spec in control.metrics]
    primary = analysis.primary_metrics(frame)[label]
    return {
        "label": label,
        "name": f"{name} ({detail})" if detail else name,
        "base": str(base),
        "paired": any(part.startswith(WITH) for part in parts),
        "primary": primary,
        "metrics": [primary, *(metric for metric in metrics if metric != primary)],
    }


def _prompts(cells: pd.DataFrame) -> tuple[list[dict[str, Any]], list[int]]:
    """The forms of the prompt, shortest first, and the form of each cell."""
    keys = list(zip(cells["setting"], cells["length"], cells["label"], strict=True))
    forms = sorted(set(keys), key=lambda key: (key[0] != "length", key[1], str(key[2])))
    place = {form: i for i, form in enumerate(forms)}
    told = [
        {
            "label": count_tags(0) if length == 0 else str(label),
            "length": int(length),
            "curve": setting == "length",
        }
        for setting, length, label in forms
    ]
    return told, [place[key] for key in keys]


def _words(text: str, known: Sequence[str]) -> list[int]:
    """The words of a full prompt that are judged, in its order, as places in the list of words."""
    found = [(text.find(word), i) for i, word in enumerate(known)]
    return [i for at, i in sorted(found) if at >= 0]


def _readings(
    frame: pd.DataFrame, cells: pd.DataFrame
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The metrics in columns, and what the judge of words says, sparsely, cell by cell.

    Of words each cell has [word, probability in percent, obeyed, shown by the source], -1 for what
    is not known.
    """
    place = {cell: i for i, cell in enumerate(cells["cell"])}
    metrics: dict[str, dict[str, Any]] = {}
    single = ~frame["metric"].astype(str).str.contains(":")
    for name, mine in frame[single].groupby("metric", sort=False):
        spec = told_of(str(name))
        if spec is None:
            continue
        where = mine["cell"].map(place).to_numpy()
        values = np.full(len(cells), np.nan)
        values[where] = mine["value"].to_numpy(dtype=float)
        ends = zip(mine["chance"].round(6), mine["ceiling"].round(6), strict=True)
        pairs = [tuple(None if math.isnan(v) else v for v in pair) for pair in ends]
        codes = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
        at = np.full(len(cells), -1)
        at[where] = [codes[pair] for pair in pairs]
        reasons = mine.loc[mine["value"].isna() & (mine["reason"] != ""), ["cell", "reason"]]
        metrics[str(name)] = spec | {
            "adheres": bool(mine["adherence"].notna().any()),
            "values": values,
            "at": at,
            "references": list(codes),
            "reasons": {str(place[c]): r for c, r in reasons.itertuples(index=False, name=None)},
        }
    return metrics, _tags(frame[~single], place, len(cells))


def told_of(name: str) -> dict[str, Any] | None:
    """What is told of a metric; None for one that this version does not know."""
    try:
        spec = metric_spec(name)
    except KeyError:
        return None
    return {
        "label": spec.label,
        "about": spec.protocol,
        "unit": spec.unit,
        "better": 1 if spec.higher_is_better else -1,
    }


def _tags(rows: pd.DataFrame, place: Mapping[str, int], count: int) -> dict[str, Any]:
    names: dict[str, int] = {}
    found: list[dict[int, list[int]]] = [{} for _ in range(count)]
    for cell, metric, value in zip(rows["cell"], rows["metric"], rows["value"], strict=True):
        head, _, tag = str(metric).partition(":")
        if head not in TAG_COLUMNS or math.isnan(value):
            continue
        word = names.setdefault(tag, len(names))
        mine = found[place[cell]].setdefault(word, [word, -1, -1, -1])
        mine[TAG_COLUMNS[head]] = round(100 * value) if head == "tag" else int(value)
    return {"names": list(names), "cells": [list(mine.values()) for mine in found]}


def _curves(
    frame: pd.DataFrame, prompts: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Metric -> its means with intervals: for each control label a list of
    [prompt, scale, mean, low, high, on the Pareto front]."""
    place = {prompt["length"]: i for i, prompt in enumerate(prompts) if prompt["curve"]}
    points = analysis.tradeoff(frame)
    curves: dict[str, Any] = {}
    for name, side in ((CONTROL, "control"), (analysis.PROMPT_METRIC, "prompt")):
        columns = [f"{side}_adherence", f"{side}_low", f"{side}_high", "pareto"]
        curves[name] = _by_control(points, columns, place)
    for name, metric in metrics.items():
        column = "adherence" if metric["adheres"] else "value"
        table = analysis.curve(frame, name, column=column)
        curves[name] = _by_control(table, ["mean", "low", "high"], place)
    return curves


def _by_control(
    table: pd.DataFrame, columns: Sequence[str], place: Mapping[int, int]
) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for row in table[["control", "length", "scale", *columns]].itertuples(index=False, name=None):
        control, length, scale, mean, *rest = row
        if isinstance(mean, float) and math.isfinite(mean):
            found.setdefault(str(control), []).append([place[int(length)], scale, mean, *rest])
    return found


def _spots(frame: pd.DataFrame, prompts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sweet spots of curves of three scales or more; fewer say nothing about a best one."""
    place = {prompt["length"]: i for i, prompt in enumerate(prompts) if prompt["curve"]}
    count = frame[frame["setting"] == "length"].groupby(["control", "length"])["scale"].nunique()
    return [
        {
            "control": str(row["control"]),
            "prompt": place[int(row["length"])],
            "scale": row["scale"],
            "low": row["scale_low"],
            "high": row["scale_high"],
            "harmonic": row["harmonic"],
        }
        for row in analysis.records(analysis.sweet_spot(frame))
        if count[row["control"], row["length"]] >= 3
    ]


def _indexed(column: pd.Series) -> tuple[list[Any], list[int]]:
    """The different values of a column, in order (numbers by size), and each entry's place."""
    values = list(dict.fromkeys(column.tolist()))
    if values and all(isinstance(value, int | float) for value in values):
        values.sort()
    place = {value: i for i, value in enumerate(values)}
    return values, [place[value] for value in column]


def plain_value(value: Any) -> Any:
    """The value with nothing that JSON lacks: NaN becomes None, numbers keep four digits."""
    if isinstance(value, str | int):  # what there is most of comes first
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_value(value.tolist())
    return value
