"""The long frame the analysis works on, and how to pick rows from it.

One row is one number read off one sample for one cell of the study. Columns:
    cell, trial     identifiers; several cells may share a trial (scale 0 is the same for every
                    source and control type)
    source, control, base, setting, length, prompt, full_prompt, scale, seed
                    where the cell stands in the study; `setting` is "length" for the cut prompt
    metric          "depth_pearson", "clip_used", "tag:long hair", "diversity_looks", ...
    value, chance, ceiling, adherence, reason
                    reason says why value or adherence is NaN, else ""
    tokens, truncated
                    of the prompt used
    control_settings, partner, partner_settings, partner_scale
                    the control's settings as JSON, and in a pair of controls the other one with its
                    settings and scale ("" and NaN without one); frames may lack these columns
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from workbench.metrics.spec import MetricSpec

COLUMNS = (
    "cell",
    "trial",
    "source",
    "control",
    "base",
    "setting",
    "length",
    "prompt",
    "full_prompt",
    "scale",
    "seed",
    "metric",
    "value",
    "chance",
    "ceiling",
    "adherence",
    "reason",
    "tokens",
    "truncated",
)
WORDS, CLIP_USED = "words", "clip_used"
PROMPT_METRIC = "prompt"
"""Stands for the metric of prompt adherence: see `metric_name`."""
LENGTH_SETTINGS = ("length",)
NO_PROMPT = "no prompt"
BRACKET = " ("
PARTNER = "partner"
WITH = "with "
"""Begins the part of a label that names the other control of a pair."""


def distinct_controls(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a label in place of the control type, so that unlike things are not averaged.

    A label is the control type, followed in brackets by the settings that differ where a type
    occurs with several, and by the base model where the frame has several: "canny",
    "canny (high=200, low=100)", "depth (base ink)", "canny (high=200; base ink)". Everything that
    groups by `control` then speaks of one control with one setting on one base model. A labelled
    frame, and any part of it, is returned as it is; `control_type` gives the type back.

    Rows of pairs of controls, which have two scales, are left out: `pairs.pair_rows` picks those.
    """
    if PARTNER in frame:
        alone = frame[PARTNER].fillna("") == ""
        frame = frame if alone.all() else frame[alone]
    if frame.empty:
        return frame
    keys = [name for name in ("control", "control_settings", "base") if name in frame]
    several = "base" in keys and frame["base"].nunique() > 1
    kinds = frame[keys].drop_duplicates()
    names: dict[tuple[str, ...], str] = {}
    for control, group in kinds.groupby("control"):
        if BRACKET in str(control):
            continue
        shown = differing(group["control_settings"]) if "control_settings" in keys else {}
        for key in group.itertuples(index=False, name=None):
            facts = dict(zip(keys, key, strict=True))
            parts = [shown.get(str(facts.get("control_settings")), "")]
            parts += [f"base {facts['base']}"] if several else []
            inside = "; ".join(part for part in parts if part)
            if inside:
                names[key] = f"{control}{BRACKET}{inside})"
    if not names:
        return frame
    rows = frame[keys].itertuples(index=False, name=None)
    return frame.assign(control=[names.get(row, row[0]) for row in rows])


def pairs_as_controls(frame: pd.DataFrame) -> pd.DataFrame:
    """As `distinct_controls`, with the rows of pairs, too.

    Each control of a pair is one of its own there for every scale of its partner: "depth (with
    canny at 0.5)".
    """
    if PARTNER not in frame:
        return distinct_controls(frame)
    partner = frame[PARTNER].fillna("")
    paired = partner != ""
    labelled = distinct_controls(frame.assign(**{PARTNER: ""}))
    if not paired.any():
        return labelled
    told: dict[tuple[str, str, float], str] = {}
    keys = ["partner", "partner_settings", "partner_scale"]
    for other, group in frame.loc[paired, keys].drop_duplicates().groupby(PARTNER):
        shown = differing(group["partner_settings"])
        for _, text, scale in group.itertuples(index=False, name=None):
            own = shown[text]
            name = f"{other}{BRACKET}{own})" if own else str(other)
            told[str(other), text, scale] = f"{WITH}{name} at {scale:g}"
    rows = frame.loc[paired, keys].itertuples(index=False, name=None)
    labels = labelled["control"].astype(object)
    labels[paired] = [
        _beside(str(label), told[row]) for label, row in zip(labels[paired], rows, strict=True)
    ]
    return labelled.assign(control=labels)


def _beside(label: str, more: str) -> str:
    """A label with one thing more in its brackets."""
    head, bracket, inside = label.partition(BRACKET)
    return f"{head}{BRACKET}{inside[:-1] + '; ' if bracket else ''}{more})"


def control_type(label: str) -> str:
    """The control type in a label of `distinct_controls`."""
    return label.partition(BRACKET)[0]


def differing(texts: pd.Series) -> dict[str, str]:
    """Settings as JSON -> those of them that are not the same in all, for reading."""
    settings = {text: json.loads(text or "{}") for text in texts.unique()}
    keys = sorted({key for values in settings.values() for key in values})
    differ = [k for k in keys if len({json.dumps(v.get(k)) for v in settings.values()}) > 1]
    return {
        str(text): ", ".join(f"{key}={values.get(key)}" for key in differ)
        for text, values in settings.items()
    }


def length_names(frame: pd.DataFrame) -> dict[int, str]:
    """Place on the axis of prompt length -> what it is called: "no prompt", "2 tags", "12 words",
    or the name of one of the study's own forms.

    Where prompts of several labels share a place (each lacks another tag), they count as tags.
    """
    if "label" not in frame or "setting" not in frame:
        return {int(n): count_tags(int(n)) for n in frame["length"].unique()}
    rows = frame[frame["setting"].isin(LENGTH_SETTINGS)][["length", "label"]].drop_duplicates()
    found: dict[int, str] = {}
    for length, group in rows.groupby("length"):
        n, labels = int(str(length)), [str(label) for label in group["label"]]
        found[n] = labels[0] if n and len(labels) == 1 else count_tags(n)
    return found


def count_tags(n: int) -> str:
    """How many tags, in words: "no prompt", "1 tag", "4 tags"."""
    return NO_PROMPT if n == 0 else "1 tag" if n == 1 else f"{n} tags"


def with_names(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """A table with a column `length` with what each is called in a column `label`."""
    names = length_names(frame)
    labels = [names.get(int(n)) or count_tags(int(n)) for n in table["length"]]
    return table.assign(label=np.array(labels, dtype=object))


def controls_in(frame: pd.DataFrame) -> list[str]:
    """Control types (labels, in a labelled frame) that occur, in order of first appearance.

    Call `distinct_controls` first where a type may occur with several settings or base models.
    """
    return [str(name) for name in frame["control"].dropna().unique()]


def primary_metrics(frame: pd.DataFrame, chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Control type or label -> name of the metric that stands for control adherence.

    In a run of an earlier version, some of whose pictures lack a control's primary metric, the
    former one stands for it.

    Args:
        chosen: metrics that replace a control's own primary one.
    """
    from workbench.controls import get_control

    chosen = chosen or {}
    found = {}
    for name in controls_in(frame):
        kind = control_type(name)
        found[name] = chosen.get(name) or chosen.get(kind) or ""
        if not found[name]:
            control, metrics = get_control(kind), frame["metric"][frame["control"] == name]
            older = (metrics == control.former).sum() > (metrics == control.primary).sum()
            found[name] = control.former if control.former and older else control.primary
    return found


def metric_name(frame: pd.DataFrame, metric: str) -> str:
    """The name of a metric in a frame: for `PROMPT_METRIC` that of prompt adherence.

    That is the words of the prompt that are obeyed, where a judge of words read them; else CLIP's
    score against the prompt used, which is another scale at every prompt length.
    """
    if metric != PROMPT_METRIC:
        return metric
    words = frame.loc[frame["metric"] == WORDS, "value"]
    return WORDS if words.notna().any() else CLIP_USED


def rival_metrics(
    frame: pd.DataFrame, chosen: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Control type or label -> the metrics by which its adherence can be told.

    The one that stands for it comes first; the others are all that judge the whole map, see
    `metrics.spec.Traits`, whether or not the frame has them. A type that is not known has none.

    Args:
        chosen: metrics that replace a control's own primary one.
    """
    found = {}
    for name, first in primary_metrics(frame, chosen).items():
        found[name] = tuple(dict.fromkeys([first, *(s.name for s in specs_of(name) if s.whole)]))
    return found


def specs_of(label: str) -> tuple[MetricSpec, ...]:
    """The name plates of all metrics of a control type or label; none if it is not known."""
    from workbench.controls import ControlError, get_control

    try:
        return get_control(control_type(label)).metrics
    except ControlError:
        return ()


def pick_metrics(rows: pd.DataFrame, wanted: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Rows whose metric is one of those wanted of their control type (labels as in the rows)."""
    rows = rows[rows["metric"].isin({metric for names in wanted.values() for metric in names})]
    parts = [(rows["control"] == name) & rows["metric"].isin(list(m)) for name, m in wanted.items()]
    return rows[np.logical_or.reduce(parts)] if parts else rows.iloc[:0]


def pick(
    frame: pd.DataFrame,
    metric: str | None = None,
    *,
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """Rows of one metric, by default only of the prompts cut by length.

    Args:
        metric: exact name, or `PROMPT_METRIC`; None keeps all.
        settings: prompt settings to keep; None keeps all.
    """
    rows = distinct_controls(frame)
    if metric is not None:
        rows = rows[rows["metric"] == metric_name(rows, metric)]
    if settings is not None:
        rows = rows[rows["setting"].isin(list(settings))]
    return rows


def pick_primary(
    frame: pd.DataFrame,
    chosen: Mapping[str, str] | None = None,
    *,
    settings: Sequence[str] | None = LENGTH_SETTINGS,
) -> pd.DataFrame:
    """Rows that hold control adherence: every control type's primary metric."""
    rows = pick(frame, settings=settings)
    return pick_metrics(rows, {k: (name,) for k, name in primary_metrics(rows, chosen).items()})


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries by column name."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
