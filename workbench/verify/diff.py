"""The difference of two runs: their settings, sources, control maps, pictures and readings.

It needs no model, and no folder: a `RunView` is a stored run, or one that was made in memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.analysis import PROMPT_METRIC, metric_name, primary_metrics
from workbench.controls import MapKey
from workbench.formats import fixed, printable, signed
from workbench.images import ImageError
from workbench.store import Record, RunFolder, StoreError, build_table
from workbench.study import Study, StudyError
from workbench.study.yamlfile import parse_yaml
from workbench.verify.conditions import changes
from workbench.verify.result import (
    DIFFERENT,
    EXIT_CODES,
    IDENTICAL,
    METRIC_TOLERANCE,
    UNCHECKED,
    WITHIN,
    Outcome,
    Tolerance,
    readings_outcome,
    tolerance,
    worst,
)

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("value", "chance", "ceiling")
READING = ["trial", "cell", "metric"]
_ACROSS = ("diversity_", "bases_")  # read off several pictures
Place = tuple[str, str]
"""(trial, cell): a cell where a record tells of it."""
Pair = tuple[Any, Any]
_NO_SETTING = ("name", "source_sha256")
_ESSENCE = (
    *("source", "control", "setting", "label", "prompt", "full_prompt", "scale", "seed", "partner"),
    *("partner_scale", "base", "control_settings", "partner_settings"),
)
"""The facts that make a cell what it is, whatever its id."""


@dataclass(frozen=True, eq=False)
class RunView:
    """What a comparison asks of a run.

    name: for the reader. settings: of its study, as plain values. manifest: as plain values.
    sources: label -> SHA-256 of the fitted pixels. records: by trial, of those that hold together.
    damaged: trial -> why it does not hold together. picture: of a trial, uint8 H×W×3. map: a
    control map's picture, None if it was not kept; both may raise StoreError or ImageError.
    """

    name: str
    records: Mapping[str, Record]
    settings: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    picture: Callable[[str], np.ndarray] = lambda _: np.zeros((0, 0, 3), np.uint8)
    map: Callable[[MapKey], np.ndarray | None] = lambda _: None

    @cached_property
    def cells(self) -> dict[Place, Mapping[str, Any]]:
        """The facts of every cell, as the records have them."""
        return {
            (trial, cell): facts
            for trial, record in self.records.items()
            for cell, facts in record.cells.items()
        }

    def map_key(self, place: Place) -> MapKey:
        """The key of the map that a cell is measured by."""
        source, control, settings = (
            str(self.cells[place].get(name)) for name in ("source", "control", "control_settings")
        )
        return MapKey(self.sources.get(source, ""), control, settings)

    def table(self) -> pd.DataFrame:
        """The long table of all readings in the records."""
        return build_table(self.records.values())


@dataclass(frozen=True)
class PixelDifference:
    """How two pictures differ.

    worst: largest difference of a channel, of 255. share: of pixels that differ at all. mean: of
    all channels' differences, of 255. problem: why they cannot be held against each other, "" if
    they can.
    """

    worst: int = 0
    share: float = 0.0
    problem: str = ""
    mean: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """By the tolerance of float32, in which maps are read."""
        return self.within(tolerance("float32"))

    def within(self, allowed: Tolerance) -> Outcome:
        """By the tolerance of a number format."""
        if self.problem or self.worst > allowed.pixel or self.mean > allowed.mean:
            return DIFFERENT
        return WITHIN if self.worst else IDENTICAL


def compare_pixels(a: np.ndarray, b: np.ndarray) -> PixelDifference:
    """The difference of two pictures, uint8 H×W×3."""
    if a.shape != b.shape:
        return PixelDifference(problem="it has another size")
    distance = np.abs(a.astype(int) - b.astype(int))
    share = float((distance.max(axis=-1) > 0).mean())
    return PixelDifference(int(distance.max()), share, mean=float(distance.mean()))


def compare_tables(a: pd.DataFrame, b: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Readings of two long tables side by side, in the order of `on`, which names one reading.

    Columns that are not in `on` get the endings "_a" and "_b"; `side` is "both", "left_only" or
    "right_only". `share` is the largest difference of value, chance or ceiling, as a share of the
    metric's range (of the largest of the figures where it has none), infinite where one of two is
    not a number; `figure` names which of them; `value_share` is that of the value alone.
    """
    if a.empty and b.empty:  # pandas cannot merge empty columns of text
        a, b = (table.astype(dict.fromkeys(on, object)) for table in (a, b))
    both = a.merge(b, on=on, how="outer", suffixes=("_a", "_b"), indicator="side")
    ranges = both["metric"].map({name: _range(name) for name in both["metric"].unique()})
    ranges = ranges.astype(float)
    for figure in FIGURES:
        old, new = both[f"{figure}_a"], both[f"{figure}_b"]
        known = both[[f"{figure}_a", f"{figure}_b", "chance_b", "ceiling_b"]].abs().max(axis=1)
        share = (old - new).abs() / ranges.fillna(known)
        share[old.isna() != new.isna()] = math.inf
        both[figure] = share.mask((old == new) | (old.isna() & new.isna()), 0.0)
    both["share"] = both[list(FIGURES)].max(axis=1)
    both["value_share"] = both["value"]
    both["figure"] = both[list(FIGURES)].idxmax(axis=1) if len(both) else ""
    return both.drop(columns=list(FIGURES))


def _range(metric: str) -> float:
    from workbench.measuring.specs import metric_spec

    try:
        spec = metric_spec(metric)
    except KeyError:  # of another version of this program
        return math.nan
    return math.nan if spec.low is None or spec.high is None else spec.high - spec.low


@dataclass(frozen=True, eq=False)
class RunDifference:
    """How run B differs from run A.

    settings, conditions, sources: name -> (in A, in B), of those that differ. cells: matched cell
    of A -> that of B. facts: matched cell of A -> name -> (in A, in B), of those that differ. maps:
    by A's key, of those that both have. pictures: (trial of A, trial of B) -> difference, of those
    that differ. readings: of matched cells, as from `compare_tables`. dtypes: number formats of A
    and B. only_a, only_b: trials none of whose cells is matched. unreadable: trial -> why it could
    not be compared. Maps and pictures are empty where only records were compared.
    """

    a: str
    b: str
    settings: Mapping[str, Pair]
    conditions: Mapping[str, tuple[str, str]]
    sources: Mapping[str, Pair]
    cells: Mapping[Place, Place]
    facts: Mapping[Place, Mapping[str, Pair]]
    readings: pd.DataFrame
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unreadable: Mapping[str, str]
    dtypes: Pair = (None, None)
    maps: Mapping[MapKey, PixelDifference] = field(default_factory=dict)
    pictures: Mapping[Pair, PixelDifference] = field(default_factory=dict)

    def __repr__(self) -> str:
        """As `workbench diff` prints it; the fields hold every cell and reading."""
        return diff_text(self)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """(trial of A, trial of B) of all that were compared."""
        return tuple(dict.fromkeys((a[0], b[0]) for a, b in self.cells.items()))

    @property
    def outcome(self) -> Outcome:
        """By the tolerances of `workbench verify`, the wider ones where the two runs' number
        formats differ. Conditions alone make no difference."""
        allowed = tolerance(*self.dtypes)
        if not self.cells:
            return UNCHECKED
        plain = (self.settings, self.sources, self.only_a, self.only_b)
        found = {DIFFERENT if any(plain) else IDENTICAL}
        found |= {pixels.outcome for pixels in self.maps.values()}
        found |= {pixels.within(allowed) for pixels in self.pictures.values()}
        if self.unreadable:
            found.add(UNCHECKED)
        if (self.readings["side"] != "both").any():
            found.add(DIFFERENT)
        return worst([*found, self._readings_outcome(allowed)])

    def _readings_outcome(self, allowed: Tolerance) -> Outcome:
        """Readings off pictures that are the same may differ by rounding alone; so may all of
        float32. In half precision those of pictures that differ are judged by their mean."""
        moved = self.readings["trial"].isin([a for a, _ in self.pictures])
        if self.pictures:
            moved |= self.readings["metric"].str.startswith(_ACROSS)
        if allowed == tolerance("float32"):
            moved[:] = False
        shares = self.readings["share"]
        largest = shares[~moved].max() if (~moved).any() else 0.0
        if largest > METRIC_TOLERANCE:
            return DIFFERENT
        return worst([WITHIN if largest > 0 else IDENTICAL,
                      readings_outcome(shares[moved].tolist(), allowed)])  # fmt: skip

    @property
    def exit_code(self) -> int:
        """0: the same, or within tolerance. 1: something differs. 2: it cannot be compared."""
        return EXIT_CODES[self.outcome]

    def metrics(self) -> pd.DataFrame:
        """One row a metric: how many readings, those that differ, those only in A and only in B.

        `largest` is the largest difference of value, chance or ceiling as a share of the metric's
        range; `value` and `adherence` are mean shifts from A to B (NaN where none is known).
        """
        frame = self.readings
        return (
            frame.assign(
                differ=(frame["share"] > 0) & (frame["side"] == "both"),
                only_a=frame["side"] == "left_only",
                only_b=frame["side"] == "right_only",
                share=frame["share"].where(frame["side"] == "both"),
                value=frame["value_b"] - frame["value_a"],
                adherence=frame["adherence_b"] - frame["adherence_a"],
            )
            .groupby("metric")
            .agg(
                total=("side", "size"),
                differ=("differ", "sum"),
                only_a=("only_a", "sum"),
                only_b=("only_b", "sum"),
                largest=("share", "max"),
                value=("value", "mean"),
                adherence=("adherence", "mean"),
            )
            .reset_index()
        )

    def adherence(self) -> pd.DataFrame:
        """Mean adherence in A and B by control, what it is to (control or prompt), length, scale.

        Over the cells of which both runs know it; `cells` counts them.
        """
        import pandas as pd

        frame = self.readings.dropna(subset=["adherence_a", "adherence_b"])
        primary = primary_metrics(frame.assign(control=frame["control_a"]))
        told = metric_name(frame.assign(value=frame["value_a"]), PROMPT_METRIC)
        to = {"control": frame["control_a"].map(primary), "prompt": told}
        found = pd.concat(frame[frame["metric"] == name].assign(to=t) for t, name in to.items())
        groups = found.groupby(["control_a", "to", "length_a", "scale_a"])
        means = groups.agg(
            a=("adherence_a", "mean"), b=("adherence_b", "mean"), cells=("cell", "size")
        )
        return means.reset_index().rename(columns=lambda name: name.removesuffix("_a"))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        pictures = [
            {"a": a, "b": b, "largest": found.worst, "share": found.share, "problem": found.problem}
            for (a, b), found in self.pictures.items()
        ]
        return {
            "a": self.a,
            "b": self.b,
            "result": self.outcome,
            "exit_code": self.exit_code,
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "conditions": {name: list(pair) for name, pair in self.conditions.items()},
            "sources": {name: list(pair) for name, pair in self.sources.items()},
            "maps": {
                "compared": len(self.maps),
                "different": sum(found.outcome == DIFFERENT for found in self.maps.values()),
            },
            "trials": {
                "compared": len(self.pairs),
                "only_a": list(self.only_a),
                "only_b": list(self.only_b),
                "unreadable": dict(self.unreadable),
            },
            "pictures": pictures,
            "readings": _plain_rows(self.metrics()),
            "adherence": _plain_rows(self.adherence()),
        }


def compare(a: RunView, b: RunView, *, alike: bool = True) -> RunDifference:
    """The difference of two runs in what their records, studies and manifests say.

    Cells are matched by their ids and, where these differ, by what they are: source, control,
    prompt, scale, seed and base model. Without `alike` every cell of B is held against that of the
    same id in A, be it empty, as far as A has its trial.
    """
    if alike:
        cells = {place: place for place in a.cells if place in b.cells}
        cells |= _alike(a.cells, b.cells)
    else:
        cells = {place: place for place in b.cells if place[0] in a.records}
    tables = []
    for view, places in ((a, cells.keys()), (b, cells.values())):
        numbers = {place: number for number, place in enumerate(places)}
        table = view.table()
        found = zip(table["trial"], table["cell"], strict=True)
        table["place"] = [numbers.get(place, -1) for place in found]
        tables.append(table[table["place"] >= 0])
    readings = compare_tables(tables[0], tables[1], on=["place", "metric"])
    known = list(cells)
    readings["trial"] = [known[number][0] for number in readings["place"]]
    readings["cell"] = [known[number][1] for number in readings["place"]]
    matched = [{place[0] for place in places} for places in (cells.keys(), cells.values())]
    return RunDifference(
        a=a.name,
        b=b.name,
        settings=_odd(_flat(a.settings), _flat(b.settings)),
        conditions=changes(a.manifest, b.manifest),
        sources=_odd(a.sources, b.sources),
        cells=cells,
        facts={old: _odd(a.cells.get(old, {}), b.cells[new]) for old, new in cells.items()},
        readings=readings,
        only_a=tuple(trial for trial in a.records if trial not in matched[0]),
        only_b=tuple(trial for trial in b.records if trial not in matched[1]),
        dtypes=(a.manifest.get("dtype"), b.manifest.get("dtype")),
        unreadable={**a.damaged, **b.damaged},
    )


def compare_maps(a: RunView, b: RunView, key: MapKey, other: MapKey) -> PixelDifference | None:
    """A's control map against B's, which may have another key; None where one was not kept."""
    try:
        first, second = a.map(key), b.map(other)
    except (StoreError, ImageError) as error:
        return PixelDifference(problem=f"it cannot be read ({error})")
    return None if first is None or second is None else compare_pixels(first, second)


def diff_runs(a: str | Path, b: str | Path) -> RunDifference:
    """The difference of two run folders, which need not be of one study.

    Pictures whose recorded hashes agree count as equal (`verify_run` checks hashes), others are
    compared pixel by pixel. Nothing is written.

    Raises:
        StoreError: one of the folders is no run, or its manifest or list of cells is damaged.
        StudyError: a study file is no YAML.
    """
    one, other = stored_view(RunFolder.open(a)), stored_view(RunFolder.open(b))
    found = compare(one, other)
    keys = dict.fromkeys((one.map_key(x), other.map_key(y)) for x, y in found.cells.items())
    maps = {key[0]: compare_maps(one, other, *key) for key in keys}
    return replace(
        found,
        maps={key: pixels for key, pixels in maps.items() if pixels is not None},
        pictures=dict(_picture_differences(one, other, found.pairs)),
    )


def stored_view(run: RunFolder) -> RunView:
    """A run folder as it is, with the cells of its last start. Errors as for `diff_runs`."""
    scan, planned, manifest = run.scan(strict=False), run.read_cells(), run.read_manifest()
    records = {}
    for trial, record in scan.records.items():
        cells = {c: f for c, f in record.cells.items() if planned is None or c in planned.cells}
        if cells:
            rows = tuple(row for row in record.rows if row["cell"] in cells)
            records[trial] = record.model_copy(update={"cells": cells, "rows": rows})
    settings = parse_yaml(run.study_text(), name=str(run.study_path))
    with suppress(StudyError):  # a study that another version wrote keeps its settings as they are
        settings = Study.from_dict(settings).model_dump(mode="json")
    return RunView(
        name=str(run.path),
        records=records,
        settings=settings,
        manifest={} if manifest is None else manifest.as_json(),
        sources={} if manifest is None else manifest.sources or {},
        damaged=scan.damaged,
        picture=run.read_sample,
        map=run.read_map,
    )


def _picture_differences(
    a: RunView, b: RunView, pairs: Iterable[Pair]
) -> Iterator[tuple[Pair, PixelDifference]]:
    for pair in pairs:
        old, new = a.records[pair[0]], b.records[pair[1]]
        if old.failed or new.failed:
            if bool(old.failed) != bool(new.failed):
                name = "A" if old.failed else "B"
                why = f"it failed in {name} alone: {old.failed or new.failed}"
                yield pair, PixelDifference(problem=why)
        elif old.sample_sha256 != new.sample_sha256:
            try:
                yield pair, compare_pixels(a.picture(pair[0]), b.picture(pair[1]))
            except (StoreError, ImageError) as error:
                yield pair, PixelDifference(problem=f"it cannot be read ({error})")


def _alike(
    a: Mapping[Place, Mapping[str, Any]], b: Mapping[Place, Mapping[str, Any]]
) -> dict[Place, Place]:
    """Cells of A alone with cells of B alone that say the same of themselves.

    What is left is matched without the settings of the controls, then without the base model too,
    as far as there is one such cell in each.
    """
    found: dict[Place, Place] = {}
    names = list(_ESSENCE)
    for leave in ((), ("control_settings", "partner_settings"), ("base",)):
        names = [name for name in names if name not in leave]
        taken = set(found.values())
        old = _by_facts(a, [place for place in a if place not in b and place not in found], names)
        new = _by_facts(b, [place for place in b if place not in a and place not in taken], names)
        for key, places in old.items():
            if len(places) == len(new.get(key, ())) == 1:
                found[places[0]] = new[key][0]
    return found


def _by_facts(
    cells: Mapping[Place, Mapping[str, Any]], places: Iterable[Place], names: list[str]
) -> dict[tuple[Any, ...], list[Place]]:
    found: dict[tuple[Any, ...], list[Place]] = {}
    for place in places:
        found.setdefault(tuple(cells[place].get(name) for name in names), []).append(place)
    return found


def _odd(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Name -> (in A, in B), of all that differ; None where one has no such name."""
    return {
        name: (a.get(name), b.get(name))
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    }


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of groups under dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name in _NO_SETTING:
            continue
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def _plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON: what is no finite number is None."""
    rows = frame.astype(object).where(frame.notna() & ~frame.isin([math.inf]), None)
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def diff_text(found: RunDifference) -> str:
    """The difference for a terminal: what differs first, then figures."""
    lines = [f"A: {found.a}", f"B: {found.b}", f"Result: {found.outcome}"]
    if not found.cells:
        lines += ["", "No cell of one run is in the other: there is nothing to compare."]
    for title, values in (
        ("Settings that differ", found.settings),
        ("Sources that differ", found.sources),
        ("Conditions that differ", found.conditions),
    ):
        lines += ["", title] if values else []
        lines += [f"  {name}: {short(a)} -> {short(b)}" for name, (a, b) in values.items()]
    for trial, why in found.unreadable.items():
        lines.append(f"Trial {trial} cannot be compared: {why}")
    lines += ["", f"Trials      {len(found.pairs):,} in both, {len(found.only_a):,} only in A, "
              f"{len(found.only_b):,} only in B"]  # fmt: skip
    lines.append(f"Pictures    {_pixels_text(found.pictures.values(), len(found.pairs))}")
    lines.append(f"Maps        {_pixels_text(found.maps.values(), len(found.maps))}")
    if len(found.readings):
        lines += ["", *_metrics_text(found.metrics()), "", *_adherence_text(found.adherence())]
    return "\n".join(map(printable, lines))


def _pixels_text(differences: Iterable[PixelDifference], compared: int) -> str:
    odd = [found for found in differences if found.outcome != IDENTICAL]
    text = f"{len(odd):,} of {compared:,} differ"
    known = [found for found in odd if not found.problem]
    if known:
        largest, share = max(f.worst for f in known), np.mean([f.share for f in known])
        text += f"; largest difference {largest}/255, on average in {share:.1%} of the pixels"
    troubles = Counter(found.problem for found in odd if found.problem)
    return "; ".join([text, *(f"{count:,}: {why}" for why, count in troubles.most_common(3))])


def _metrics_text(metrics: pd.DataFrame) -> list[str]:
    """A table of the metrics whose readings differ."""
    odd = metrics[(metrics[["differ", "only_a", "only_b"]] > 0).any(axis=1)]
    lines = [f"Readings    {odd['differ'].sum():,} of {metrics['total'].sum():,} differ"]
    if odd.empty:
        return lines
    odd = odd.rename(columns={"total": "of", "value": "mean shift", "adherence": "of adherence"})
    formats = {"largest": lambda value: fixed(value, 3)}
    formats |= dict.fromkeys(("mean shift", "of adherence"), _shift)
    note = "largest: of value, chance or ceiling, as a share of the metric's range"
    return [*lines, *_indented(odd, formats), f"  ({note})"]


def _adherence_text(means: pd.DataFrame) -> list[str]:
    """A table of mean adherence in both runs."""
    if means.empty:
        return ["Mean adherence is known in no cell of both runs."]
    means = means.assign(shift=means["b"] - means["a"]).rename(columns={"a": "A", "b": "B"})
    formats: dict[str, Callable[[float], str]] = {"A": fixed, "B": fixed, "shift": _shift}
    return ["Mean adherence in the cells of both runs", *_indented(means, formats)]


def _indented(frame: pd.DataFrame, formats: Mapping[str, Callable[[float], str]]) -> list[str]:
    text: str = frame.to_string(index=False, formatters=dict(formats))
    return [f"  {line}" for line in text.splitlines()]


def short(value: Any, length: int = 60) -> str:
    """A value of a record in few characters."""
    if value is None or value != value:
        return "nothing"
    text = f"{value:.6g}" if isinstance(value, float) and value % 1 else str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _shift(value: float) -> str:
    return signed(value) if math.isfinite(value) else "–"
