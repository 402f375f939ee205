"""What the explorer shows of who is driving: curves over the steps, and pictures on the way."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.influences.driving import GROUP, curves, driving, sentence_of_each
from workbench.influences.parts import INFLUENCES, figures_of
from workbench.influences.stored import Observation
from workbench.store import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.influences.view import Influence

FIGURES = (*INFLUENCES, *(f"guided {name}" for name in INFLUENCES))


class Ways:
    """The ways to the pictures of a run, as the explorer asks for them. Reads only.

    Args:
        found: what was seen in the run.
    """

    def __init__(self, found: Influence) -> None:
        self._found = found

    def values(self, trials: Collection[str]) -> dict[str, Any]:
        """Plain values of some of the pictures, {} where none of them was looked at.

        "groups": for each control, form of the prompt and scale its guidance, its figures (name ->
        [mean, low, high] of each step), who is clearly ahead at each step ("before" and "guided"),
        and all of that in a sentence. "trials": trial -> its group, its figures (name -> a value
        for each step), the steps that have maps and those that have a picture so far.
        """
        table = self._found.table
        whole = set(table["trial"])
        there = [trial for trial in trials if trial in whole]
        if not there:
            return {}
        means = curves(table[table["metric"].isin(FIGURES)])
        ahead = {"guided": driving(table), "before": driving(table, guided=False)}
        keys = list(dict.fromkeys(means[list(GROUP)].itertuples(index=False, name=None)))
        firsts = table.drop_duplicates("trial").set_index("trial")
        group_of = {
            trial: keys.index(key)
            for trial, key in zip(
                firsts.index, firsts[list(GROUP)].itertuples(index=False, name=None), strict=True
            )
        }
        said = sentence_of_each(table)
        guidance = firsts.groupby(list(GROUP))["guidance_scale"].first()
        return {
            "groups": [
                {
                    "guidance": float(guidance.loc[key]),
                    "figures": _curves(_only(means, key)),
                    "ahead": {
                        name: _only(rows, key).sort_values("step")["driver"].tolist()
                        for name, rows in ahead.items()
                    },
                    "said": said[key],
                }
                for key in keys
            ],
            "trials": {trial: {"group": group_of[trial]} | self._way(trial) for trial in there},
        }

    def _way(self, trial: str) -> dict[str, Any]:
        one = self._found.observation(trial)
        found = figures_of(one.products, one.trial.guidance_scale)
        return {
            "figures": {name: found[name].tolist() for name in FIGURES},
            "maps_at": sorted(one.maps),
            "so_far_at": sorted(one.so_far),
        }

    def so_far(self, trial: str, step: int) -> np.ndarray | None:
        """What a picture looked like after a step, uint8 h×w×3; None where that was not kept."""
        one = self._observation(trial)
        return None if one is None else one.so_far.get(step)

    def pull(self, trial: str, step: int) -> np.ndarray | None:
        """Where text, control and interaction pull at a step, None where that was not kept.

        Red, green and blue, uint8 h×w×3, of one scale for all steps of the picture.
        """
        one = self._observation(trial)
        if one is None or step not in one.maps:
            return None
        most = max(float(grid.max()) for grid in one.maps.values()) or 1.0
        return np.moveaxis(np.rint(255 * np.clip(one.maps[step] / most, 0, 1)), 0, -1).astype(
            np.uint8
        )

    def _observation(self, trial: str) -> Observation | None:
        try:
            return self._found.observation(trial)
        except StoreError:
            return None


def _only(rows: pd.DataFrame, key: tuple[Any, ...]) -> pd.DataFrame:
    """The rows of one group."""
    mine = np.logical_and.reduce(
        [rows[name] == value for name, value in zip(GROUP, key, strict=True)]
    )
    return rows[mine]


def _curves(rows: pd.DataFrame) -> dict[str, list[list[float]]]:
    return {
        str(name): mine.sort_values("step")[["mean", "low", "high"]].to_numpy().tolist()
        for name, mine in rows.groupby("metric")
    }
