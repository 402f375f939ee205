"""What a run folder says of itself, held against hashes, its study and its records; no models."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.images import ImageError, read_png, sha256_image
from workbench.store import COLUMNS, Record, RunFolder, Scan, StoreError, build_table, plan_of
from workbench.store.pngtext import PARAMETERS, STUDY, WORKBENCH, png_text
from workbench.store.schema import SourceEntry
from workbench.store.table import decode_table
from workbench.study import Cell, Plan, SourceImage, Study, StudyError, load_source, make_plan
from workbench.study.canonical import settings_hash
from workbench.study.labels import is_scene
from workbench.study.sources import source_sha256
from workbench.study.yamlfile import parse_yaml
from workbench.verify.diff import RunDifference, RunView, compare_tables, short
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item, Outcome

if TYPE_CHECKING:
    import pandas as pd

AGAIN = '"workbench run" makes it anew'
REPORT = "report.html"
_HASHED = ("study.yaml", "manifest.json", "sources.json", "measurements.parquet")
_OWN = {"cell", "trial", "metric", "value", "chance", "ceiling", "adherence", "reason"}
_FACTS = set(COLUMNS) - _OWN
"""Columns of the table that a reading must take from its cell and its picture."""
_TEXTS = {STUDY: "study", WORKBENCH: "trial", PARAMETERS: "line of settings"}
_SEAL = '<meta name="workbench-page" content="{}">'
_PAGE = re.compile(rb'<meta name="workbench-page" content="([0-9a-f]{64})">')
_RUN = re.compile(rb'<meta name="workbench-run" content="([0-9a-f]{64})">')


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run folder that is verified.

    manifest: as plain values, {} without one. trouble: a group that says what is wrong with it.
    records: by trial, of those that hold together. damaged: trial -> why it does not. texts: trial
    -> the text chunks of its picture.
    """

    run: RunFolder
    manifest: Mapping[str, Any]
    trouble: tuple[Group, ...] = ()
    records: Mapping[str, Record] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def had_another_study(self) -> bool:
        """Whether the run's history names another form of the study."""
        earlier = self.manifest.get("earlier") or []
        return any(one.get("study_hash") != self.manifest.get("study_hash") for one in earlier)

    def view(self, plan: Plan) -> RunView:
        """What there is of the plan's trials, for a comparison."""
        records = {t.id: self.records[t.id] for t in plan.trials if t.id in self.records}
        return RunView(str(self.run.path), records, sources=_hashes(plan), map=self.run.read_map)


def _hashes(plan: Plan) -> dict[str, str]:
    return {label: source.sha256 for label, source in plan.sources.items()}


def read_stored(run: RunFolder) -> StoredRun:
    """Every record and picture, each checked against the hashes in its record."""
    stored = _with_manifest(run)
    scan = run.scan(hashes=True, strict=False)
    whole: dict[str, Record] = {}
    texts: dict[str, Mapping[str, str]] = {}
    damaged = {
        name: f"{why or 'its folder is empty'}; {AGAIN}" for name, why in scan.damaged.items()
    }
    for name, record in scan.records.items():
        if record.failed:
            whole[name] = record
            continue
        try:
            image, text = read_png(run.sample_path(name))
        except ImageError as error:
            damaged[name] = f"its picture cannot be read ({error}); {AGAIN}"
            continue
        if sha256_image(image) == record.sample_sha256:
            whole[name], texts[name] = record, text
        else:
            damaged[name] = f"its pixels have another hash than its record says; {AGAIN}"
    return replace(stored, records=whole, damaged=damaged, texts=texts)


def _with_manifest(run: RunFolder) -> StoredRun:
    item = Item("manifest.json", UNCHECKED, detail="the run has no manifest")
    try:
        manifest = run.read_manifest()
        if manifest is not None:
            return StoredRun(run, manifest.as_json())
    except StoreError as error:
        item = Item("manifest.json", DIFFERENT, detail=str(error))
    return StoredRun(run, {}, (Group("manifest", "manifest", (item,)),))


def plan_stored(
    stored: StoredRun,
    study: Study,
    sources: Mapping[str, SourceImage],
    resolution: int,
    models: str | Path | None = None,
) -> Plan:
    """The plan of a run. Of pictures made elsewhere it is what the records tell, as far as the list
    of cells has it, which was written when they were scored.

    StudyError with the reason if there is none.
    """
    if study.made_elsewhere is None:
        return make_plan(study, resolution=resolution, sources=sources, models=models)
    try:
        planned = stored.run.read_cells()
        whole = plan_of(stored.records.values(), sources, study)
    except (KeyError, TypeError, ValueError, StoreError) as error:
        raise StudyError([f"the records do not say what was measured: {error}"]) from error
    if planned is None:
        return whole
    listed = planned.trials or frozenset()
    cells = tuple(
        cell
        for cell in whole.cells
        if cell.id in planned.cells or cell.id not in stored.records[cell.trial_id].cells
    )  # of an edited cell the id is in neither
    return replace(
        whole,
        cells=tuple(cell for cell in cells if cell.trial_id in listed),
        trials=tuple(trial for trial in whole.trials if trial.id in listed),
    )


def check_study(stored: StoredRun) -> tuple[Study | None, Group]:
    """The study file against the hash in the manifest; None if it cannot be read."""
    study: Study | None = None
    wanted = stored.manifest.get("study_hash")
    outcome, detail = IDENTICAL, ""
    try:
        hashes = {settings_hash(parse_yaml(stored.run.study_text(), name="study.yaml"))}
        study = stored.run.study()
        hashes.add(study.hash)
        if wanted is None:
            outcome, detail = UNCHECKED, "the run has no manifest to check it by"
        elif wanted not in hashes:
            outcome, detail = (
                DIFFERENT,
                (
                    f"it is not the study that the manifest names (hash {min(hashes)[:12]}…, "
                    f"wanted {str(wanted)[:12]}…): it was edited after the run"
                ),
            )
    except (StoreError, StudyError, ValueError) as error:
        outcome = DIFFERENT
        detail = f"it cannot be read as a study: {' '.join(str(error).split())}"
    return study, Group("study", "study file", (Item("study.yaml", outcome, detail=detail),))


def check_sources(
    stored: StoredRun, study: Study, resolution: int
) -> tuple[dict[str, SourceImage], Group]:
    """Sources against the manifest: the kept pictures, and scenes rendered anew.

    Returns the pictures whose pixels are those the run was made with.
    """
    run, hashes = stored.run, stored.manifest.get("sources") or {}
    try:
        kept = run.source_entries()
    except StoreError:
        kept = {}
    good: dict[str, SourceImage] = {}
    items = []
    for label in study.sources:
        wanted, problems = hashes.get(label), []
        try:
            entry = kept[label]
            image = run.read_source(entry.file)
            image.flags.writeable = False
            found = source_sha256(label, image)
            if wanted is not None and found != wanted:
                problems.append("the kept picture is not the one the run was made with")
            else:
                wanted = wanted or entry.sha256
                good[label] = SourceImage(label, found, image, entry.tags)
        except KeyError:
            problems.append("the run folder does not list it")
        except (ImageError, StoreError) as error:
            problems.append(f"the kept picture cannot be read: {error}")
        if is_scene(label):
            drawn = load_source(label, run.path, resolution)
            if wanted is not None and drawn.sha256 != wanted:
                problems.append("the scene is rendered otherwise by this version")
            elif label not in good and wanted is not None:
                good[label] = drawn
        outcome = DIFFERENT if problems else IDENTICAL
        items.append(Item(label, outcome, detail="; ".join(problems)))
    foreign = {label: entry for label, entry in kept.items() if label not in study.sources}
    items += [
        Item(label, DIFFERENT if problem else IDENTICAL, detail=problem)
        for label, entry in foreign.items()
        if (problem := _foreign_problem(stored, label, entry)) or stored.had_another_study
    ]
    return good, Group("sources", "sources", tuple(items))


def _foreign_problem(stored: StoredRun, label: str, entry: SourceEntry) -> str:
    """What is wrong with a listed source that the study does not ask for; "" if nothing is."""
    starts = [stored.manifest, *(stored.manifest.get("earlier") or [])]
    if not any((start.get("sources") or {}).get(label) == entry.sha256 for start in starts):
        return "no study of this run has such a source: it was added to sources.json"
    try:
        stored.run.read_sources({label: entry})
    except (ImageError, StoreError) as error:
        return f"the kept picture of an earlier form of the study is not as it was: {error}"
    return ""


def check_pictures(stored: StoredRun, plan: Plan | None) -> Group:
    """Every trial folder as found, and the trials of the plan that are not there.

    Folders of trials which the study no longer asks for are checked as well.
    """
    wanted = dict.fromkeys([] if plan is None else [*plan.trials_by_id, *_scored(stored)])
    odd = {**stored.damaged, **({} if plan is None else _edited_texts(stored, plan))}
    odd |= {
        name: "its picture is not the one that was scored: it was replaced"
        for name, record in stored.records.items()
        if record.trial.picture and record.trial.picture != record.sample_sha256
    }
    absent = dict.fromkeys(wanted, "it is not in the run folder: never made, or removed")
    found = {**dict.fromkeys(stored.records, ""), **odd}
    items = [
        Item(f"trial {name}", DIFFERENT if why else IDENTICAL, detail=why)
        for name, why in found.items()
    ]
    items += [
        Item(f"trial {name}", UNCHECKED, detail=why)
        for name, why in absent.items()
        if name not in found
    ]
    others = len(set(stored.records) - set(wanted))
    note = f"{others} of them belong to an earlier form of the study" if others else ""
    return Group("pictures", "pictures and records", tuple(items), note=note)


def _scored(stored: StoredRun) -> frozenset[str]:
    """Trials of pictures made elsewhere, which no study names, by the list of cells."""
    if not any(record.trial.picture for record in stored.records.values()):
        return frozenset()
    try:
        planned = stored.run.read_cells()
    except StoreError:
        return frozenset()
    return (planned.trials if planned else None) or frozenset()


def _edited_texts(stored: StoredRun, plan: Plan) -> dict[str, str]:
    """Trial id -> what is wrong with the text in its picture, where anything is.

    A chunk that is not there is none the worse: a run may be told to write fewer. Of trials that
    the plan no longer has the study is not looked at.
    """
    odd = {}
    for name, text in stored.texts.items():
        record, cells = stored.records[name], plan.cells_by_trial.get(name, ())
        own = png_text(record.trial, (WORKBENCH, PARAMETERS))
        wrong = [_TEXTS.get(k, "text") for k in text if k != STUDY and own.get(k) != text[k]]
        if STUDY in text and cells and not any(_is_own(text[STUDY], record, c) for c in cells):
            former = stored.had_another_study  # pictures may carry a cell of that study
            if not (former and _makes_it(text[STUDY], record, plan)):
                wrong.append(_TEXTS[STUDY])
        if wrong:
            what = " and the ".join(wrong)
            odd[name] = f"its text was edited: the {what} in it is not its own"
    return odd


def _is_own(text: str, record: Record, cell: Cell) -> bool:
    try:
        own = png_text(record.trial, (STUDY,), cell=cell, made_by=record.made_by)
    except (ValueError, TypeError, AttributeError, KeyError):  # the record's making is nonsense
        return False
    return own.get(STUDY) == text


def _makes_it(text: str, record: Record, plan: Plan) -> bool:
    """Whether a study, of a cell that the plan no longer has, makes this very trial, as it was."""
    try:
        study = Study.from_dict(parse_yaml(text))
        (label,) = study.sources
        picture = next(iter(plan.sources.values()))
        source = replace(picture, label=label, sha256=study.source_sha256[label])
        made = make_plan(study, resolution=record.trial.size, sources={label: source})
    except (ValueError, KeyError, TypeError):
        return False
    how = (study.dtype, study.batch_size)
    wanted = (record.made_by.get("dtype"), record.made_by.get("batch_size"))
    return how == wanted and [trial.id for trial in made.trials] == [record.trial.id]


def check_cells(stored: StoredRun, plan: Plan, difference: RunDifference) -> Group:
    """What the records say of the cells of the plan: source, control, prompt, scale, seed, …

    Args:
        difference: of the stored run to the one the plan makes.
    """
    items, others = [], 0
    for trial, cells in plan.cells_by_trial.items():
        record = stored.records.get(trial)
        if record is None:  # that is the pictures' group
            continue
        for cell in cells:
            problem = "; ".join(_cell_problems(record, cell.id, difference))
            outcome = DIFFERENT if problem else IDENTICAL
            items.append(Item(f"cell {cell.id} of trial {trial}", outcome, detail=problem))
        told = {*record.cells, *(str(row["cell"]) for row in record.rows)}
        foreign = told - {cell.id for cell in cells}
        if stored.had_another_study:
            others += len(foreign)
            continue
        none = "the study has no such cell: it was added to the record"
        items += [
            Item(f"cell {name} of trial {trial}", DIFFERENT, detail=none)
            for name in sorted(foreign)
        ]
    note = f"{others} more belong to an earlier form of the study" if others else ""
    return Group("cells", "cells as the study has them", tuple(items), note=note)


def _cell_problems(record: Record, cell: str, difference: RunDifference) -> Iterator[str]:
    if cell not in record.cells:
        yield "its record does not say what the cell is: the picture was not measured for it yet"
        return
    for name, (was, should) in difference.facts[record.trial.id, cell].items():
        yield f"{name} is {short(was)} in its record, {short(should)} in the study"
    own = {name for row in record.rows if row["cell"] == cell for name in _FACTS & row.keys()}
    if own:
        yield f"a reading has a {', '.join(sorted(own))} of its own: the record was edited"


def check_table(stored: StoredRun, plan: Plan) -> Group:
    """`measurements.parquet` against the table of the plan's cells, built anew from the records.

    Where the run's history has another form of the study, nothing can be said of its cells, which
    may be in the table of a run that was not finished.
    """
    name, what = "table", "readings in the table"
    try:
        data = stored.run.contents(stored.run.table_path)
        if data is None:
            missing = Item("measurements.parquet", UNCHECKED, detail="is missing")
            return Group(name, what, (missing,))
        table = decode_table(data)
    except StoreError as error:
        return Group(name, what, (Item("measurements.parquet", DIFFERENT, detail=str(error)),))
    cells = frozenset(cell.id for cell in plan.cells)
    mine = table["cell"].isin(cells)
    items = _table_items(table[mine], build_table(stored.records.values(), cells), stored.damaged)
    outcome: Outcome = DIFFERENT
    detail = "the study has no such cell"
    if stored.had_another_study:
        outcome = UNCHECKED
        detail += ': it may belong to an earlier form; "workbench run" makes the table anew'
    odd = table[~mine].drop_duplicates(["cell", "metric"])
    items += [
        Item(f"{metric} of cell {cell}", outcome, detail=detail)
        for metric, cell in zip(odd["metric"], odd["cell"], strict=True)
    ]
    return Group(name, what, tuple(items))


def _table_items(
    table: pd.DataFrame, rebuilt: pd.DataFrame, damaged: Collection[str]
) -> list[Item]:
    on = ["cell", "metric"]
    twice: dict[tuple[str, str], str] = {}
    for frame, where in ((rebuilt, "the records have it"), (table, "the table has it")):
        for key, count in Counter(zip(frame["cell"], frame["metric"], strict=True)).items():
            if count > 1:
                twice[key] = f"{where} {count} times: of two readings of one metric one is false"
    # Of readings said a million times one is enough beside their count, and quick.
    frames = [frame.drop_duplicates(on) for frame in (table, rebuilt)]
    both = compare_tables(frames[0], frames[1], on)
    columns = [name for name in table.columns if name not in on]
    for name in columns:
        old, new = both[f"{name}_a"], both[f"{name}_b"]
        both[name] = ~((old == new).fillna(False).astype(bool) | (old.isna() & new.isna()))
    items = []
    for row in both.to_dict("records"):
        if twice_said := twice.get((row["cell"], row["metric"])):
            outcome, detail = DIFFERENT, twice_said
        elif row["side"] == "left_only" and row["trial_a"] in damaged:
            outcome, detail = UNCHECKED, "its picture or record is damaged"
        elif row["side"] == "left_only":
            outcome, detail = DIFFERENT, "the table has it, no whole record has"
        elif row["side"] == "right_only":
            outcome, detail = DIFFERENT, "a record has it, the table has not"
        else:
            parts = [
                f"{name} is {short(row[f'{name}_a'])} in the table, "
                f"{short(row[f'{name}_b'])} in the record"
                for name in columns
                if row[name]
            ]
            outcome, detail = DIFFERENT if parts else IDENTICAL, "; ".join(parts[:3])
        items.append(Item(f"{row['metric']} of cell {row['cell']}", outcome, detail=detail))
    return items


def run_digest(run: RunFolder, scan: Scan | None = None) -> str:
    """SHA-256 over study, manifest, table, sources with their maps, and every record and picture.

    Any byte that is changed, added or removed in them gives another digest. Caches and locks do
    not count.

    Args:
        scan: of the run just now: what it found whole is not read again, a picture counts with the
            hash in its record. The digest is the same, unless a picture was changed behind the
            back of its size and time.
    """
    paths = [run.path / name for name in _HASHED]
    for folder in ("sources", "maps"):
        paths += sorted((run.path / folder).glob("*.png"))
    told = [(path.relative_to(run.path).as_posix(), _sum(run, path)) for path in paths]
    for trial_id in run.trial_ids() if scan is None else sorted({*scan.records, *scan.damaged}):
        whole = None if scan is None else scan.records.get(trial_id)
        if scan is None or whole is None or whole.failed or trial_id not in scan.sums:
            sums = [_sum(run, run.record_path(trial_id)), _sum(run, run.sample_path(trial_id))]
        else:
            sums = [scan.sums[trial_id], whole.file_sha256]
        names = (f"trials/{trial_id}/record.json", f"trials/{trial_id}/sample.png")
        told += zip(names, sums, strict=True)
    digest = hashlib.sha256()
    for name, one in told:
        digest.update(f"{name}\0{one}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _sum(run: RunFolder, path: Path) -> str:
    try:
        data = run.contents(path)
    except StoreError:  # whoever reads the file says what is wrong with it
        return "unreadable"
    return "absent" if data is None else hashlib.sha256(data).hexdigest()


def seal(page: str) -> str:
    """Put a page's SHA-256 into it: that of the page whose place for it is still blank."""
    digest = hashlib.sha256(page.encode("utf-8")).hexdigest()
    return page.replace(_SEAL.format(""), _SEAL.format(digest), 1)


def check_report(run: RunFolder, digest: str, path: str | Path | None = None) -> list[Group]:
    """The report in the run folder, or another file, against its own hash and the run's.

    Args:
        digest: of the run as it is (`run_digest`).
        path: a report elsewhere; StoreError if it cannot be read. Without it there is nothing to
            check, and no group, in a run without a report.
    """
    file = run.path / REPORT if path is None else Path(path).resolve()
    try:
        data = (run if path is None else RunFolder(file.parent)).contents(file)
    except StoreError as error:
        if path is not None:
            raise
        return [Group("report", "report", (Item(REPORT, UNCHECKED, detail=str(error)),))]
    if data is not None:
        return [Group("report", "report", (_report_item(data, file.name, digest, run),))]
    if path is None:
        return []
    raise StoreError(f"there is no report {file}")


def _report_item(data: bytes, name: str, digest: str, run: RunFolder) -> Item:
    again = f"write it again with: workbench report {run.path}"
    page, state = _PAGE.search(data), _RUN.search(data)
    if page is None or state is None:
        detail = f"it does not say of which state of the run it tells; {again}"
        return Item(name, UNCHECKED, detail=detail)
    blank = data[: page.start(1)] + data[page.end(1) :]
    if hashlib.sha256(blank).hexdigest().encode() != page[1]:
        return Item(name, DIFFERENT, detail=f"it was edited after it was written; {again}")
    if state[1].decode() != digest:
        detail = f"the run is not as it was when the report was written; {again}"
        return Item(name, UNCHECKED, detail=detail)
    return Item(name, IDENTICAL)
