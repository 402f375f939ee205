"""Pairs of controls that steer at once: two scales, two control adherences, one prompt.

Every picture of a pair fills two cells, one for each control, which stands in `control` and
`scale`; the other control stands in `partner` and `partner_scale`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.analysis.frames import (
    BRACKET,
    PARTNER,
    PROMPT_METRIC,
    differing,
    metric_name,
    pick_primary,
    records,
    with_names,
)
from workbench.analysis.intervals import summarise
from workbench.analysis.trends import trend_of
from workbench.analysis.wording import Finding, trend_finding

if TYPE_CHECKING:
    import pandas as pd

POINT = ["pair", "first", "second", "length", "first_scale", "second_scale"]
SIDES = ("first", "second")


def pair_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of pairs, with columns that both cells of a picture share.

    Returns:
        Rows with `pair` (a label: the two types in alphabetical order, with the settings that
        differ where a type occurs with several and the base model where the frame has several, as
        "canny + depth (base ink)"), `first` and `second` (the control types of the label),
        `first_scale` and `second_scale`, and `side`: which of the two the row's `control` is.
        Empty, with these columns, where the frame has no pairs.
    """
    rows = frame[frame[PARTNER].fillna("") != ""] if PARTNER in frame else frame.iloc[:0]
    if rows.empty:
        return rows.assign(**dict.fromkeys([*POINT, "side"]))
    rows = rows.reset_index(drop=True)
    leads = rows["control"] < rows[PARTNER]
    own = {"": "control", "_settings": "control_settings", "_scale": "scale"}
    other = {"": PARTNER, "_settings": "partner_settings", "_scale": "partner_scale"}
    shared = {}
    for end, column in own.items():
        mine, theirs = rows[column], rows[other[end]]
        shared[f"first{end}"] = mine.where(leads, theirs)
        shared[f"second{end}"] = theirs.where(leads, mine)
    rows = rows.assign(**shared, side=leads.map({True: "first", False: "second"}))
    return rows.assign(pair=_labels(rows)).drop(columns=["first_settings", "second_settings"])


def pair_points(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
) -> pd.DataFrame:
    """The adherences of every pair at every combination of its two scales.

    Returns:
        pair, first, second, length, label (what the length is called), first_scale, second_scale;
        for each of `first`, `second` and `prompt`: `<name>_adherence` with `<name>_low`,
        `<name>_high` (95 % intervals over sources); n_sources. One row per point, sorted, NaN where
        nothing could be measured. Only prompts cut by length.
    """
    rows = pair_rows(frame)
    rows = rows[rows["setting"] == "length"]
    control = _primary(rows)
    # The picture's prompt readings stand in both of its cells: one is enough.
    name = metric_name(rows, prompt_metric)
    prompt = rows[(rows["metric"] == name) & (rows["side"] == "first")]
    tables = {side: control[control["side"] == side] for side in SIDES} | {"prompt": prompt}
    points = rows[POINT].drop_duplicates()
    for name, group in tables.items():
        columns = {"mean": f"{name}_adherence", "low": f"{name}_low", "high": f"{name}_high"}
        if name == "first":
            columns["n_sources"] = "n_sources"
        means = summarise(group, "adherence", POINT).rename(columns=columns)
        means = means.astype(dict.fromkeys(columns.values(), float))
        points = points.merge(means[[*POINT, *columns.values()]], on=POINT, how="left")
    points["n_sources"] = points["n_sources"].fillna(0).astype(int)
    return with_names(points.sort_values(POINT, ignore_index=True), rows)


def pair_findings(frame: pd.DataFrame, *, prompt_metric: str = PROMPT_METRIC) -> list[Finding]:
    """What each control of a pair does to the adherence to the other, and to the prompt.

    Chains follow one source and seed along one scale while the other scale stays; the adherence to
    a control is followed only where its own scale is above 0.
    """
    rows = pair_rows(frame)
    rows = rows[rows["setting"] == "length"]
    prompt_metric = metric_name(rows, prompt_metric)
    result: list[Finding] = []
    for _, group in rows.groupby("pair", sort=True):
        control = _primary(group)
        for (own, other), mine in control[control["scale"] > 0].groupby(["control", PARTNER]):
            what = f"control adherence of {own}"
            metric = str(mine["metric"].iloc[0])
            result += _along_partner(mine, metric, what, str(other))
        prompts = group[group["metric"] == prompt_metric]
        for other, mine in prompts.groupby(PARTNER):
            result += _along_partner(mine, prompt_metric, "prompt adherence", str(other))
    return result


def _along_partner(rows: pd.DataFrame, metric: str, what: str, other: str) -> list[Finding]:
    """The trend of one pair's rows along the scale of the other control."""
    table = trend_of(rows, column="adherence", axis="partner_scale", by=("pair",))
    return [
        trend_finding("pair", row["pair"], metric, what, f"scale of {other}", row)
        for row in records(table)
        if row["x_last"] > row["x_first"]
    ]


def _primary(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that hold adherence to their own control."""
    # Without the column the rows count as those of single controls.
    return rows.loc[pick_primary(rows.drop(columns=PARTNER)).index] if len(rows) else rows


def _labels(rows: pd.DataFrame) -> pd.Series:
    """The pair of every row by name."""
    several = rows["base"].nunique() > 1
    names = {side: rows[side].astype(str) for side in SIDES}
    for side in SIDES:
        for _, group in rows.groupby(side):
            texts = group[f"{side}_settings"]
            if texts.nunique() > 1:
                shown = texts.map(differing(texts))
                names[side] = names[side].mask(
                    names[side].index.isin(group.index), group[side] + BRACKET + shown + ")"
                )
    label = names["first"] + " + " + names["second"]
    return label + BRACKET + "base " + rows["base"] + ")" if several else label
