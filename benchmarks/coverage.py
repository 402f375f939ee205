"""Which interval keeps its promise with few sources? Prints the tables of docs/statistics.md.

    python benchmarks/coverage.py [--runs 10000] [--seed 0]

Every cell is the share of simulated studies, in per cent, whose 95 % interval holds the truth;
in brackets its median width as a multiple of the width of Student's t. The first table, that of
docs/trust.md, has the lowest share and the greatest width of the shapes with a promise.
"""

from __future__ import annotations

import argparse
import time

import pandas as pd

from workbench.analysis.simulate import SHAPES, coverage


def main() -> None:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="simulated studies for each cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    found = coverage(runs=options.runs, seed=options.seed)
    print(f"{options.runs} simulated studies for each cell, seed {options.seed}\n")
    print(worst(found))
    print()
    print(table(found))
    print(f"\n{time.perf_counter() - began:.0f} s")


def table(found: pd.DataFrame) -> str:
    """The result of `simulate.coverage` as a Markdown table: coverage and relative width."""
    keys = ["shape", "n_sources"]
    shares = found.pivot_table(index=keys, columns="method", values="coverage", sort=False)
    widths = found.pivot_table(index=keys, columns="method", values="width", sort=False)
    methods = list(dict.fromkeys(found["method"]))
    lines = [f"| shape | sources | {' | '.join(methods)} |", "|---|--:|" + "--:|" * len(methods)]
    notes = {shape.name: "" if shape.promised else " *" for shape in SHAPES}
    for key in shares.index:
        shape, n = key
        cells = [f"{100 * shares.loc[key, m]:.1f} ({_times(widths.loc[key, m])})" for m in methods]
        lines.append(f"| {shape}{notes[shape]} | {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def worst(found: pd.DataFrame) -> str:
    """What `table` tells, over the promised shapes: the lowest coverage and the greatest width."""
    promised = found[found["shape"].isin([shape.name for shape in SHAPES if shape.promised])]
    places = promised.groupby(["method", "n_sources"], sort=False)
    low, wide = places["coverage"].min(), places["width"].max()
    counts = list(dict.fromkeys(found["n_sources"]))
    lines = [f"| sources | {' | '.join(map(str, counts))} |", "|---|" + "--:|" * len(counts)]
    for method in dict.fromkeys(found["method"]):
        cells = [f"{100 * low[method, n]:.1f} ({_times(wide[method, n])})" for n in counts]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(ratio: float) -> str:
    return "no end" if ratio == float("inf") else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
