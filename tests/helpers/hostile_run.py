"""A run in which every text tries to be run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from run_folders import begin_run, keep_table

from workbench.store import RunFolder
from workbench.store.schema import Manifest
from workbench.study import Study
from workbench.study.plan import make_plan

MARK_NAME = "executed"
MARK = f"window.{MARK_NAME} = (window.{MARK_NAME} || 0) + 1"
HOSTILE = (
    f"<script>{MARK}</script>",
    f"<img src=x onerror='{MARK}'>",
    f'" autofocus onfocus="{MARK}" x="',
    f"</style></pre></title><svg onload='{MARK}'>",
    f"javascript:{MARK}",
    "<iframe src=//example.invalid/frame></iframe>",
    "$\\frac{a$",
    "=HYPERLINK(1)",
    "{{ 7 * 7 }}",
    "\u202ebackwards\u202c 𝕒🙂",
)
LONG = tuple(f"a very long tag with <i>markup</i> number {i:03d}" for i in range(230))
"""More than 10,000 characters in all."""
STUDIES = {"hostile": (HOSTILE, (2, 10)), "long": (LONG, (230,))}


def hostile_run(folder: Path, name: str) -> RunFolder:
    """A run of single-coloured pictures whose every text is hostile, reasons included.

    name: which of `STUDIES`.
    """
    tags, lengths = STUDIES[name]
    study = Study(
        name="hostile",
        sources=["paperdoll:1", "paperdoll:2"],
        controls=["canny"],
        prompt=list(tags),
        lengths=lengths,
        scales=[0.0, 1.0],
        negative_prompt=HOSTILE[1],
    )
    plan = make_plan(study, resolution=32)
    run = begin_run(folder, study)
    run.write_sources(plan.sources)
    for number, trial in enumerate(plan.trials):
        cells = plan.cells_by_trial[trial.id]
        metrics = ("canny_f1", "clip_used", *(f"tag:{tag}" for tag in tags[: lengths[0]]))
        rows = [
            {"cell": cell.id, "metric": metric, "value": 0.2 + 0.1 * number, "chance": 0.1,
             "ceiling": 0.9, "adherence": 0.1 * number, "reason": HOSTILE[0]}
            for cell in cells
            for metric in metrics
        ]  # fmt: skip
        picture = np.full((32, 32, 3), 20 * number, np.uint8)
        picture[:16] = 255
        made_by = {"tokens": 9, "truncated": False, "seconds": 0.1, "device": HOSTILE[0]}
        failed = HOSTILE[0] if number == 1 else ""
        run.write_trial(
            trial, None if failed else picture, made_by, rows, cells=cells, failed=failed
        )
    run.write_manifest(Manifest(versions={HOSTILE[0]: HOSTILE[1]}, models={HOSTILE[3]: HOSTILE[1]}))
    keep_table(run, [cell.id for cell in plan.cells])
    return run
