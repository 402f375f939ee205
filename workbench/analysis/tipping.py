"""At which scale does the control override a word? A logistic fit of "obeyed" over the scale.

For each tag the share of pictures that obey it is fitted as 1 / (1 + exp(-(a + b scale))); the
tipping scale is where the fit passes one half on its way down, -a / b. Few pictures often leave a
tag always or never obeyed, where maximum likelihood runs to infinity; Firth's penalty keeps the
fit finite: D. Firth, "Bias reduction of maximum likelihood estimates", Biometrika 80 (1993);
G. Heinze and M. Schemper, "A solution to the problem of separation in logistic regression",
Statist. Med. 21 (2002).

The interval holds every scale at which the fit could be one half: |a + b scale| is at most t(n-1)
of its standard errors (E. C. Fieller, "Some problems in interval estimation", J. R. Statist. Soc. B
16, 1954), which come from leaving out one source at a time (the cluster jackknife CV3 of
J. MacKinnon, M. Nielsen and M. Webb, "Fast and reliable jackknife and bootstrap methods for
cluster-robust inference", J. Appl. Econometrics 38, 2023), and are no smaller than those of
independent pictures.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.codes import group_codes
from workbench.analysis.intervals import ONE_SOURCE
from workbench.analysis.shared import above_zero, picture_weights
from workbench.analysis.tags import OBEYED, tag_rows

if TYPE_CHECKING:
    import pandas as pd

TIPS, NEVER, ALWAYS, GAINS = "tips", "never", "always", "gains"
STEPS = 401
"""Scales at which the interval is looked up, evenly over the range that was run."""

COLUMNS = (
    *("control", "tag", "silhouette", "answer", "scale", "low", "high", "clear"),
    *("first", "last", "slope", "x_first", "x_last", "n_sources", "n_samples", "note"),
)


def tipping_scales(
    frame: pd.DataFrame, *, silhouette: Collection[str] | None = None, level: float = 0.95
) -> pd.DataFrame:
    """The tipping scale of every tag of every control type, the first to give way on top.

    Over the scales above 0 where sources share the few pictures at 0, if there are two of them.

    Args:
        frame: long frame with "tag_obeyed:" metrics; only prompts that hold the tag count.
        silhouette: tags that shape the outline; None takes those of the embedded world.

    Returns:
        One row per control and tag seen at two scales or more: control, tag, silhouette;
        answer: "tips" (obeyed at the smallest scale, not at the largest), "never" (obeyed within
        the whole range), "always" (not obeyed even at the smallest scale) or "gains" (obeyed only
        from some scale on);
        scale: where the fit is one half for "tips" and "gains", else NaN;
        low, high: the interval over sources within the range that was run; -inf or inf where it
        goes on beyond it; NaN with one source, and where no scale of the range belongs to it;
        clear: the interval leaves out one end of the range or both, so the answer is borne out
        (for "tips" and "gains": fit clearly above one half on one end and clearly below on the
        other; for "never" and "always": at both ends, and what was seen at every scale is on the
        same side, as a fit that moves one way cannot see a dip in between);
        first, last: fitted share obeyed at x_first and x_last; slope: b, logits per unit of scale;
        n_sources, n_samples, note.
    """
    import pandas as pd

    rows = tag_rows(frame, prefix=OBEYED, silhouette=silhouette).dropna(subset=["value"])
    found: list[dict[str, object]] = []
    for key, mine in rows.groupby(["control", "tag", "silhouette"], sort=True):
        if mine["scale"].nunique() < 2:
            continue
        steered = above_zero(mine)
        mine = steered if steered["scale"].nunique() > 1 else mine
        scales, counts, obeyed = counts_by_source(mine)
        row = dict(zip(COLUMNS, key, strict=False))
        found.append(row | tipping(scales, counts, obeyed, level) | {"n_samples": len(mine)})
    table = pd.DataFrame(found, columns=list(COLUMNS))
    order = {TIPS: 1, ALWAYS: 0, NEVER: 2, GAINS: 3}
    table = table.assign(order=table["answer"].map(order))
    table = table.sort_values(["control", "order", "scale", "last"], ignore_index=True)
    return table.drop(columns="order")


def counts_by_source(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scales (K,), and for each source pictures and obeying pictures at each scale, (n, K).

    A picture that several sources share, at scale 0, counts once in all.
    """
    source, sources = group_codes(rows, ["source"])
    scale, scales = group_codes(rows, ["scale"])
    shape = len(sources), len(scales)
    cell = source * shape[1] + scale
    size = shape[0] * shape[1]
    weight = picture_weights(rows, ["metric"])
    counts = np.bincount(cell, weights=weight, minlength=size)
    value = rows["value"].to_numpy(dtype=float)
    obeyed = np.bincount(cell, weights=weight * value, minlength=size)
    return scales["scale"].to_numpy(dtype=float), counts.reshape(shape), obeyed.reshape(shape)


def tipping(
    scales: np.ndarray, counts: np.ndarray, obeyed: np.ndarray, level: float = 0.95
) -> dict[str, object]:
    """The tipping scale of one tag.

    Args:
        scales: (K,), K ≥ 2, ascending. counts, obeyed: (n, K) pictures of each source at each
            scale, and how many of them obey the tag.

    Returns:
        The columns of `tipping_scales` from answer to note, without n_samples.
    """
    n = len(counts)
    # The first data set is the whole; the others leave out one source each.
    without = counts.sum(0) - counts, obeyed.sum(0) - obeyed
    sets = [
        np.concatenate([whole.sum(0)[None], part])
        for whole, part in zip((counts, obeyed), without, strict=True)
    ]
    fits = firth_logistic(scales, *(sets if n > 1 else [values[:1] for values in sets]))
    a, b = (float(v) for v in fits[0])
    first, last = (float(1 / (1 + np.exp(-(a + b * s)))) for s in (scales[0], scales[-1]))
    above = first >= 0.5, last >= 0.5
    answer = {(True, False): TIPS, (True, True): NEVER, (False, False): ALWAYS}.get(above, GAINS)
    result: dict[str, object] = {
        "answer": answer,
        "scale": -a / b if answer in (TIPS, GAINS) else math.nan,
        "low": math.nan,
        "high": math.nan,
        "clear": False,
        "first": first,
        "last": last,
        "slope": b,
        "x_first": float(scales[0]),
        "x_last": float(scales[-1]),
        "n_sources": n,
        "note": ONE_SOURCE if n < 2 else "",
    }
    if n < 2:
        return result
    result |= _interval(scales, fits, counts.sum(0), level, above)
    if above[0] == above[1]:
        total = counts.sum(0)
        seen = obeyed.sum(0)[total > 0] / total[total > 0]
        result["clear"] = bool(result["clear"]) and bool(((seen >= 0.5) == above[0]).all())
    return result


def firth_logistic(scales: np.ndarray, counts: np.ndarray, obeyed: np.ndarray) -> np.ndarray:
    """Logistic fits with Firth's penalty, many data sets at once.

    Maximises log-likelihood + ½ log |X'WX| by Newton steps, halved where they are too long.

    Args:
        scales: (K,). counts, obeyed: (B, K) trials and successes at each scale.

    Returns:
        Intercept and slope on the scale as given, float (B, 2); always finite.
    """
    centre = scales.mean()
    width = float(np.ptp(scales)) / 2 or 1.0
    design = np.stack([np.ones_like(scales), (scales - centre) / width], axis=1)
    beta = np.zeros((len(counts), 2))
    for _ in range(60):
        share = 1 / (1 + np.exp(-np.clip(beta @ design.T, -30, 30)))
        weight = counts * share * (1 - share)
        information = np.einsum("bk,ki,kj->bij", weight, design, design)
        inverse = np.linalg.inv(information + 1e-10 * np.eye(2))
        hat = weight * np.einsum("ki,bij,kj->bk", design, inverse, design)
        score = (obeyed - counts * share + hat * (0.5 - share)) @ design
        step = np.einsum("bij,bj->bi", inverse, score)
        longest = np.abs(step).max(1, keepdims=True)
        beta = beta + step * np.minimum(1.0, 2.0 / np.maximum(longest, 1e-300))
        if longest.max() < 1e-9:
            break
    slope = beta[:, 1] / width
    return np.stack([beta[:, 0] - slope * centre, slope], axis=1)


def _interval(
    scales: np.ndarray,
    fits: np.ndarray,
    counts: np.ndarray,
    level: float,
    above: tuple[bool, bool],
) -> dict[str, float | bool]:
    """Fieller's set within the range, from the fit of all sources and those without one."""
    from scipy.stats import norm, t

    n = len(fits) - 1
    away = fits[1:] - fits[0]
    between = (n - 1) / n * away.T @ away
    share = 1 / (1 + np.exp(-np.clip(fits[0, 0] + fits[0, 1] * scales, -30, 30)))
    design = np.stack([np.ones_like(scales), scales], axis=1)
    information = (design * (counts * share * (1 - share))[:, None]).T @ design
    within = np.linalg.inv(information + 1e-10 * np.eye(2))
    grid = np.linspace(scales[0], scales[-1], STEPS)
    x = np.stack([np.ones(STEPS), grid], axis=1)
    height = x @ fits[0]
    error, least = (
        np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", x, part, x), 0)) for part in (between, within)
    )
    # Sources that happen to agree do not tell the scale better than their pictures can.
    reach = np.maximum(t.ppf(0.5 + level / 2, n - 1) * error, norm.ppf(0.5 + level / 2) * least)
    possible = np.abs(height) <= reach
    ends = not possible[0], not possible[-1]
    result: dict[str, float | bool] = {"clear": all(ends)}
    if above[0] == above[1]:  # no crossing: also nothing may cross in between
        result["clear"] = not possible.any()
    if possible.any():
        inside = grid[possible]
        result["low"] = -math.inf if possible[0] else float(inside[0])
        result["high"] = math.inf if possible[-1] else float(inside[-1])
    if above[0] != above[1]:  # the crossing may lie between two steps
        crossing = float(-fits[0, 0] / fits[0, 1])
        result["low"] = min(float(result.get("low", crossing)), crossing)
        result["high"] = max(float(result.get("high", crossing)), crossing)
    return result
