"""Which interval keeps its promise with few sources? Prints the table of docs/trust.md.

    python benchmarks/coverage.py [--runs 10000] [--seed 0]

Every cell is the share of simulated studies, in per cent, whose 95 % interval holds the truth;
in brackets its median width as a multiple of the width of Student's t.
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


def _times(ratio: float) -> str:
    return "no end" if ratio == float("inf") else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
