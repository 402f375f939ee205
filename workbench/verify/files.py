"""Checks that need no model: study, sources, pictures and table against their hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.images import ImageError, read_png, sha256_image
from workbench.store import Record, RunFolder, StoreError
from workbench.store.table import build_table, decode_table
from workbench.study import SourceImage, Study, StudyError, load_source
from workbench.study.canonical import settings_hash
from workbench.study.labels import is_scene
from workbench.study.sources import SOURCES_INDEX, source_sha256
from workbench.study.yamlfile import parse_yaml
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item

if TYPE_CHECKING:
    import pandas as pd

READING = ["cell", "metric"]
AGAIN = '"workbench run" makes it anew'


@dataclass(frozen=True)
class Found:
    """Records of a run by trial id. `whole` hold together, of `damaged` it is said why not.

    `texts` are the text chunks in the PNG files of those that hold together.
    """

    whole: Mapping[str, Record] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def check_study(run: RunFolder, manifest: Mapping[str, Any]) -> tuple[Study | None, Group]:
    """The study file against the hash in the manifest; None if it cannot be read."""
    study: Study | None = None
    wanted = manifest.get("study_hash")
    item = Item("study.yaml", IDENTICAL)
    try:
        values = parse_yaml(run.study_text(), name="study.yaml")
        hashes = {settings_hash(values)}
        study = run.study()
        hashes.add(study.hash)
        if wanted is None:
            item = Item("study.yaml", UNCHECKED, detail="the run has no manifest to check it by")
        elif wanted not in hashes:
            detail = (
                f"it is not the study that the manifest names (hash {min(hashes)[:12]}…, "
                f"wanted {str(wanted)[:12]}…): it was edited after the run"
            )
            item = Item("study.yaml", DIFFERENT, detail=detail)
    except (StoreError, StudyError, ValueError) as error:
        detail = f"it cannot be read as a study: {' '.join(str(error).split())}"
        item = Item("study.yaml", DIFFERENT, detail=detail)
    return study, Group("study", "study file", (item,))


def check_sources(
    run: RunFolder, study: Study, manifest: Mapping[str, Any], resolution: int
) -> tuple[dict[str, SourceImage], Group]:
    """Sources against the manifest: the kept pictures, and scenes rendered anew.

    Returns the pictures whose pixels are those the run was made with.
    """
    hashes = manifest.get("sources") or {}
    try:
        kept = run.read_json(SOURCES_INDEX) or {}
    except StoreError:
        kept = {}
    good: dict[str, SourceImage] = {}
    items = []
    for label in study.sources:
        wanted, problems = hashes.get(label), []
        try:
            entry = kept[label]
            image = run.read_source(str(entry["file"]))
            image.flags.writeable = False
            found = source_sha256(label, image)
            if wanted is not None and found != wanted:
                problems.append("the kept picture is not the one the run was made with")
            else:
                wanted = wanted or entry["sha256"]
                good[label] = SourceImage(label, found, image, tuple(entry["tags"]))
        except KeyError:
            problems.append("the run folder does not list it")
        except (ImageError, StoreError, TypeError) as error:
            problems.append(f"the kept picture cannot be read: {error}")
        if is_scene(label):
            drawn = load_source(label, run.path, resolution)
            if wanted is not None and drawn.sha256 != wanted:
                problems.append("the scene is rendered otherwise by this version")
            elif label not in good and wanted is not None:
                good[label] = drawn
        outcome = DIFFERENT if problems else IDENTICAL
        items.append(Item(label, outcome, detail="; ".join(problems)))
    return good, Group("sources", "sources", tuple(items))


def read_trials(run: RunFolder) -> Found:
    """Every record and picture, each checked against the hashes in its record."""
    whole: dict[str, Record] = {}
    texts: dict[str, Mapping[str, str]] = {}
    scan = run.scan(hashes=True, strict=False)
    damaged = {trial_id: f"{reason}; {AGAIN}" for trial_id, reason in scan.damaged.items()}
    for trial_id, record in scan.records.items():
        if not record.failed:
            try:
                image, text = read_png(run.sample_path(trial_id))
            except ImageError as error:
                damaged[trial_id] = f"its picture cannot be read ({error}); {AGAIN}"
                continue
            if sha256_image(image) == record.sample_sha256:
                whole[trial_id], texts[trial_id] = record, text
            else:
                damaged[trial_id] = f"its pixels have another hash than its record says; {AGAIN}"
        else:
            whole[trial_id] = record
    return Found(whole, damaged, texts)


def check_pictures(
    found: Found, wanted: Collection[str], edited: Mapping[str, str] | None = None
) -> Group:
    """Every trial folder as found, and the trials of the plan that are not there.

    Folders of trials which the study no longer asks for are checked as well. `edited` says what is
    wrong with the text in a picture, by trial.
    """
    odd = edited or {}
    items = [
        Item(f"trial {name}", DIFFERENT if name in odd else IDENTICAL, detail=odd.get(name, ""))
        for name in found.whole
    ]
    items += [Item(f"trial {name}", DIFFERENT, detail=why) for name, why in found.damaged.items()]
    absent = [name for name in wanted if name not in found.whole and name not in found.damaged]
    missing = "it is not in the run folder: never made, or removed"
    items += [Item(f"trial {name}", UNCHECKED, detail=missing) for name in absent]
    others = len(set(found.whole) - set(wanted))
    note = f"{others} of them belong to an earlier form of the study" if others else ""
    return Group("pictures", "pictures and records", tuple(items), note=note)


def check_table(
    run: RunFolder, found: Found, cells: Collection[str], earlier: bool = False
) -> Group:
    """`measurements.parquet` against the table of the plan's cells, built anew from the records.

    With `earlier` the run's history has another form of the study, whose cells may be in the table
    of a run that was not finished; nothing can be said of them.
    """
    name, what = "table", "readings in the table"
    try:
        data = run.contents(run.table_path)
        if data is None:
            missing = Item("measurements.parquet", UNCHECKED, detail="is missing")
            return Group(name, what, (missing,))
        stored = decode_table(data)
    except StoreError as error:
        return Group(name, what, (Item("measurements.parquet", DIFFERENT, detail=str(error)),))
    mine = stored["cell"].isin(list(cells))
    rebuilt = build_table(found.whole.values(), frozenset(cells))
    items = _compare_tables(stored[mine], rebuilt, found.damaged)
    outcome, detail = DIFFERENT, "the study has no such cell"
    if earlier:
        outcome = UNCHECKED
        detail += ': it may belong to an earlier form; "workbench run" makes the table anew'
    odd = stored[~mine].drop_duplicates(READING)
    items += [
        Item(f"{metric} of cell {cell}", outcome, detail=detail)
        for metric, cell in zip(odd["metric"], odd["cell"], strict=True)
    ]
    return Group(name, what, tuple(items))


def _compare_tables(
    stored: pd.DataFrame, rebuilt: pd.DataFrame, damaged: Collection[str]
) -> list[Item]:
    # Of readings said a million times one is enough beside their count, and quick.
    old, new = (_by_reading(table.drop_duplicates(READING)) for table in (stored, rebuilt))
    items = []
    twice = {**_doubled(rebuilt, "the records have it"), **_doubled(stored, "the table has it")}
    for key in dict.fromkeys([*new, *old]):
        name = f"{key[1]} of cell {key[0]}"
        if key in twice:
            items.append(Item(name, DIFFERENT, detail=twice[key]))
        elif key not in new and old[key]["trial"] in damaged:
            items.append(Item(name, UNCHECKED, detail="its picture or record is damaged"))
        elif key not in new:
            items.append(Item(name, DIFFERENT, detail="the table has it, no whole record has"))
        elif key not in old:
            items.append(Item(name, DIFFERENT, detail="a record has it, the table has not"))
        elif old[key] == new[key]:
            items.append(Item(name, IDENTICAL))
        else:
            odd = {k: v for k, v in old[key].items() if new[key][k] != v}
            parts = [
                f"{column} is {_short(was)} in the table, {_short(new[key][column])} in the record"
                for column, was in odd.items()
            ]
            items.append(Item(name, DIFFERENT, detail="; ".join(parts[:3])))
    return items


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _by_reading(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """(cell, metric) -> the other columns; NaN is None, so that it equals itself."""
    plain = frame.astype(object).where(frame.notna(), None)
    rows = [{str(k): v for k, v in row.items()} for row in plain.to_dict("records")]
    return {(row["cell"], row["metric"]): row for row in rows}


def _doubled(frame: pd.DataFrame, where: str) -> dict[tuple[str, str], str]:
    """(cell, metric) -> what is wrong, for all readings that are there more than once."""
    counts = Counter(zip(frame["cell"], frame["metric"], strict=True))
    return {
        key: f"{where} {count} times: of two readings of one metric one is false"
        for key, count in counts.items()
        if count > 1
    }
