"""Sentences about single words: which of them does the control override, and at which scale?"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import records
from workbench.analysis.tags import shown_anyway, silhouette_contrast, tag_rows, tag_slopes
from workbench.analysis.tipping import ALWAYS, GAINS, NEVER, TIPS, tipping_scales
from workbench.analysis.trends import FALLS, RISES, UNCLEAR, UNKNOWN, trend_of
from workbench.analysis.wording import (
    Finding,
    count_sources,
    findable,
    interval,
    signed,
    title,
    trend_finding,
)

if TYPE_CHECKING:
    import pandas as pd


def tag_findings(frame: pd.DataFrame, silhouette: Collection[str] | None) -> list[Finding]:
    """Statements about tags: tipping scales first, those that shape the outline, slopes."""
    tipping = tipping_scales(frame, silhouette=silhouette)
    result = [
        _tipping(str(name), mine, shown_anyway(frame, str(name)))
        for name, mine in tipping.groupby("control", sort=False)
    ]
    tags = tag_rows(frame, silhouette=silhouette)
    outline = tags[tags["silhouette"]]
    what = "the mean score of the silhouette tags"
    for row in records(trend_of(outline, column="value")):
        if row["x_last"] > row["x_first"]:
            result.append(trend_finding("tags", row["control"], "silhouette", what, "scale", row))
    for row in records(silhouette_contrast(frame, silhouette=silhouette)):
        if math.isfinite(row["difference_low"]):
            result.append(_contrast(row))
    slopes = tag_slopes(frame, silhouette=silhouette)
    slopes = slopes[slopes["x_last"] > slopes["x_first"]]
    return result + [
        _overridden(str(name), mine)
        for name, mine in slopes.groupby("control", sort=False)
        if not (mine["direction"] == UNKNOWN).all()
    ]


def _contrast(row: dict[str, Any]) -> Finding:
    """Silhouette tags against all other tags."""
    low, high = float(row["difference_low"]), float(row["difference_high"])
    direction = FALLS if high < 0 else RISES if low > 0 else UNCLEAR
    figures = (
        f"slopes {signed(row['outline'])} and {signed(row['others'])} per unit of scale, "
        f"{interval(row['difference'], low, high)}; "
        f"{count_sources(row['n_sources'])}{findable(row['mde'], direction)}"
    )
    if high < 0:
        text = f"the scale costs the silhouette tags more than the other tags ({figures})."
    elif low > 0:
        text = f"the scale costs the silhouette tags less than the other tags ({figures})."
    else:
        text = f"no clear difference between silhouette tags and other tags ({figures})."
    return Finding(
        kind="tags",
        text=f"{title(row['control'])}: {text}",
        control=row["control"],
        metric="silhouette against others",
        direction=direction,
        estimate=float(row["difference"]),
        low=low,
        high=high,
        n_sources=int(row["n_sources"]),
        mde=float(row["mde"]),
    )


def _overridden(control: str, slopes: pd.DataFrame) -> Finding:
    """The tags whose score clearly falls, steepest first."""
    fallen = records(slopes[slopes["direction"] == FALLS])
    n = int(slopes["n_sources"].max())
    if not fallen:
        text = f"no single tag's score clearly falls with the scale ({count_sources(n)})."
        nan = math.nan
        text = f"{title(control)}: {text}"
        return Finding("tags", text, control, "tag", UNCLEAR, nan, nan, nan, n)
    parts = [
        f'"{row["tag"]}" ({interval(row["change"], row["change_low"], row["change_high"])})'
        for row in fallen
    ]
    text = f"tags that give way to the control, steepest first: {', '.join(parts)}"
    first = fallen[0]
    return Finding(
        kind="tags",
        text=f"{title(control)}: {text}; {count_sources(n)}.",
        control=control,
        metric=f"tag:{first['tag']}",
        direction=FALLS,
        estimate=float(first["change"]),
        low=float(first["change_low"]),
        high=float(first["change_high"]),
        n_sources=n,
        mde=float(first["mde"]),
    )


def tipping_words(row: dict[str, Any]) -> str:
    """The answer for one tag in words, for example "0.62 [0.4, 0.9]"."""
    reach = f"{row['x_first']:g} to {row['x_last']:g}"
    if row["answer"] == TIPS:
        return f"{row['scale']:.2f}{_limits(row)}"
    if row["answer"] == NEVER:
        found = f"never within {reach}"
    elif row["answer"] == ALWAYS:
        found = f"always: not obeyed even at {row['x_first']:g}"
    else:
        found = f"the other way: obeyed from {row['scale']:.2f} on"
    if row["n_sources"] > 1 and not row["clear"]:
        found += ", not clear"
    return found


def _limits(row: dict[str, Any]) -> str:
    """The interval in brackets; ends beyond the range are said as such. "" with one source."""
    if math.isnan(row["low"]):
        return ""
    low = "below " + f"{row['x_first']:g}" if math.isinf(row["low"]) else f"{row['low']:.2f}"
    high = "above " + f"{row['x_last']:g}" if math.isinf(row["high"]) else f"{row['high']:.2f}"
    return f" [{low}, {high}]"


def _tipping(control: str, table: pd.DataFrame, shown: list[str]) -> Finding:
    """At which scale each word gives way; words that may or may not are said to be unclear.

    Only sources that contradict a word count; `shown` are words that all sources show themselves.
    """
    rows = records(table)
    n = int(table["n_sources"].max())
    reach = f"{rows[0]['x_first']:g} to {rows[0]['x_last']:g}"
    tips = [row for row in rows if row["answer"] == TIPS and (row["clear"] or n == 1)]
    held = [f'"{row["tag"]}"' for row in rows if row["answer"] == NEVER and row["clear"]]
    lost = [f'"{row["tag"]}"' for row in rows if row["answer"] == ALWAYS and row["clear"]]
    other = [f'"{row["tag"]}"' for row in rows if row["answer"] == GAINS and row["clear"]]
    if n == 1:
        names = ", ".join(f'"{row["tag"]}" at {row["scale"]:.2f}' for row in tips)
        text = f"words given up within scales {reach}: {names or 'none'}"
        text += "; one source cannot be generalised, so this is not a finding."
        direction = UNKNOWN
    else:
        if tips:
            names = ", ".join(f'"{row["tag"]}" at {row["scale"]:.2f}{_limits(row)}' for row in tips)
            text = f"words the control overrides, and the tipping scale of each: {names}"
        else:
            text = f"no clear tipping scale within {reach} for any word"
        text += (
            f"; overridden at every scale from {rows[0]['x_first']:g} on: {', '.join(lost)}"
            if lost
            else ""
        )
        text += (
            f"; obeyed throughout although the source contradicts them: {', '.join(held)}"
            if held
            else ""
        )
        text += f"; obeyed only at larger scales: {', '.join(other)}" if other else ""
        open_ = len(rows) - len(tips) - len(held) - len(lost) - len(other)
        text += f"; not clear for {open_} of {len(rows)} words" if open_ else ""
        names = ", ".join(f'"{tag}"' for tag in shown)
        text += f"; not asked, as the sources show them anyway: {names}" if names else ""
        text += f" (95 % intervals over {count_sources(n)} in brackets)." if tips else (
            f" ({count_sources(n)})."
        )  # fmt: skip
        direction = TIPS if tips else UNCLEAR
    nan = math.nan
    first = tips[0] if tips and n > 1 else {"scale": nan, "low": nan, "high": nan}
    return Finding(
        kind="tags",
        text=f"{title(control)}: {text}",
        control=control,
        metric="tipping",
        direction=direction,
        estimate=float(first["scale"]),
        low=float(first["low"]),
        high=float(first["high"]),
        n_sources=n,
    )
