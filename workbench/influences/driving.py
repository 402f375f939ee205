"""Who is driving at which step: means over pictures with intervals over sources, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.analysis import distinct_controls, records
from workbench.analysis.intervals import summarise
from workbench.analysis.trends import MIN_WILCOXON
from workbench.analysis.wording import count_sources, interval, title
from workbench.formats import number
from workbench.influences.parts import figures_of
from workbench.influences.stored import Observation

if TYPE_CHECKING:
    import pandas as pd

GROUP = ("control", "label", "scale")
"""What tells one curve from another: the control, the form of the prompt, the conditioning scale.
Base models have labels of their own, see `analysis.distinct_controls`."""
PULLS = {False: ("text", "control"), True: ("guided text", "guided control")}
_FACTS = ("source", "control", "control_settings", "base", "setting", "label", "length", "prompt",
          "scale", "seed")  # fmt: skip


def long_table(observations: Iterable[Observation]) -> pd.DataFrame:
    """One row for each figure at each step of each picture.

    Columns: trial, source, control (labels as of `analysis.distinct_controls`), control_settings,
    base, setting, label, length, prompt, scale, seed; step (from 1), steps, time (the scheduler's),
    guidance_scale; metric (see `parts.figures_of`) and value.
    """
    import pandas as pd

    columns = ["trial", *_FACTS, "step", "steps", "time", "guidance_scale", "metric", "value"]
    parts = []
    for one in observations:
        guidance, steps = one.trial.guidance_scale, len(one.times)
        found = figures_of(one.products, guidance)
        facts = {name: one.facts.get(name) for name in _FACTS}
        parts.append(
            pd.DataFrame(
                {
                    "trial": one.trial.id,
                    **facts,
                    "step": np.tile(np.arange(1, steps + 1), len(found)),
                    "steps": steps,
                    "time": np.tile(one.times, len(found)),
                    "guidance_scale": guidance,
                    "metric": np.repeat(list(found), steps),
                    "value": np.concatenate(list(found.values())),
                }
            )
        )
    if not parts:
        return pd.DataFrame(columns=columns)
    return distinct_controls(pd.concat(parts, ignore_index=True))


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """Every figure over the steps, as `analysis` summarises over sources.

    Returns:
        One row for each of `GROUP`, metric and step: these columns, mean, low, high (95 %, over
        sources; NaN with fewer than two), spread, n_sources, n_samples, note.
    """
    return summarise(table, "value", [*GROUP, "metric", "step"])


def driving(table: pd.DataFrame, *, guided: bool = True) -> pd.DataFrame:
    """The text's influence less the control's at each step, paired picture by picture.

    Args:
        table: as `long_table` returns it.
        guided: of the prediction under guidance, which the step follows; False: of the prediction
            with text and control.

    Returns:
        One row for each of `GROUP` and step: these columns, mean, low, high, n_sources and so on as
        in `curves`, and driver: "text" or "control" where the interval leaves out 0, else "".
    """
    found = summarise(_differences(table, guided), "value", [*GROUP, "step"])
    driver = np.select([found["low"] > 0, found["high"] < 0], ["text", "control"], "")
    return found.assign(driver=driver)


def sentences(table: pd.DataFrame) -> list[str]:
    """Until which step who is driving, for each group: of the step taken, and before guidance."""
    return list(sentence_of_each(table).values())


def sentence_of_each(table: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """As `sentences`, by the values of `GROUP`."""
    guided, before = driving(table), driving(table, guided=False)
    whole = summarise(_differences(table, guided=True), "value", GROUP)
    said: dict[tuple[Any, ...], str] = {}
    for overall in records(whole):
        key = [overall[name] for name in GROUP]
        mine, raw, rows = (t[(t[list(GROUP)] == key).all(axis=1)] for t in (guided, before, table))
        where = f"{title(overall['control'])}, {overall['label']}, scale {number(overall['scale'])}"
        where += f", guidance {number(rows['guidance_scale'].iloc[0])}"
        n = int(overall["n_sources"])
        if n < 2:
            why = "one source has no interval, so nobody can tell who is driving."
            said[tuple(key)] = f"{where}: {why}"
            continue
        figures = interval(overall["mean"], overall["low"], overall["high"], "text less control")
        luck = f", which by chance all lean one way in one of {2 ** (n - 1)} studies"
        said[tuple(key)] = (
            f"{where}: in the step taken {_clause(mine)}. Before guidance {_clause(raw)}. Each "
            f"step is judged for itself by its 95 % interval over {count_sources(n)}"
            f"{luck if n < MIN_WILCOXON else ''}. Over all steps taken: {figures}."
        )
    return said


def ranges(steps: Sequence[int]) -> str:
    """Whole numbers in words: "1–3, 7, 12–20"."""
    parts = []
    for _, run in groupby(enumerate(steps), lambda pair: pair[1] - pair[0]):
        members = [step for _, step in run]
        parts.append(str(members[0]) + (f"–{members[-1]}" if len(members) > 1 else ""))
    return ", ".join(parts)


def _differences(table: pd.DataFrame, guided: bool) -> pd.DataFrame:
    """Rows of the text's influence with the control's taken off."""
    text, control = (table[table["metric"] == name] for name in PULLS[guided])
    theirs = control.set_index(["trial", "step"])["value"]
    mine = text.set_index(["trial", "step"])
    return mine.assign(value=mine["value"] - theirs).reset_index()


def _clause(steps: pd.DataFrame) -> str:
    """Who is clearly ahead at which steps, of one group."""
    last, told = int(steps["step"].max()), list[str]()
    for driver in ("text", "control"):
        clear = steps.loc[steps["driver"] == driver, "step"].tolist()
        if clear:
            noun = "step" if len(clear) == 1 else "steps"
            verb, total = ("", "") if told else (" pulls harder", f" of {last}")
            told.append(f"the {driver}{verb} in {noun} {ranges(clear)}{total}")
    if not told:
        return f"it is clear at none of {last} steps whether text or control pulls harder"
    rest = (steps["driver"] == "").any()
    return ", ".join(told) + (", and elsewhere it is not clear which" if rest else "")
