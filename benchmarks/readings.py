"""Real readings of many sources, resampled: how often do the figures of a study hold?

    workbench run tests/data/readings/study.yaml
    python benchmarks/readings.py runs/readings     # writes tests/data/readings/readings.csv

The sources of that study are taken for all there are. A simulated study draws n of them with
replacement, and `workbench.analysis` makes its intervals from what was really read off their
pictures; the truth is what all of them together give. Where there must be no effect, every drawn
source is turned round by chance (its readings in the order of falling scales), so that a rise is
as likely as a fall. Printed by `benchmarks/coverage.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.analysis.intervals import summarise
from workbench.analysis.student import freedom
from workbench.analysis.tradeoff import best_scale, harmonic_mean
from workbench.analysis.trends import trend_of

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).parents[1] / "tests" / "data" / "readings" / "readings.csv"
SOURCES = (2, 3, 4, 5, 8, 12, 24)
PRIMARY = {"depth": "depth_pearson", "canny": "canny_f1"}
KEYS = ["control", "length", "source", "scale"]
CHANGES, MEANS, WORDS = "changes over the scale", "means", "means of words obeyed"
BEST, HARMONIC, FALSE = "best scale", "its harmonic mean", "false clear changes"


@dataclass(frozen=True)
class Population:
    """What was read off the pictures of all sources at one control type and prompt length.

    Each float (sources, scales): adherence to the control, to the prompt by CLIP, and the share of
    the words kept that the picture obeys.
    """

    control: str
    length: int
    scales: np.ndarray
    control_adherence: np.ndarray
    prompt_adherence: np.ndarray
    words_obeyed: np.ndarray


def populations(table: Path = TABLE) -> list[Population]:
    """The readings that come with the project, one population per control type and length."""
    import pandas as pd

    found = []
    for (control, length), rows in pd.read_csv(table).groupby(["control", "length"]):
        parts = rows.set_index(["source", "scale"])
        names = ("control_adherence", "prompt_adherence", "words_obeyed")
        grids = [parts[name].unstack("scale") for name in names]
        scales = grids[0].columns.to_numpy(dtype=float)
        values = [grid.to_numpy(dtype=float) for grid in grids]
        found.append(Population(str(control), int(length), scales, *values))
    return found


def drawn(values: np.ndarray, runs: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Readings of n sources drawn with replacement: float (runs, n, scales)."""
    return np.asarray(values[rng.integers(len(values), size=(runs, n))])


def turned(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every source turned round by chance: no change from first to last on the whole."""
    turn = rng.random(values.shape[:-1]) < 0.5
    return np.where(turn[..., None], values[..., ::-1], values)


def as_frame(values: np.ndarray, scales: np.ndarray) -> pd.DataFrame:
    """Studies (runs, n, scales) in one long frame, told apart by `control`."""
    import pandas as pd

    run, source, scale = (place.ravel() for place in np.indices(values.shape))
    same = {"base": "b", "prompt": "p", "metric": "m", "setting": "length", "length": 1, "seed": 1}
    return pd.DataFrame(
        {"control": run, "source": source, "scale": scales[scale], "adherence": values.ravel()}
    ).assign(**same)


def holds(table: pd.DataFrame, name: str, truth: np.ndarray | float) -> float:
    """The share of rows whose interval of a figure holds the truth."""
    low, high = (table[f"{name}_{end}" if name else end] for end in ("low", "high"))
    return float(((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean())


def reading_coverage(
    *, sources: Sequence[int] = SOURCES, runs: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How often the intervals in use hold what all sources together give.

    Args:
        sources: numbers of sources in a simulated study. runs: studies of each population.

    Returns:
        One row per figure (`MEANS`, `WORDS`, `CHANGES`, `FALSE`), control, length, what is read
        ("control", "prompt", "words"), scale (NaN for changes) and n_sources: coverage, for
        `FALSE` the share of studies that report a rise or fall where there is none.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for number, of in enumerate(populations()):
        kinds = {
            "control": of.control_adherence,
            "prompt": of.prompt_adherence,
            "words": of.words_obeyed,
        }
        for n in sources:
            rng = np.random.default_rng([seed, number, n])
            for what, values in kinds.items():
                place = {"control": of.control, "length": of.length, "what": what, "n_sources": n}
                studies = drawn(values, runs, n, rng)
                frame = as_frame(studies, of.scales)
                truth = values.mean(0)
                points = summarise(frame, "adherence", ["control", "scale"])
                for k, scale in enumerate(of.scales):
                    mine = points[points["scale"] == scale]
                    figure = WORDS if what == "words" else MEANS
                    share = holds(mine, "", truth[k])
                    rows.append(place | {"figure": figure, "scale": scale, "coverage": share})
                change = holds(trend_of(frame, column="adherence"), "change", truth[-1] - truth[0])
                rows.append(place | {"figure": CHANGES, "coverage": change})
                nothing = trend_of(as_frame(turned(studies, rng), of.scales), column="adherence")
                wrong = float(nothing["direction"].isin(["rises", "falls"]).mean())
                rows.append(place | {"figure": FALSE, "coverage": wrong})
    return pd.DataFrame(rows)


def best_scale_coverage(
    *, sources: Sequence[int] = SOURCES, runs: int = 300, seed: int = 0
) -> pd.DataFrame:
    """How often the best scale and the harmonic mean there hold.

    Returns:
        One row per figure (`BEST`, `HARMONIC`), control, length, what stands for the prompt
        ("prompt", "words") and n_sources: coverage. The truth of the harmonic mean is that of all
        sources at the scale which the study calls the best.
    """
    import pandas as pd

    rows: list[dict[str, object]] = []
    for number, of in enumerate(populations()):
        for what, values in (("prompt", of.prompt_adherence), ("words", of.words_obeyed)):
            truth = harmonic_mean(of.control_adherence.mean(0), values.mean(0))
            best = of.scales[int(truth.argmax())]
            for n in sources:
                rng = np.random.default_rng([seed, number, n])
                found = []
                for _ in range(runs):
                    i = rng.integers(len(values), size=n)
                    row = best_scale(of.control_adherence[i], values[i], of.scales)
                    if row is not None:
                        found.append(row)
                table = pd.DataFrame(found)
                there = truth[np.searchsorted(of.scales, table["scale"])]
                place = {"control": of.control, "length": of.length, "what": what, "n_sources": n}
                rows.append(place | {"figure": BEST, "coverage": holds(table, "scale", best)})
                harmonic = holds(table, "harmonic", there)
                rows.append(place | {"figure": HARMONIC, "coverage": harmonic})
    return pd.DataFrame(rows)


def by_kurtosis(n: int, kurtosis: float, *, runs: int = 20_000, seed: int = 0) -> pd.DataFrame:
    """How often intervals of real readings hold that are made for another excess kurtosis.

    Args:
        n: sources in a simulated study. kurtosis: 0 gives the usual Student's t.

    Returns:
        One row per control, figure (`MEANS`, of adherence, or `CHANGES`) and reading: coverage.
    """
    import pandas as pd
    from scipy.stats import t

    reach = float(t.ppf(0.975, freedom(n, kurtosis)))
    rng = np.random.default_rng([seed, n])
    rows: list[dict[str, object]] = []
    for of in populations():
        adherence = of.control_adherence, of.prompt_adherence
        figures = {
            MEANS: np.concatenate(adherence, axis=1),
            CHANGES: np.stack([v[:, -1] - v[:, 0] for v in (*adherence, of.words_obeyed)], axis=1),
        }
        for figure, values in figures.items():
            studies = drawn(values, runs, n, rng)
            half = reach * studies.std(axis=1, ddof=1) / np.sqrt(n)
            held = np.abs(studies.mean(1) - values.mean(0)) <= half + 1e-12
            rows += [
                {"control": of.control, "figure": figure, "coverage": share}
                for share in held.mean(0)
            ]
    return pd.DataFrame(rows)


def kurtosis_table(sources: Sequence[int] = (4, 5, 8)) -> str:
    """`by_kurtosis` as Markdown, in per cent: the mean over readings and the worst of them."""
    places = [(n, control) for n in sources for control in PRIMARY]
    heads = " | ".join(f"{control}, {n} sources" for n, control in places)
    lines = [f"| figure | excess kurtosis | {heads} |", "|---|--:|" + "--:|" * len(places)]
    for figure in (MEANS, CHANGES):
        for kurtosis in (0, 1, 2, 3):
            cells = []
            for n in sources:
                found = by_kurtosis(n, kurtosis)
                of = found[found["figure"] == figure].groupby("control")["coverage"]
                cells += [f"{100 * of.mean()[c]:.1f} ({100 * of.min()[c]:.1f})" for c in PRIMARY]
            lines.append(f"| {figure} | {kurtosis} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reading_table(found: pd.DataFrame) -> str:
    """As Markdown, in per cent: the mean over all readings and, in brackets, the worst of them."""
    counts = list(dict.fromkeys(found["n_sources"]))
    lines = [f"| figure | {' | '.join(map(str, counts))} |", "|---|" + "--:|" * len(counts)]
    for figure, mine in found.groupby("figure", sort=False):
        by = mine.groupby("n_sources")["coverage"]
        worst = by.max() if figure == FALSE else by.min()
        cells = [f"{100 * by.mean()[n]:.1f} ({100 * worst[n]:.1f})" for n in counts]
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def kept(run: Path) -> pd.DataFrame:
    """The few readings of a run that are resampled, one row per cell.

    Columns: source, control, length, scale; control_adherence and prompt_adherence (by CLIP);
    words_obeyed (share of the words kept).
    """
    import pandas as pd

    rows = pd.read_parquet(run / "measurements.parquet")
    metric = rows["metric"].astype(str)
    control = rows[metric == rows["control"].map(PRIMARY)]
    tag = metric.str.removeprefix("tag_obeyed:")
    asked = [t in p.split(", ") for t, p in zip(tag, rows["prompt"], strict=True)]
    words = rows[metric.str.startswith("tag_obeyed:") & np.array(asked, bool)]
    parts = {
        "control_adherence": control.groupby(KEYS)["adherence"].mean(),
        "prompt_adherence": rows[metric == "clip_used"].groupby(KEYS)["adherence"].mean(),
        "words_obeyed": words.groupby(KEYS)["value"].mean(),
    }
    return pd.DataFrame(parts).round(5).reset_index()


def main() -> None:
    """Keep the readings of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of tests/data/readings/study.yaml")
    kept(parser.parse_args().run).to_csv(TABLE, index=False)
    print(f"written: {TABLE}")


if __name__ == "__main__":
    main()
