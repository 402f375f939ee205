"""How far the luck of pictures that all sources share may move a mean.

At scale 0 the control has no say, so all sources have the same pictures: as many as there are
prompts and seeds, however many sources there are. A mean over sources moves with their luck, which
the differences between sources cannot tell. The pictures can: their spread over seeds, within one
prompt and base model, gives a second error. The two are joined with a quantile of Student's t
between those of their own degrees of freedom, weighted by variance: W. Cochran and G. Cox,
*Experimental Designs*, 2nd ed. (1957), section 4.14. With few pictures it errs on the safe side,
where the degrees of freedom of Satterthwaite and Welch let too many null effects through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.codes import group_codes, group_means
from workbench.analysis.student import limit, reach

if TYPE_CHECKING:
    import pandas as pd

ONE_PICTURE = "at scale 0 all sources share pictures of one seed, whose luck no interval tells"


@dataclass(frozen=True)
class SharedError:
    """Of each group, float or int (G,).

    variance: of the group's mean, by the luck of shared pictures; 0 where none are shared or it
        cannot be told. freedom: degrees of freedom of the variance, 0 where it cannot be told.
    shares: whether the group has pictures that several sources share.
    """

    variance: np.ndarray
    freedom: np.ndarray
    shares: np.ndarray


def shared_error(rows: pd.DataFrame, column: str, by: Sequence[str], count: int) -> SharedError:
    """The error of the means of groups by pictures that several of their sources share.

    Args:
        rows: rows with a value in `column`; without a column "trial" nothing is shared.
        by: columns that define a group, in the order of `group_codes`. count: of the groups.
    """
    nothing = SharedError(np.zeros(count), np.zeros(count, int), np.zeros(count, bool))
    several = shared_rows(rows)
    if not several.any():
        return nothing
    group, _ = group_codes(rows, by)
    part = np.bincount(group, weights=several, minlength=count) / np.bincount(group)
    mine, place = rows[several], group[several]
    place_of = list(dict.fromkeys([*by, "base", "prompt", "scale"]))
    trial, trials = group_codes(mine, [*place_of, "seed"])
    value = group_means(mine[column].to_numpy(dtype=float), trial, len(trials))
    of_group = np.zeros(len(trials), dtype=np.int64)
    of_group[trial] = place
    stratum, strata = group_codes(trials, place_of)
    away = value - group_means(value, stratum, len(strata))[stratum]
    squares = np.bincount(of_group, weights=away**2, minlength=count)
    pictures = np.bincount(of_group, minlength=count)
    places = np.zeros(len(strata), dtype=np.int64)
    places[stratum] = of_group
    freedom = pictures - np.bincount(places, minlength=count)
    told = freedom > 0
    spread = np.divide(squares, freedom, out=np.zeros(count), where=told)
    variance = np.divide(part**2 * spread, pictures, out=np.zeros(count), where=told)
    return SharedError(variance, np.where(told, freedom, 0), pictures > 0)


def joined_halves(
    half: np.ndarray, n: np.ndarray, shared: SharedError, level: float = 0.95
) -> np.ndarray:
    """Half the width of intervals over sources, with the error by shared pictures joined to it.

    Args:
        half: of Student's t over n sources, float (G,); NaN stays.
        n: how many sources, int (G,).
    """
    n = np.maximum(np.asarray(n), 2)
    usual = limit(n, level)
    own = (half / usual) ** 2
    total = own + shared.variance
    luck = reach(np.maximum(shared.freedom, 1), level)
    weighted = own * usual + shared.variance * luck
    joined = np.divide(weighted, np.sqrt(total), out=np.zeros(len(half)), where=total > 0)
    return np.where(shared.variance > 0, joined, half)


def above_zero(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at scales above 0 where pictures at scale 0 are shared; else all rows."""
    return rows[rows["scale"] > 0] if shared_rows(rows).any() else rows


def shared_rows(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of a picture at scale 0 that several sources share, bool (rows,)."""
    import pandas as pd

    found = np.zeros(len(rows), bool)
    if "trial" not in rows or "scale" not in rows:
        return found
    zero = np.flatnonzero(rows["scale"].to_numpy() == 0)
    trial, _ = pd.factorize(rows["trial"].to_numpy()[zero])
    source, sources = pd.factorize(rows["source"].to_numpy()[zero])
    pairs = np.unique(trial * max(1, len(sources)) + source)
    count = np.bincount(pairs // max(1, len(sources)))
    found[zero] = count[trial] > 1 if len(zero) else False
    return found


def picture_weights(rows: pd.DataFrame, keys: Sequence[str]) -> np.ndarray:
    """One for every row whose picture is its own; k sources that share a picture get 1/k each.

    Args:
        keys: columns that tell readings of one picture apart, such as its tag.
    """
    if not shared_rows(rows).any():
        return np.ones(len(rows))
    return 1.0 / rows.groupby([*keys, "trial"])["trial"].transform("size").to_numpy(dtype=float)
