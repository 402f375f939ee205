"""Does the scale do something else when the prompt is longer? Prompt length × scale.

Adherence is modelled as straight lines in scale and length and their product, whose slope is the
interaction. A linear mixed model (N. Laird and J. Ware, "Random-effects models for longitudinal
data", Biometrics 38, 1982; by REML) lets sources differ in level, in both slopes and in the
interaction, each with a variance of its own. Its standard error is held against Student's t as
`student` has it for so many sources. Where every source has every length and scale
the solution is known: the columns are orthogonal, and the model is the t-test of one interaction
per source. With gaps it is fitted, and weighs sources by what they tell.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.frames import PROMPT_METRIC, length_names, pick, pick_primary
from workbench.analysis.intervals import NO_DATA, ONE_SOURCE
from workbench.analysis.power import minimum_detectable
from workbench.analysis.shared import above_zero
from workbench.analysis.student import limit, two_sided_p
from workbench.analysis.trends import FALLS, RISES, UNCLEAR, UNKNOWN

if TYPE_CHECKING:
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLMParams

MODEL, SLOPES = "mixed model", "one slope per source"
MIN_SOURCES = 5
FEW = f"a mixed model needs {MIN_SOURCES} sources to tell how sources differ"
FAILED = "the mixed model did not converge"
FLAT = "the mixed model finds no difference between sources, so pictures would count as sources"
BARE = "two lengths and two scales leave no noise for a mixed model to tell sources by"
COLUMNS = (
    *("control", "what", "interaction", "low", "high", "p", "mde", "direction"),
    *("slope_short", "slope_long", "shortest", "longest", "short", "long"),
    *("n_sources", "method", "reason", "note"),
)


def interactions(
    frame: pd.DataFrame,
    *,
    prompt_metric: str = PROMPT_METRIC,
    control_metrics: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The interaction of prompt length and scale for control and for prompt adherence.

    Over the scales above 0 where sources share the pictures at 0, whose luck would otherwise count
    as many times as there are sources.

    Returns:
        One row per control type and what ("control" or "prompt") with at least two lengths and
        two scales: interaction (change of adherence per tag and unit of scale: below 0 the scale
        does less, the longer the prompt), low, high, p (two-sided), mde (see `power`), direction
        ("rises", "falls", "no clear effect", "cannot tell"), slope_short, slope_long (of adherence
        over the scale, with the shortest and the longest prompt), shortest, longest, short, long
        (what these are called), n_sources,
        method ("mixed model" or "one slope per source"), reason (why it is not the mixed model, or
        ""), note.
    """
    import pandas as pd

    parts = {
        "control": pick_primary(frame, control_metrics),
        "prompt": pick(frame, prompt_metric),
    }
    found: list[dict[str, object]] = []
    names = length_names(frame)
    for what, rows in parts.items():
        rows = above_zero(rows.dropna(subset=["adherence"]))
        keys = ["control", "source", "length", "scale"]
        points = rows.groupby(keys)["adherence"].mean().reset_index()
        for control, mine in points.groupby("control", sort=True):
            if mine["length"].nunique() < 2 or mine["scale"].nunique() < 2:
                continue
            row = {"control": control, "what": what} | interaction(mine)
            ends = {"short": row["shortest"], "long": row["longest"]}
            found.append(row | {k: names[int(float(str(n)))] for k, n in ends.items()})
    return pd.DataFrame(found, columns=list(COLUMNS))


def interaction(points: pd.DataFrame) -> dict[str, object]:
    """The interaction in one table with columns source, length, scale and adherence.

    Returns the columns of `interactions` from interaction to note.
    """
    lengths, scales = (points[name].to_numpy(dtype=float) for name in ("length", "scale"))
    # Standard units keep the model's variances near one another; undone at the end.
    unit = float(lengths.std() * scales.std())
    a, b = ((v - v.mean()) / v.std() for v in (lengths, scales))
    design = np.stack([np.ones_like(a), a, b, a * b], axis=1)
    y = points["adherence"].to_numpy(dtype=float)
    source, _ = points["source"].factorize()
    coefficients = coefficients_per_source(y, design, source)
    slopes = coefficients[:, -1]
    n = int(np.isfinite(slopes).sum())
    known = slopes[np.isfinite(slopes)].round(12)
    result: dict[str, object] = {"n_sources": n, "method": SLOPES, "reason": "", "note": ""}
    estimate = float(known.mean()) if n else math.nan
    error = float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    if n < 2:
        result["note"] = ONE_SOURCE if n else NO_DATA
    elif n < MIN_SOURCES:
        result["reason"] = FEW
    elif len(points) == coefficients.size:
        result["reason"] = BARE
    elif len(points) == n * points["length"].nunique() * points["scale"].nunique():
        away = y - (design * coefficients[source]).sum(1)
        noise = float(away @ away) / (len(y) - coefficients.size)
        if known.var(ddof=1) > noise * n / float((design[:, -1] ** 2).sum()):
            result["method"] = MODEL
        else:
            result["reason"] = FLAT
    else:
        fit = mixed_model(y, design, source)
        if isinstance(fit, str):
            result["reason"] = fit
        else:
            estimate, error = fit
            result["method"] = MODEL
    ends = {"shortest": float(lengths.min()), "longest": float(lengths.max())}
    along = coefficients[np.isfinite(slopes), 2].mean() if n else math.nan
    for name, length in (("slope_short", ends["shortest"]), ("slope_long", ends["longest"])):
        at = (length - lengths.mean()) / lengths.std()
        ends[name] = float((along + estimate * at) / scales.std())
    return _told(estimate / unit, error / unit, n) | ends | result


def coefficients_per_source(y: np.ndarray, design: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Least-squares coefficients of each source, (n, k), NaN where it has none."""
    found = np.full((int(source.max()) + 1 if len(source) else 0, design.shape[1]), math.nan)
    for number in range(len(found)):
        mine = source == number
        coefficients, _, rank, _ = np.linalg.lstsq(design[mine], y[mine], rcond=None)
        if rank == design.shape[1]:
            found[number] = coefficients
    return found


def mixed_model(y: np.ndarray, design: np.ndarray, source: np.ndarray) -> tuple[float, float] | str:
    """The last coefficient of a mixed model and its standard error, or why there is none.

    First every column has a variance over sources; where that does not converge, which happens
    when some of them are nil, only the level and the interaction have one.

    Args:
        y: (N,). design: (N, k), the level first and the interaction last.
        source: number of the source of every row, (N,).
    """
    k = design.shape[1]
    found: tuple[float, float] | str = FAILED
    for varying in (list(range(k)), [0, k - 1]):
        found = _mixed_fit(y, design, source, varying)
        if not isinstance(found, str) or found == FLAT:
            return found
    return found


def _mixed_fit(
    y: np.ndarray, design: np.ndarray, source: np.ndarray, varying: list[int]
) -> tuple[float, float] | str:
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    k = design.shape[1]
    size = float(y.std()) or 1.0
    random = design[:, varying]
    free = MixedLMParams.from_components(fe_params=np.ones(k), cov_re=np.eye(len(varying)))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what they warn of is judged below
            model = MixedLM(y / size, design, groups=source, exog_re=random)
            start = _start(y / size, design, source, varying)
            fit = model.fit(start_params=start, reml=True, free=free, method="lbfgs")
    except (np.linalg.LinAlgError, ValueError, FloatingPointError) as problem:
        return f"{FAILED} ({problem})"
    variances = np.diag(np.asarray(fit.cov_re))
    noise = float(fit.scale)
    if not fit.converged or not np.isfinite([*variances, noise, *fit.fe_params]).all():
        return FAILED
    information = np.zeros((k, k))
    sources = np.unique(source)
    for number in sources:
        mine = source == number
        spread = noise * np.eye(mine.sum()) + random[mine] * variances @ random[mine].T
        information += design[mine].T @ np.linalg.solve(spread, design[mine])
    own = float((design[:, -1] ** 2).sum()) / len(sources)
    if variances[-1] < 1e-3 * noise / own:
        return FLAT
    error = float(np.sqrt(np.linalg.inv(information)[-1, -1]))
    return float(np.asarray(fit.fe_params)[-1]) * size, error * size


def _start(
    y: np.ndarray, design: np.ndarray, source: np.ndarray, varying: list[int]
) -> MixedLMParams:
    """Where the fit begins: variances from one least-squares fit per source."""
    from statsmodels.regression.mixed_linear_model import MixedLMParams

    coefficients = coefficients_per_source(y, design, source)
    known = np.isfinite(coefficients).all(axis=1)
    coefficients = coefficients[known]
    if len(coefficients) < 2:
        raise ValueError("sources have too few cells")
    mine = known[source]
    rest = y[mine] - (design[mine] * coefficients[np.cumsum(known)[source[mine]] - 1]).sum(1)
    noise = float(rest @ rest) / max(1, len(rest) - coefficients.size) or 1e-12
    own = noise * len(coefficients) / (design[mine] ** 2).sum(0)
    between = np.maximum(coefficients.var(0, ddof=1) - own, 0.1 * own) / noise
    return MixedLMParams.from_components(
        fe_params=coefficients.mean(0), cov_re=np.diag(between[varying])
    )


def _told(estimate: float, error: float, n: int) -> dict[str, object]:
    """Interval, p, minimum detectable effect and verdict."""
    nan = math.nan
    if not math.isfinite(error):
        blank = {"low": nan, "high": nan, "p": nan, "mde": nan, "direction": UNKNOWN}
        return {"interaction": estimate} | blank
    half = float(limit(n)) * error
    low, high = estimate - half, estimate + half
    p = float(two_sided_p(estimate / error, n)) if error > 0 else float(estimate == 0)
    return {
        "interaction": estimate,
        "low": low,
        "high": high,
        "p": p,
        "mde": float(minimum_detectable(error * math.sqrt(n), n)[0]),
        "direction": RISES if low > 0 else FALLS if high < 0 else UNCLEAR,
    }
