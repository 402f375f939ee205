"""What does it cost a sweep that another program wants the processor, and what does sleeping spare?

    python benchmarks/threads.py [--rounds N] [--pictures N] [--busy N] [--spins N ...] [--json]

A small sweep of the embedded model runs in one process for each way of waiting: with threads that
spin while they wait for each other, as OpenMP lets them; with threads that sleep, as the workbench
asks for; with one thread; and, for each number of --spins, with threads that spin so often and then
sleep. They take turns, alone and beside processes that do nothing but compute. On a machine that is
busy anyway "alone" is not alone; compare within a column then.
Aim: asleep and beside one busy process at most twice the time of spinning alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

GNU_SPINS = "300000"
"""What GNU's OpenMP takes where nothing is chosen; said aloud, the workbench leaves it alone."""
SWEEP = """
import sys, tempfile, time
from workbench.families.manager import ModelManager
from workbench.study import Study
from workbench.sweep import run_study
manager = ModelManager()
def sweep(pictures, steps):
    study = Study(name="threads", sources=("paperdoll:900001",), controls=("canny",),
        prompt="a girl, long hair, snow", scales=(1.0,), steps=steps,
        seeds=tuple(range(1, 1 + pictures)))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_study(study, folder + "/run", manager=manager)
        return time.perf_counter() - began
sweep(2, 2)
print("ready", flush=True)
for line in sys.stdin:
    print(sweep(*map(int, line.split())), flush=True)
"""


def main() -> None:
    """Read the command line, let the processes take turns, print the medians."""
    options = parse_arguments()
    cores = str(os.cpu_count())
    ways = {
        "spinning": {"OMP_NUM_THREADS": cores, "GOMP_SPINCOUNT": GNU_SPINS},
        "asleep": {"OMP_NUM_THREADS": cores},
        "one thread": {"OMP_NUM_THREADS": "1"},
    } | {
        f"{spins} spins": {"OMP_NUM_THREADS": cores, "GOMP_SPINCOUNT": str(spins)}
        for spins in options.spins
    }
    seconds: dict[str, dict[str, list[float]]] = {way: {"alone": [], "busy": []} for way in ways}
    with ExitStack() as stack:
        sweeps = {way: stack.enter_context(process(SWEEP, ways[way])) for way in ways}
        for sweep in sweeps.values():
            answer(sweep)
        for _ in range(options.rounds):
            for state, busy in (("alone", 0), ("busy", options.busy)):
                with ExitStack() as beside:
                    for _ in range(busy):
                        beside.enter_context(process("while True: pass", {}))
                    for way, sweep in sweeps.items():
                        print(options.pictures, options.steps, file=sweep.stdin, flush=True)
                        seconds[way][state].append(float(answer(sweep)))
    result = {"cores": cores, "load": os.getloadavg()[0], **vars(options), "seconds": seconds}
    print(json.dumps(result, indent=2) if options.json else table(result))


def parse_arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--busy", type=int, default=1, help="processes beside it")
    parser.add_argument("--spins", type=int, nargs="*", default=[], help="then sleep")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    return parser.parse_args()


@contextmanager
def process(code: str, variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these variables and no other choice of threads; killed at the end."""
    ours = ("OMP_", "GOMP_", "KMP_")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        env=plain | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


def answer(sweep: subprocess.Popen[str]) -> str:
    """The next line that a process says."""
    assert sweep.stdout is not None
    return sweep.stdout.readline()


def table(result: dict[str, Any]) -> str:
    """The medians for people."""
    seconds = result["seconds"]
    alone = statistics.median(seconds["spinning"]["alone"])
    beside = f"beside {result['busy']} busy"
    lines = [
        f"{result['pictures']} pictures of {result['steps']} steps, {result['cores']} cores, "
        f"load {result['load']:.1f}, median of {result['rounds']}",
        f"{'threads':<12}{'alone':>14}{beside:>18}",
    ]
    for way, found in seconds.items():
        medians = [statistics.median(found[state]) for state in ("alone", "busy")]
        cells = [f"{one:.2f} s {one / alone:.2f} ×" for one in medians]
        lines.append(f"{way:<12}{cells[0]:>14}{cells[1]:>18}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
