"""What a report says, as plain values, collected from a run folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench import analysis
from workbench.analysis.frames import length_names
from workbench.controls import ControlError, get_control
from workbench.explorer import LocalNetworks, RunPictures, ViewChoice, explorer_block, view_run
from workbench.formats import number
from workbench.influences import Ways, open_influence
from workbench.judging import standing
from workbench.measuring.specs import DEFINITIONS, metric_spec
from workbench.report import tables
from workbench.report.answers import Answer, answers, balance_sentence
from workbench.report.effects import EffectFigures, draw_effects
from workbench.report.embed import Download, download
from workbench.report.figures import Balance, ControlFigures, draw_control, draw_sheets
from workbench.report.influence import InfluenceFigures, draw_influence
from workbench.report.pairs import PairFigures, draw_pairs
from workbench.report.ranking import RankingFigures, draw_ranking
from workbench.report.sheets import control_maps, sheets
from workbench.report.tables import Table
from workbench.report.usable import usable
from workbench.store import RunFolder, Scan, StoreError, failures
from workbench.study import StudyError, cut_note, pin_sources, window_note
from workbench.study.fields import MadeElsewhere
from workbench.study.yamlfile import parse_yaml
from workbench.verify import read_state, state_sentence
from workbench.verify.stored import run_digest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PROMPT_METRIC = analysis.PROMPT_METRIC
SHEET_BYTES = 2_200_000
EXPLORER_PICTURES, EXPLORER_QUALITY = 600, 74


@dataclass(frozen=True)
class Content:
    """Everything the template shows; text is not yet escaped. `digest` is the run's, `elsewhere`
    says where pictures come from that were not made by the run, else "".

    `explorer` alone is HTML, "" where there is nothing to explore.
    """

    digest: str
    title: str
    facts: tuple[tuple[str, str], ...]
    prompt: str
    elsewhere: str
    warnings: tuple[str, ...]
    headline: tuple[str, ...]
    explorer: str
    answers: tuple[Answer, ...]
    caveat: str
    words: str
    glance: Table
    ranking: RankingFigures | None
    effects: EffectFigures | None
    influence: InfluenceFigures | None
    controls: tuple[ControlFigures, ...]
    pairs: tuple[PairFigures, ...]
    spots: Table
    extra_prompts: Table
    missing: Table
    downloads: tuple[Download, ...]
    settings: Table
    study_yaml: str
    verification: str
    manifest: tuple[Table, ...]
    definitions: tuple[tuple[str, str], ...]
    metrics: Table


def collect(run: RunFolder, *, influence: bool = False) -> Content:
    """Collect the report of a run from its table, its pictures and its manifest.

    With `influence` also who is driving; StoreError if nobody looked at the run's pictures.
    """
    scan = run.scan()
    # What was verified is held against every byte; else the digest does not read all pictures.
    digest = run_digest(run, scan if read_state(run) is None else None)
    whole = usable(run.measurements(scan))
    told = run.status(scan).sentence
    frame = analysis.distinct_controls(whole)
    text = _study_text(run)
    study = _study_values(text)
    elsewhere = origin_sentence(study)
    manifest = _manifest(run)
    text = pin_sources(text, manifest.get("sources") or {})
    without = {trial: one.failed for trial, one in scan.records.items() if one.failed}
    failed = Counter(without.values())
    labels = {name: control_label(name) for name in analysis.controls_in(frame)}
    points = analysis.tradeoff(frame)
    spots = analysis.sweet_spot(frame)
    primary = analysis.primary_metrics(frame)
    wanted = [*dict.fromkeys(primary.values()), "clip_full", "clip_source"]
    summary = tables.summary_frame(frame, points, spots, wanted)
    balance = Balance(points, spots, summary)
    name = str(study.get("name") or run.path.name)
    family, judges = str(study.get("family", "")), study.get("judges") or {}
    ways = Ways(open_influence(run.path)) if influence else None
    pictures = RunPictures(run, frame, LocalNetworks(family, judges), ways)
    sources = pictures.sources
    pairs = draw_pairs(run, whole, sources, control_label, SHEET_BYTES)
    maps = control_maps(pictures)
    pages = draw_sheets(sheets(run, frame, sources, maps), labels, SHEET_BYTES)
    drawn = tuple(
        draw_control(frame, control, labels[control], balance, pages) for control in labels
    )
    return Content(
        digest=digest,
        title=name,
        facts=facts(
            whole,
            str(study.get("family", "")),
            str(manifest.get("created", "")),
            "measured" if elsewhere else "made",
        ),
        prompt=_prompt(whole),
        elsewhere=elsewhere,
        warnings=(
            *_warnings(whole, study, failed),
            *_notes(run, study, scan),
            *([told] if told else ()),
        ),
        headline=(
            *analysis.most_obeyed(whole),
            *analysis.overridden_words(whole),
            *balance_sentence(spots, frame, labels),
        ),
        explorer="" if frame.empty else _explorer(pictures, frame, without),
        answers=answers(whole, labels | {pair.name: pair.label for pair in pairs}),
        caveat=analysis.CAVEAT,
        words=standing(run, family).sentence,
        glance=tables.glance_table(frame, labels, PROMPT_METRIC),
        ranking=draw_ranking(whole, control_label),
        effects=draw_effects(whole, control_label),
        influence=draw_influence(run, SHEET_BYTES) if influence else None,
        controls=drawn,
        pairs=pairs,
        spots=tables.spot_table(spots, labels),
        extra_prompts=tables.setting_table(frame, labels, PROMPT_METRIC),
        missing=tables.nothing_table(whole, failed),
        downloads=(
            download(
                tables.summary_csv(summary), "text/csv", f"{name}-summary.csv", "Summary (CSV)"
            ),
            download(text.encode(), "application/yaml", f"{name}.yaml", "Study file (YAML)"),
        ),
        settings=tables.pairs_table(study, ("Setting", "Value")),
        study_yaml=text,
        verification=state_sentence(run, digest),
        manifest=_manifest_tables(manifest),
        definitions=tuple(DEFINITIONS.items()),
        metrics=_metric_table(whole),
    )


def _explorer(pictures: RunPictures, frame: pd.DataFrame, failed: Mapping[str, str]) -> str:
    """The explorer as a part of the page; what it says first stands in the page already.

    `failed` is why a trial has no picture.
    """
    choice = ViewChoice(pictures=EXPLORER_PICTURES)
    view = view_run(pictures, frame, choice=choice, failed=failed, headline=False)
    return explorer_block(view, EXPLORER_QUALITY)


def control_label(name: str) -> str:
    """What people call a control type; what a label has in brackets stays: "Depth (base ink)"."""
    kind = analysis.control_type(name)
    try:
        return get_control(kind).label + name[len(kind) :]
    except ControlError:
        return name


def study_family(run: RunFolder) -> str:
    """The model family of a run's study; "" if the study cannot be read."""
    return str(_study_values(_study_text(run)).get("family", ""))


def origin_of(run: RunFolder) -> str:
    """Where the pictures come from if they were not made by the run, in a sentence; else ""."""
    return origin_sentence(_study_values(_study_text(run)))


def origin_sentence(study: Mapping[str, Any]) -> str:
    """Where the pictures come from if they were not made by the run, by its study's values."""
    if "made_elsewhere" not in study:
        return ""
    try:
        return MadeElsewhere.model_validate(study["made_elsewhere"]).sentence
    except ValueError:
        return "The pictures of this run were not made by it, and only measured here."


def _study_text(run: RunFolder) -> str:
    """The study file as it is; nothing, with a warning in the log, if it is no text of the run."""
    try:
        return run.study_text()
    except (StoreError, StudyError) as error:
        log.warning("%s", error)
        return ""


def _study_values(text: str) -> dict[str, Any]:
    """The settings as written, even where this program would no longer accept them."""
    try:
        values = parse_yaml(text)
    except StudyError as error:
        log.warning("the study in the run folder cannot be read: %s", error)
        return {}
    parts = {"sources": list, "judges": dict}
    return {k: v for k, v in values.items() if isinstance(v, parts.get(k, object))}


def _manifest(run: RunFolder) -> dict[str, Any]:
    try:
        manifest = run.read_manifest()
        return manifest.as_json() if manifest else {}
    except StoreError as error:
        log.warning("%s", error)
        return {}


def facts(
    frame: pd.DataFrame, family: str = "", created: str = "", verb: str = "made"
) -> tuple[tuple[str, str], ...]:
    """The size of the experiment in a few numbers, as pairs of a name and a text.

    Args:
        frame: the long frame of the run.
        family: the model family. created: when the run was made, in ISO 8601. verb: what was done
            then.
    """
    cut = frame[frame["setting"] == "length"]
    names = length_names(cut) or {0: ""}
    bases = [str(base) for base in dict.fromkeys(frame["base"])]
    found = [
        ("pictures", str(frame["trial"].nunique())),
        ("sources", str(frame["source"].nunique())),
        ("prompt lengths", analysis.lengths_in_words([names[n] for n in sorted(names)])),
        ("scales", ", ".join(number(s) for s in sorted(cut["scale"].unique()))),
        ("seeds", str(frame["seed"].nunique())),
        ("model family" if verb == "made" else "family of the judges", family),
        ("base models", ", ".join(bases) if len(bases) > 1 else ""),
        (verb, created.replace("T", " ")[:16]),
    ]
    return tuple((name, value) for name, value in found if value)


def _prompt(frame: pd.DataFrame) -> str:
    texts = dict.fromkeys(frame["full_prompt"].dropna())
    return next(iter(texts), "")


def _warnings(frame: pd.DataFrame, study: dict[str, Any], failed: Counter[str]) -> tuple[str, ...]:
    """What a reader must know before believing the figures."""
    found = []
    if frame.empty:
        found.append("Nothing has been measured in this run yet.")
    wanted = len(study.get("sources") or [])
    if 0 < frame["source"].nunique() < wanted:
        found.append(f"Only {frame['source'].nunique()} of {wanted} sources have been measured.")
    if frame["source"].nunique() == 1:
        found.append(
            "There is one source, so no interval can be given and nothing here can be generalised. "
            "What is shown beside a mean is its spread over seeds alone."
        )
    if failed:
        found.append(
            f"{failed.total()} pictures failed and are in no figure."
            if failed.total() > 1
            else "1 picture failed and is in no figure."
        )
    for name, metric in analysis.primary_metrics(analysis.distinct_controls(frame)).items():
        if metric == get_control(analysis.control_type(name)).former:
            found.append(
                f"{control_label(name)}: adherence is that of {metric}, for this run was measured "
                "before edges were paired one to one. `workbench run` in its folder adds what is "
                "missing and makes no picture anew."
            )
    cut = frame[frame["truncated"].fillna(False).astype(bool)]
    if len(cut):
        count = cut["prompt"].nunique()
        verb = "prompt was" if count == 1 else "prompts were"
        found.append(
            f"{count} {verb} longer than the text encoder reads, and lost the words at its end."
        )
    return tuple(found)


def _notes(run: RunFolder, study: dict[str, Any], scan: Scan) -> tuple[str, ...]:
    """Advice on pictures that failed, and what the study does that its author may not expect."""
    found = [
        f"Of the pictures that failed, {one.text}."
        for one in failures(scan.records.values())
        if one.advice
    ]
    window = [study.get(name) for name in ("steps", "control_start", "control_end")]
    if all(isinstance(value, int | float) for value in window):
        found.append(window_note(*window))  # type: ignore[arg-type]
    labels = study.get("sources") or []
    cut = {k: entry.cut for k, entry in run.source_entries().items() if k in labels}
    return tuple(filter(None, [*found, cut_note(cut)]))


def _manifest_tables(manifest: dict[str, Any]) -> tuple[Table, ...]:
    """The manifest in parts: versions, hashes, and the rest."""
    parts = {
        "versions": "Versions of packages",
        "weight_hashes": "SHA-256 of the model files",
        "models": "Models",
        "sources": "SHA-256 of the sources' pixels",
        "scheduler_config": "Scheduler",
        "deterministic": "Determinism",
        "git": "Source code",
        "earlier": "Earlier conditions of this run",
    }
    rest = {key: value for key, value in manifest.items() if key not in parts}
    manifest = manifest | {"runtime": _flat(rest.pop("runtime", None) or {})}
    parts = {"runtime": "Memory and speed", **parts}
    found = [tables.pairs_table(rest, ("What", "Value"), "The run")] if rest else []
    found += [
        tables.pairs_table(manifest[key], ("What", "Value"), caption)
        for key, caption in parts.items()
        if manifest.get(key)
    ]
    return tuple(found)


def _flat(runtime: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, and what was in force on each pipeline, in one table."""
    asked = {f"asked for: {name}": value for name, value in (runtime.get("asked") or {}).items()}
    in_force = runtime.get("in_force") or {}
    return asked | {f"in force: {name}": value for name, value in in_force.items()}


def _metric_table(frame: pd.DataFrame) -> Table:
    """Every metric of the run: its name, what it is, which way is better, how it is computed."""
    rows = []
    for name in dict.fromkeys(str(metric).partition(":")[0] for metric in frame["metric"]):
        try:
            spec = metric_spec(name)
        except KeyError:
            continue
        way = "higher" if spec.higher_is_better else "lower"
        rows.append((spec.label, name, way, spec.protocol))
    return Table(("Metric", "Name", "Better is", "Protocol"), tuple(rows), (False,) * 4)
