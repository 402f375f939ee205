"""Checks that need no model: study, weights, sources, pictures and table against their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.families import Family
from workbench.families.locate import models_dir
from workbench.images import ImageError, read_image, sha256_image
from workbench.store import Record, RunFolder, StoreError
from workbench.store.index import build_table, decode_table
from workbench.study import SourceImage, Study, StudyError, load_source
from workbench.study.canonical import settings_hash
from workbench.study.sources import SOURCES_INDEX
from workbench.study.yamlfile import parse_yaml, read_text
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item

if TYPE_CHECKING:
    import pandas as pd

AGAIN = '"workbench run" makes it anew'


@dataclass(frozen=True)
class Found:
    """Records of a run by trial id. `whole` hold together, of `damaged` it is said why not."""

    whole: Mapping[str, Record] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)


def check_study(run: RunFolder, manifest: Mapping[str, Any]) -> tuple[Study | None, Group]:
    """The study file against the hash in the manifest; None if it cannot be read."""
    study: Study | None = None
    wanted = manifest.get("study_hash")
    item = Item("study.yaml", IDENTICAL)
    try:
        values = parse_yaml(read_text(run.study_path), name="study.yaml")
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
    except (StudyError, ValueError) as error:
        detail = f"it cannot be read as a study: {' '.join(str(error).split())}"
        item = Item("study.yaml", DIFFERENT, detail=detail)
    return study, Group("study", "study file", (item,))


def check_weights(
    family: Family, manifest: Mapping[str, Any], models: str | Path | None = None
) -> Group:
    """Weight files on this disk, and pinned revisions, against the manifest."""
    root = models_dir(models)
    refs = [*family.base.values(), *family.controlnets.values(), family.clip]
    pinned = {ref.title: f"revision {ref.revision}" for ref in refs if ref.repo}
    items = []
    for name, wanted in (manifest.get("weight_hashes") or {}).items():
        if str(wanted).startswith("revision "):
            found = pinned.get(name, "")
            missing = f"the family {family.name} no longer has it"
        else:
            found, missing = _hash(root / name), f"there is no such file in {root}"
        if found == wanted:
            items.append(Item(name, IDENTICAL))
        elif not found:
            items.append(Item(name, UNCHECKED, detail=missing))
        else:
            detail = f"other weights than the run was made with ({found[:20]}…)"
            items.append(Item(name, DIFFERENT, detail=detail))
    return Group("weights", "weight files", tuple(items) or (_no_manifest("weights"),))


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
            image = read_image(run.path / "sources" / Path(entry["file"]).name)
            image.flags.writeable = False
            found = sha256_image(image)
            if wanted is not None and found != wanted:
                problems.append("the kept picture is not the one the run was made with")
            else:
                wanted = wanted or entry["sha256"]
                good[label] = SourceImage(label, found, image, tuple(entry["tags"]))
        except KeyError:
            problems.append("the run folder does not list it")
        except (ImageError, TypeError) as error:
            problems.append(f"the kept picture cannot be read: {error}")
        if label.startswith("paperdoll:"):
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
    damaged: dict[str, str] = {}
    for trial_id in run.trial_ids():
        record, reason = run.inspect(trial_id)
        if record is None:
            damaged[trial_id] = f"{reason or 'its folder is empty'}; {AGAIN}"
        elif not record.failed:
            try:
                image = read_image(run.sample_path(trial_id))
            except ImageError as error:
                damaged[trial_id] = f"its picture cannot be read ({error}); {AGAIN}"
                continue
            if sha256_image(image) == record.sample_sha256:
                whole[trial_id] = record
            else:
                damaged[trial_id] = f"its pixels have another hash than its record says; {AGAIN}"
        else:
            whole[trial_id] = record
    return Found(whole, damaged)


def check_pictures(found: Found, wanted: Collection[str]) -> Group:
    """Every trial folder as found, and the trials of the plan that are not there.

    Folders of trials which the study no longer asks for are checked as well.
    """
    items = [Item(f"trial {name}", IDENTICAL) for name in found.whole]
    items += [Item(f"trial {name}", DIFFERENT, detail=why) for name, why in found.damaged.items()]
    absent = [name for name in wanted if name not in found.whole and name not in found.damaged]
    missing = "it is not in the run folder: never made, or removed"
    items += [Item(f"trial {name}", UNCHECKED, detail=missing) for name in absent]
    others = len(set(found.whole) - set(wanted))
    note = f"{others} of them belong to an earlier form of the study" if others else ""
    return Group("pictures", "pictures and records", tuple(items), note=note)


def check_table(run: RunFolder, found: Found, cells: Collection[str]) -> Group:
    """`measurements.parquet` against the table built anew from the records."""
    name, what = "table", "readings in the table"
    try:
        stored = decode_table((run.path / "measurements.parquet").read_bytes())
    except FileNotFoundError:
        return Group(name, what, (Item("measurements.parquet", UNCHECKED, detail="is missing"),))
    except StoreError as error:
        return Group(name, what, (Item("measurements.parquet", DIFFERENT, detail=str(error)),))
    records = list(found.whole.values())
    best: list[Item] | None = None
    for kept in (frozenset(cells), None):
        items = _compare_tables(stored, build_table(records, kept), found.damaged)
        wrong = sum(item.outcome != IDENTICAL for item in items)
        if best is None or wrong < sum(item.outcome != IDENTICAL for item in best):
            best = items
    return Group(name, what, tuple(best or ()))


def _compare_tables(
    stored: pd.DataFrame, rebuilt: pd.DataFrame, damaged: Collection[str]
) -> list[Item]:
    old, new = _by_reading(stored), _by_reading(rebuilt)
    items = []
    for key in dict.fromkeys([*new, *old]):
        name = f"{key[1]} of cell {key[0]}"
        if key not in new and old[key]["trial"] in damaged:
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


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _no_manifest(what: str) -> Item:
    return Item(what, UNCHECKED, detail="the run has no manifest that names them")
