"""What runs of 100, 1,000 and 10,000 pictures take to be planned, read, analysed and shown.

    python benchmarks/scale.py [--trials 100 1000 10000] [--json]

The runs are written through the store with made-up readings, which follow from the scale and from
chance, and with pictures of 32 pixels, so that no model is needed. Every step is a process of its
own: processor seconds without imports, and the most memory that the process had beyond its imports.
Aim: no step of 10,000 pictures over 2 seconds and 500 MB, and none that grows faster than the run;
a step that is over it has a star, and beside its seconds stands how many times as long it took as
for the run before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
SIDE = 32
MOST_SECONDS, MOST_MEGABYTES = 2.0, 500


def main() -> None:
    """Read the command line, write a run of each size, take every step, print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    before: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in options.trials:
            run = Path(folder) / f"run-{count}"
            made = apart(write, run, count)["result"]
            steps = {name: apart(step, run, count) for name, step in STEPS.items()}
            found[f"{made:,} pictures"] = steps
            if not options.json:
                print(table(f"{made:,} pictures", steps, before), flush=True)
            before = steps
    if options.json:
        print(json.dumps(found, indent=2))


def table(title: str, steps: dict[str, Any], before: dict[str, Any]) -> str:
    """The figures of one size as lines of text, beside those of the size `before`, if any."""
    lines = [f"{title:24}{'seconds':>10}{'times':>8}{'MB':>8}  "]
    for name, one in steps.items():
        seconds, megabytes = one["seconds"], one["megabytes"]
        times = f"{seconds / before[name]['seconds']:.1f}" if name in before else "–"
        missed = " *" if seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES else ""
        lines.append(
            f"  {name:22}{seconds:>10.2f}{times:>8}{megabytes:>8.0f}  {one['result']}{missed}"
        )
    return "\n".join(lines)


def apart(step: Callable[[Path, int], Any], run: Path, count: int) -> dict[str, Any]:
    """Take a step in a process of its own, which imports everything first."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=measured, args=(step, run, count, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{step.__name__} ended with status {process.exitcode}") from None
    process.join()
    return found


def measured(step: Callable[[Path, int], Any], run: Path, count: int, pipe: Any) -> None:
    """Processor seconds and memory of one step; what it returns is printed beside them."""
    import matplotlib.pyplot  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import statsmodels.stats.multitest  # noqa: F401

    from workbench import analysis, explorer, report, runs

    assert analysis and explorer and report and runs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    result = step(run, count)
    seconds = time.process_time() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send({"seconds": seconds, "megabytes": (after - before) / 1024, "result": result})


def study_of(count: int) -> Any:
    """A study of about so many pictures: nine control types at most, then more sources and seeds.

    It has three prompt lengths and five scales.
    """
    from workbench.study import Study

    cells = max(1, count // 15)
    controls = ["canny", "depth", "hed", "lineart"][: max(1, min(4, cells // 4))]
    sources = max(2, min(24, cells // len(controls) // 2))
    seeds = max(1, round(cells / len(controls) / sources))
    return Study(
        name="large",
        sources=[f"paperdoll:{i + 1}" for i in range(sources)],
        controls=controls,
        prompt=list(TAGS),
        lengths=[2, 4, 7],
        scales=[0.2, 0.4, 0.8, 1.2, 1.6],
        seeds=list(range(1, seeds + 1)),
    )


def plan_of(count: int) -> Any:
    from workbench.study.plan import make_plan

    return make_plan(study_of(count), resolution=SIDE)


def write(run: Path, count: int, picture_of: Callable[[int], np.ndarray] | None = None) -> int:
    """Write the run through the store; returns how many pictures it has.

    `picture_of` gives the picture of each trial by its number, uint8 H×W×3; noise if None.
    """
    from workbench.controls import get_control
    from workbench.store import Manifest, RunFolder

    study, plan, rng = study_of(count), plan_of(count), np.random.default_rng(1)
    folder = RunFolder.prepare(run)
    folder.write_study(study)
    folder.write_sources(plan.sources)
    pattern = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    keys = {cell.map_key for cell in plan.cells}
    folder.write_maps(dict.fromkeys(keys, pattern))
    made_by = {"tokens": 9, "truncated": False, "seconds": 0.1, "device": "cpu"}
    for number, trial in enumerate(plan.trials):
        cells = plan.cells_by_trial[trial.id]
        rows = []
        for cell in cells:
            grip = 1 - np.exp(-1.4 * cell.scale)
            means = {spec.name: grip for spec in get_control(cell.control).metrics}
            means |= {"words": 1 - 0.3 * cell.scale, "clip_used": 1 - 0.3 * cell.scale}
            means |= {f"tag:{tag}": 1 - 0.4 * cell.scale for tag in cell.variant.tags}
            for metric, mean in means.items():
                value = float(mean + rng.normal(0, 0.05))
                ends = {"chance": 0.0, "ceiling": 1.0, "adherence": value, "reason": ""}
                rows.append({"cell": cell.id, "metric": metric, "value": value, **ends})
        picture = (
            rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            if picture_of is None
            else picture_of(number)
        )
        folder.write_trial(trial, picture, made_by, rows, cells=cells)
    folder.write_cells(plan.cells)
    folder.write_manifest(Manifest(versions={}, models={}))
    with folder.claim():
        folder.write_table(folder.build_table())
    return len(plan.trials)


def plan(run: Path, count: int) -> str:
    return f"{len(plan_of(count).cells):,} cells"


def scan(run: Path, count: int) -> str:
    """What a second start of a finished run does first."""
    from workbench.store import RunFolder

    return f"{len(RunFolder.open(run).scan().records):,} records"


def build(run: Path, count: int) -> str:
    from workbench.store import RunFolder

    return f"{len(RunFolder.open(run).build_table()):,} rows"


def read(run: Path, count: int) -> str:
    from workbench.runs import open_run

    return f"{len(open_run(run).table):,} rows"


def tradeoff(run: Path, count: int) -> str:
    from workbench.runs import open_run

    return f"{len(open_run(run).tradeoff()):,} points"


def findings(run: Path, count: int) -> str:
    from workbench.runs import open_run

    return f"{len(open_run(run).findings()):,} findings"


def report(run: Path, count: int) -> str:
    from workbench.runs import open_run

    path = open_run(run).report(run.parent / "report.html")
    return f"{path.stat().st_size / 1e6:.1f} MB"


def explorer(run: Path, count: int) -> str:
    """What a notebook needs before the explorer shows anything."""
    from workbench.runs import open_run

    view = open_run(run).view()
    return f"{len(json.dumps(view.shown.data)) / 1e6:.1f} MB of data"


STEPS = {
    "plan": plan,
    "scan": scan,
    "build the table": build,
    "read the table": read,
    "trade-off": tradeoff,
    "findings": findings,
    "report": report,
    "explorer": explorer,
}

if __name__ == "__main__":
    main()
