"""How fast the explorer is, in a real Chromium: to open, by key, by scrubber, as a run grows.

    python benchmarks/explorer.py [--page 2000] [--notebook 10000] [--sweep 24] [--runs DIR]

The runs for page and notebook are written through the store with made-up readings (see `scale.py`)
and rendered scenes as pictures. What a notebook shows is loaded into a page beside a stand-in for
its kernel, so that nothing but the explorer is measured. The sweep is a real one by the embedded
model, in the app without a browser: the delay is from a picture's record on the disk to the message
that shows it, the cost is processor time spent on following, as a share of the sweep's.

Aims: a page of 2,000 pictures takes at most 25 MB and opens in 2 s; a run of 10,000 opens in 3 s;
a key shows its picture within 50 ms; 30 frames a second are scrubbed; a sweep is followed within
half a second at less than 3 % of its cost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scale

SCENES = 24
KEYS = 40
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
READY = """async () => {
  const here = () => document.querySelector(".wbx-row button.wbx-on");
  while (!here()) await new Promise(requestAnimationFrame);
  const shown = [...document.querySelectorAll(".wbx img[src^=data]")];
  await Promise.all(shown.map((img) => img.decode().catch(() => 0)));
  return performance.now();
}"""
WALK = """async (count) => {
  const took = [], shown = document.querySelector(".wbx-tiles figure:nth-child(2) img");
  const keys = ["ArrowRight", "ArrowUp", "]", "ArrowLeft", "ArrowDown", "["];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const key = new KeyboardEvent("keydown", { key: keys[i % keys.length], bubbles: true });
    document.querySelector(".wbx-row button.wbx-on").dispatchEvent(key);
    await shown.decode().catch(() => 0);
    await new Promise(requestAnimationFrame);
    took.push(performance.now() - began);
  }
  return took;
}"""
SCRUB = """async (count) => {
  const input = document.querySelector(".wbx-scrubs input"), most = Number(input.max);
  const began = performance.now();
  for (let i = 0; i < count; i++) {
    input.value = i % (most + 1);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  return (1000 * count) / (performance.now() - began);
}"""
HOST = """async ([source, text]) => {
  const file = new Blob([source], { type: "text/javascript" });
  const module = await import(URL.createObjectURL(file));
  const began = performance.now(), data = JSON.parse(text);
  const model = { get: (name) => ({ data })[name], on: () => 0, send: () => 0 };
  module.default.render({ model, el: document.body });
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def main() -> None:
    """Read the command line, measure what is asked for, print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--page", type=int, default=2_000, help="pictures of the page; 0: none")
    parser.add_argument("--notebook", type=int, default=10_000, help="of the run in the notebook")
    parser.add_argument("--sweep", type=int, default=24, help="pictures of the sweep")
    parser.add_argument("--runs", type=Path, help="keeps the runs, and uses those that are there")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = options.runs or Path(folder)
        for name, count, measure in (
            ("page", options.page, page),
            ("notebook", options.notebook, notebook),
            ("sweep", options.sweep, sweep),
        ):
            if count:
                found[name] = measure(place / f"{name}-{count}", count)
                lines = [f"{name}: {key}: {value}" for key, value in found[name].items()]
                if not options.json:
                    print(*lines, sep="\n", flush=True)
    if options.json:
        print(json.dumps(found, indent=2))


@contextmanager
def chromium() -> Iterator[Any]:
    """A page of Chromium at 1280 × 720."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        yield browser.new_page(viewport={"width": 1280, "height": 720})
        browser.close()


def page(run: Path, count: int) -> dict[str, Any]:
    """A page with all pictures inside: its size, and how it answers."""
    from workbench.paperdoll import render, sample_scene
    from workbench.runs import open_run

    scenes = [np.asarray(render(sample_scene(seed)).rgb) for seed in range(SCENES)]
    if not run.exists():
        scale.write(run, count, lambda n: scenes[n % SCENES])
    began = time.perf_counter()
    file = open_run(run).page(run / "page.html")
    built = time.perf_counter() - began
    with chromium() as shown:
        shown.goto(file.as_uri())
        opened = shown.evaluate(READY)
        return {
            "pictures": len(list((run / "trials").iterdir())),
            "MB": round(file.stat().st_size / 1e6, 1),
            "seconds to write": round(built, 2),
            "seconds to open": round(opened / 1000, 2),
            **answers(shown),
        }


def notebook(run: Path, count: int) -> dict[str, Any]:
    """What a kernel computes and sends for a run, and how the explorer answers with it."""
    from workbench.app.explorer import CHOICE
    from workbench.explorer.page import module
    from workbench.runs import open_run

    if not run.exists():
        scale.write(run, count)
    began = time.perf_counter()
    text = json.dumps(open_run(run).view(CHOICE).shown.data)
    computed = time.perf_counter() - began
    with chromium() as shown:
        loaded = shown.evaluate(HOST, [module(), text])
        return {
            "pictures": len(list((run / "trials").iterdir())),
            "MB of data": round(len(text) / 1e6, 1),
            "seconds in the kernel": round(computed, 2),
            "seconds in the browser": round(loaded / 1000, 2),
            **answers(shown),
        }


def answers(shown: Any) -> dict[str, Any]:
    """Milliseconds from a key to its picture, and frames a second under the scrubber."""
    took = sorted(shown.evaluate(WALK, KEYS))
    return {
        "ms from key to picture, median": round(statistics.median(took), 1),
        "ms from key to picture, 95 %": round(took[int(0.95 * len(took))], 1),
        "frames a second under the scrubber": round(shown.evaluate(SCRUB, 2 * KEYS), 1),
    }


def sweep(runs: Path, count: int) -> dict[str, Any]:
    """A sweep in the app: how late a picture is shown, and what following costs."""
    from workbench.app import Workbench
    from workbench.app.views.run import RunView

    spent: list[float] = []
    late: list[float] = []
    follow, seen = RunView._update, set[str]()

    def timed(view: RunView) -> None:
        began = time.thread_time()
        follow(view)
        spent.append(time.thread_time() - began)
        now, explorer = time.time(), view.explorer
        if explorer.run is None or explorer._view is None:
            return
        made = explorer._view.shown.data["cells"]["sample"]
        for trial, sample in zip(explorer._view.shown.trials, made, strict=True):
            if sample >= 0 and trial not in seen:
                seen.add(trial)
                late.append(now - explorer.run.folder.record_path(trial).stat().st_mtime)

    RunView._update = timed  # type: ignore[method-assign]
    bench = Workbench(str(runs))
    began, processor = time.perf_counter(), time.process_time()
    bench.session.make({"seed": tuple(range(1, count + 1))})
    bench.session.wait(3600)
    while not spent or bench.session.state.now.work.running:
        time.sleep(0.1)
    wall, whole = time.perf_counter() - began, time.process_time() - processor
    bench.close()
    return {
        "pictures": len(seen),
        "seconds": round(wall, 1),
        "updates": len(spent),
        "seconds late, median": round(statistics.median(late), 2),
        "seconds late, worst": round(max(late), 2),
        "share of the processor time": round(sum(spent) / whole, 4),
    }


if __name__ == "__main__":
    main()
