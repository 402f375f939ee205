"""Which words does the control override first? Per-tag scores over the scale."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.frames import distinct_controls
from workbench.analysis.intervals import summarise, t_halves
from workbench.analysis.power import minimum_detectable
from workbench.analysis.shared import above_zero
from workbench.analysis.trends import chain_statistics, trend_of
from workbench.prompts import join_tags, parse_tags

if TYPE_CHECKING:
    import pandas as pd

SCORE, OBEYED, SHOWN = "tag:", "tag_obeyed:", "tag_source:"


def silhouette_tags() -> frozenset[str]:
    """Tags of the embedded world that shape the outline, where prompt and control can conflict."""
    from workbench.paperdoll import SILHOUETTE_GROUPS, TAG_GROUPS

    return frozenset(tag for group in SILHOUETTE_GROUPS for tag in TAG_GROUPS[group])


def tag_rows(
    frame: pd.DataFrame,
    *,
    prefix: str = SCORE,
    kept_only: bool = True,
    silhouette: Collection[str] | None = None,
) -> pd.DataFrame:
    """Per-tag rows of the frame with columns `tag` (str) and `silhouette` (bool) added.

    Rows of sources that show the tag themselves are left out: prompt and control agree there, so a
    tag that is seen says nothing of who steers. `shown_anyway` names such tags.

    Args:
        prefix: "tag:" for the probability of the tag, "tag_obeyed:" for 0 or 1.
        kept_only: only cells whose prompt holds the tag. A tag that was cut shows what the model
            draws unasked, which is another question.
        silhouette: tags that shape the outline; None takes those of the embedded world.
    """
    import pandas as pd

    outline = silhouette_tags() if silhouette is None else frozenset(silhouette)
    rows = distinct_controls(frame)
    rows = rows[rows["metric"].str.startswith(prefix)].copy()
    rows["tag"] = rows["metric"].str.slice(len(prefix))
    rows["silhouette"] = rows["tag"].isin(list(outline))
    read = frame[frame["metric"].str.startswith(SHOWN) & (frame["value"] == 1)]
    if len(read):
        shown = pd.MultiIndex.from_arrays([read["source"], read["metric"].str.slice(len(SHOWN))])
        rows = rows[~pd.MultiIndex.from_frame(rows[["source", "tag"]]).isin(shown)]
    if kept_only:
        rows = rows[_kept(rows, rows["tag"])]
    return rows


def _kept(rows: pd.DataFrame, tags: pd.Series) -> np.ndarray:
    """Which rows are of a prompt that has their tag, as far as it is read; bool (rows,)."""
    import pandas as pd

    lacks = "dropped" in rows
    texts = rows["dropped"].fillna("") if lacks else rows["prompt"]
    tag, names = pd.factorize(tags, use_na_sentinel=False)
    text, forms = pd.factorize(texts)
    known = [frozenset(parse_tags(form)) for form in forms]
    held = np.array([[name in form for form in known] for name in names], dtype=bool)
    return held.reshape(len(names), len(forms))[tag, text] != lacks


def lacked_tags(rows: pd.DataFrame) -> pd.Series:
    """The tags of the whole prompt that the prompt of each row lacks, or has beyond what the text
    encoder reads: texts of tags with commas, those of the column `dropped` if there is one."""
    import pandas as pd

    if "dropped" in rows:
        return rows["dropped"].fillna("")
    pairs = list(zip(rows["full_prompt"].fillna(""), rows["prompt"].fillna(""), strict=True))
    told = {
        (whole, used): join_tags([t for t in parse_tags(whole) if t not in parse_tags(used)])
        for whole, used in dict.fromkeys(pairs)
    }
    return pd.Series([told[pair] for pair in pairs], index=rows.index, dtype=str)


def shown_anyway(frame: pd.DataFrame, control: str) -> list[str]:
    """Kept tags that every source of a control type shows itself, in the order of the prompt."""
    rows = distinct_controls(frame)
    rows = rows[(rows["control"] == control) & rows["metric"].str.startswith(SHOWN)]
    tags = rows["metric"].str.slice(len(SHOWN))
    kept = set(tags[_kept(rows, tags)])
    least = rows.groupby("metric", sort=False)["value"].min()
    shown = [str(metric).removeprefix(SHOWN) for metric in least.index[least == 1]]
    return [tag for tag in shown if tag in kept]


def per_tag(
    frame: pd.DataFrame,
    *,
    column: str = "value",
    prefix: str = SCORE,
    kept_only: bool = True,
    silhouette: Collection[str] | None = None,
) -> pd.DataFrame:
    """Score of every tag at every scale, averaged over the prompts that hold it.

    Returns:
        control, tag, silhouette, scale, mean, low, high, spread, n_sources, n_samples, note.
    """
    rows = tag_rows(frame, prefix=prefix, kept_only=kept_only, silhouette=silhouette)
    return summarise(rows, column, ["control", "tag", "silhouette", "scale"])


def tag_references(frame: pd.DataFrame, *, prefix: str = SCORE) -> pd.DataFrame:
    """What unrelated pictures score for each kept tag, and those that surely have it.

    Returns:
        control, tag, chance, ceiling: means over the prompts and sources; NaN where unknown.
    """
    rows = tag_rows(frame, prefix=prefix)
    keys = ["control", "tag"]
    per_source = rows.groupby([*keys, "source"], sort=False)[["chance", "ceiling"]].mean()
    return per_source.groupby(keys, sort=False).mean().reset_index()


def tag_slopes(
    frame: pd.DataFrame,
    *,
    column: str = "value",
    prefix: str = SCORE,
    silhouette: Collection[str] | None = None,
) -> pd.DataFrame:
    """Trend of every kept tag over the scale, steepest fall first within a control type.

    Returns:
        control, tag, silhouette and the columns of `trends.trend`; slope is per unit of scale.
    """
    rows = tag_rows(frame, prefix=prefix, silhouette=silhouette)
    slopes = trend_of(rows, column=column, by=("control", "tag", "silhouette"))
    return slopes.sort_values(["control", "slope"], ignore_index=True)


def silhouette_contrast(
    frame: pd.DataFrame,
    *,
    column: str = "value",
    prefix: str = SCORE,
    silhouette: Collection[str] | None = None,
) -> pd.DataFrame:
    """Slope of the silhouette tags against that of all other tags, paired by source.

    Over the scales above 0 where sources share the pictures at 0.

    Returns:
        One row per control type: control; outline, outline_low, outline_high (mean slope of the
        silhouette tags per unit of scale); others, others_low, others_high; difference (outline
        minus others) with difference_low, difference_high; mde (of the difference, see
        `power`); n_sources.
    """
    names = ("outline", "others", "difference")
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    columns = ["control", *ends, "mde", "n_sources"]
    rows = above_zero(tag_rows(frame, prefix=prefix, silhouette=silhouette))
    chains = chain_statistics(rows, column, "scale", ("control", "tag", "silhouette"))
    means = chains.groupby(["control", "source", "silhouette"])["slope"].mean().unstack()
    means = means.reindex(columns=[True, False]).set_axis(["outline", "others"], axis=1)
    means["difference"] = means["outline"] - means["others"]
    grouped = means.groupby("control")
    table = grouped.mean()
    for name in names:
        spread, n = grouped[name].std().to_numpy(dtype=float), grouped[name].count().to_numpy()
        half = t_halves(spread, n)
        table[f"{name}_low"], table[f"{name}_high"] = table[name] - half, table[name] + half
        if name == "difference":
            table["mde"], table["n_sources"] = minimum_detectable(spread, n), n
    table = table.dropna(subset=["outline", "others"]).reset_index()
    return table[columns]
