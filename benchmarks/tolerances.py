"""How far pictures and their readings move under another kernel, memory order or size of a batch.

    python benchmarks/tolerances.py [float32 float16 bfloat16] [--sources 3] [--steps N]

One study of the embedded model is made in each number format, as a run makes it by default and in
other ways that compute the same up to rounding. Every picture and every reading is held against
that of the default: the largest and the mean difference of a channel, and the largest and the mean
difference of value, chance or ceiling, as a share of the metric's range, as `workbench verify`
counts it. The bounds that `workbench.verify.result.tolerance` gives stand above what this prints.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.families.manager import ModelManager
from workbench.families.runtime import Runtime
from workbench.study import Study
from workbench.sweep import run_study
from workbench.verify import RunDifference, diff_runs
from workbench.verify.result import tolerance

WAYS: dict[str, dict[str, Any]] = {
    "attention math": {"attention": "math"},
    "attention eager": {"attention": "eager"},
    "other memory order": {"channels_last": False},
    "batches of 1": {"batch_size": 1},
    "all of these": {"attention": "eager", "channels_last": False, "batch_size": 1},
}
"""What changes nothing but rounding: choices of `Runtime`, and the size of a batch."""


def study(dtype: str, sources: int, steps: int | None) -> Study:
    """Two control types, without and with the control, two seeds."""
    more = {} if steps is None else {"steps": steps}
    return Study(
        name=f"tolerances in {dtype}",
        sources=[f"paperdoll:{900_001 + number}" for number in range(sources)],
        controls=["canny", "depth"],
        prompt="a girl, long hair, blond hair, black eyes, black coat, winter, snow",
        lengths=[7],
        scales=[0, 1],
        seeds=[1, 2],
        dtype=dtype,
        batch_size=8,
        **more,
    )


def made(plan: Study, folder: Path, choices: Mapping[str, Any]) -> Path:
    """A run of the study in one way; returns its folder."""
    runtime = {name: value for name, value in choices.items() if name != "batch_size"}
    manager = ModelManager(plan.family, dtype=plan.dtype, runtime=Runtime(**runtime))
    changed = plan.model_copy(update={"runtime": manager.runtime})
    run_study(changed, folder, manager=manager, batch_size=choices.get("batch_size"))
    return folder


def differences(
    dtype: str, sources: int, steps: int | None, ways: Sequence[str], folder: Path
) -> Iterator[tuple[str, RunDifference]]:
    """(way, difference of its run from the default one)."""
    plan = study(dtype, sources, steps)
    usual = made(plan, folder / "usual", {})
    for number, way in enumerate(ways):
        yield way, diff_runs(usual, made(plan, folder / str(number), WAYS[way]))


def figures(found: RunDifference) -> tuple[float, float, float, float, str]:
    """Largest and mean difference of pixels (of 255) and of readings (share of the range).

    The mean of the pixels is that of the picture where it is largest. Last comes the metric whose
    reading moved most.
    """
    pixels = [p.worst for p in found.pictures.values()] or [0]
    means = [p.mean for p in found.pictures.values()] or [0.0]
    shares = found.readings["share"].replace(np.inf, np.nan).dropna()
    top = found.readings.loc[shares.idxmax(), "metric"] if len(shares) else ""
    return max(pixels), max(means), shares.max(), shares.mean(), top


def main() -> None:
    """Print a table: one line for each number format and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dtypes", nargs="*", default=["float32", "float16", "bfloat16"])
    parser.add_argument("--sources", type=int, default=3)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--by-metric", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| format | way | largest pixel | mean pixel | largest reading | mean reading | metric |")
    print("|---|---|--:|--:|--:|--:|---|")
    for dtype in options.dtypes:
        with tempfile.TemporaryDirectory() as folder:
            ways = list(WAYS)
            for way, found in differences(
                dtype, options.sources, options.steps, ways, Path(folder)
            ):
                worst, mean, reading, average, metric = figures(found)
                print(
                    f"| {dtype} | {way} | {worst:.0f} | {mean:.2f} | {reading:.4f} | "
                    f"{average:.5f} | {metric} |",
                    flush=True,
                )
                if options.by_metric:
                    print(found.metrics()[["metric", "total", "differ", "largest"]].to_string())
        print(f"{dtype}, allowed: {tolerance(dtype).sentence}")


if __name__ == "__main__":
    main()
