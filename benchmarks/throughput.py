"""How much faster is a sweep than a plain loop over the diffusers pipeline, on the same trials?

    python benchmarks/throughput.py [--study data/studies/demo.yaml] [--limit N] [--json]

Both sides run in one process, one after the other, with their models loaded and warm. The plain
loop makes one picture at a time and scores it with torchmetrics; the workbench runs `run_study`,
which also measures references, tags and diversity and stores every trial. Aim: 4 times as fast,
at least 2.5, with 90 % of the workbench's time inside forward passes of models.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import ForwardClock, Stopwatch
from plain_loop import PlainLoop

from workbench.families import get_family
from workbench.families.manager import ModelManager
from workbench.generation import generate
from workbench.paths import data_dir
from workbench.study import Study, make_plan
from workbench.sweep import Progress, run_study

COLD_START = """
import time; began = time.perf_counter()
from workbench.families.manager import ModelManager
from workbench.generation import generate
from workbench.study import Trial
manager = ModelManager()
d = manager.family.defaults
trial = Trial(family=manager.family.name, base=manager.base, control=None, control_settings="",
    source_sha256=None, prompt="a girl, long hair", negative_prompt="", seed=1, steps=d.steps,
    guidance_scale=d.guidance_scale, scheduler=d.scheduler, scale=0, control_start=0,
    control_end=1, size=manager.family.resolution)
list(generate([trial], {}, manager))
print(time.perf_counter() - began)
"""


def main() -> None:
    """Read the command line, run both sides, print what came out."""
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    study = shrink(Study.from_yaml(options.study), options.limit)
    quiet = options.json
    result = {"cold_start_seconds": cold_start()} if options.cold else {}
    result |= compare(study, options.batch_size, lambda text: None if quiet else say(text))
    print(json.dumps(result, indent=2) if options.json else "\n" + table(result))


def parse_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--study", type=Path, default=data_dir() / "studies" / "demo.yaml")
    parser.add_argument("--limit", type=int, help="shrink the study to at most so many trials")
    parser.add_argument("--batch-size", type=int, help="instead of the study's own")
    parser.add_argument("--threads", type=int, help="threads torch may use, on both sides")
    parser.add_argument("--cold", action="store_true", help="time a cold process to a picture, too")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    return parser.parse_args()


def compare(study: Study, batch_size: int | None, log: Callable[[str], None]) -> dict[str, Any]:
    """Run both sides on one study and return the figures as JSON values."""
    family = get_family(study.family)
    manager = ModelManager(family, study.base[0], dtype=study.dtype)
    plan = make_plan(study, resolution=family.resolution)
    plain = PlainLoop(plan, manager)
    warm_up(plain, manager, study)

    with tempfile.TemporaryDirectory() as folder:
        watch = Stopwatch()
        values = plain.run(Path(folder), lambda done, of: log(f"plain loop {done}/{of}"))
        plain_seconds, plain_cpu = watch.read()

    with tempfile.TemporaryDirectory() as folder:
        phases = Phases(log)
        with ForwardClock() as clock:
            watch = Stopwatch()
            run_study(
                study, Path(folder) / "run", manager=manager, progress=phases, batch_size=batch_size
            )
            seconds, cpu = watch.read()

    return {
        "study": study.name,
        "trials": len(plan.trials),
        "steps": study.steps,
        "batch_size": batch_size or study.batch_size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "plain_seconds": round(plain_seconds, 2),
        "plain_values": values,
        "workbench_seconds": round(seconds, 2),
        "ratio": round(plain_seconds / seconds, 2),
        "forward_share": round(clock.seconds / seconds, 4),
        "cpu_ratio": round(plain_cpu / cpu, 2),
        "cpu_forward_share": round(clock.cpu_seconds / cpu, 4),
        "forward_seconds": {k: round(v, 2) for k, v in most_first(clock.by_model)},
        "phase_seconds": {k: round(v, 2) for k, v in phases.finished().items()},
    }


def warm_up(plain: PlainLoop, manager: ModelManager, study: Study) -> None:
    """Run each kind of trial once for two steps, on both sides, and forget what was computed."""
    short = study.model_copy(update={"steps": 2})
    plan = make_plan(short, resolution=manager.family.resolution)
    maps = {}
    for trial in {trial.control: trial for trial in plan.trials}.values():
        cell = plan.cells_by_trial[trial.id][0]
        plain.measure(np.asarray(plain.sample(trial, cell)), (cell,))
        if trial.map_key is not None:
            maps[trial.map_key] = plain.source_map(cell)
        list(generate([trial], maps, manager))
    plain.source_maps.clear()
    manager.prompt_cache.clear()
    for control in plain.pipelines:
        if control is not None:
            manager.hint_cache(control).clear()


def cold_start() -> float:
    """Seconds from a fresh process to the first embedded picture."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COLD_START], check=True, capture_output=True)
    return round(time.perf_counter() - began, 2)


def shrink(study: Study, limit: int | None) -> Study:
    """Shorten the study's longest lists until it has at most `limit` trials."""
    resolution = get_family(study.family).resolution
    while limit is not None and len(make_plan(study, resolution=resolution).trials) > limit:
        axes = {name: getattr(study, name) for name in ("sources", "seeds", "scales", "lengths")}
        name, values = max(axes.items(), key=lambda axis: len(axis[1]))
        if len(values) == 1:
            raise SystemExit(f"--limit {limit}: the study cannot be made that small")
        study = study.model_copy(update={name: (*values[:-2], values[-1])})
    return study


class Phases:
    """Progress callback that keeps the time of each phase of a sweep."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._since = time.perf_counter()
        self._now = "starting"
        self._seconds: dict[str, float] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.phase != self._now:
            self._close()
            self._now = progress.phase
        self._log(f"workbench {progress.phase} {progress.done}/{progress.total}")

    def finished(self) -> dict[str, float]:
        """Seconds by phase, in the order of the phases."""
        self._close()
        return self._seconds

    def _close(self) -> None:
        now = time.perf_counter()
        self._seconds[self._now] = self._seconds.get(self._now, 0.0) + now - self._since
        self._since = now


def most_first(seconds: dict[str, float]) -> list[tuple[str, float]]:
    """Entries with the largest value first."""
    return sorted(seconds.items(), key=lambda entry: -entry[1])


def say(text: str) -> None:
    """One line that the next one overwrites."""
    print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    models = ", ".join(f"{k} {v:.1f} s" for k, v in result["forward_seconds"].items() if v >= 0.05)
    phases = ", ".join(f"{k} {v:.1f} s" for k, v in result["phase_seconds"].items() if v >= 0.05)
    lines = [
        f"{result['study']}: {result['trials']} trials of {result['steps']} steps, "
        f"batches of {result['batch_size']}, {result['threads']} threads, torch {result['torch']}",
        f"plain loop        {result['plain_seconds']:8.1f} s   {result['plain_values']} values",
        f"workbench sweep   {result['workbench_seconds']:8.1f} s   {phases}",
        f"ratio             {result['ratio']:8.2f} ×   (aim 4, at least 2.5)",
        f"in forward passes {result['forward_share']:8.1%}     {models}",
        f"in processor time {result['cpu_ratio']:8.2f} ×   "
        f"{result['cpu_forward_share']:.1%} in forward passes",
    ]
    if "cold_start_seconds" in result:
        lines.append(f"cold to a picture {result['cold_start_seconds']:8.1f} s   (at most 12)")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
