"""Run folders with synthetic readings, written through the store like real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run_folders import begin_run, keep_table

from workbench.store import RunFolder
from workbench.store.schema import Manifest
from workbench.study import Cell, Study, Trial
from workbench.study.plan import make_plan

Paint = Callable[[Trial], np.ndarray]
SIDE = 32


def paint(trial: Trial) -> np.ndarray:
    """A picture that differs between trials: a ramp with a colour of its own."""
    level = int(trial.id[:2], 16)
    ramp = np.linspace(0, 255, SIDE, dtype=np.uint8)
    return np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE)),
                     np.full((SIDE, SIDE), level, np.uint8)], axis=-1)  # fmt: skip


def readings(frame: pd.DataFrame) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """(control, source number, length, scale, seed) -> its rows in the synthetic frame."""
    kept = ["metric", "value", "chance", "ceiling", "adherence", "reason"]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in frame.to_dict("records"):
        number = int(row["source"].partition(":")[2])
        key = (row["control"], number, row["length"], row["scale"], row["seed"])
        rows = found.setdefault(key, [])
        if row["metric"] not in {r["metric"] for r in rows}:
            rows.append({name: row[name] for name in kept})
    return found


def write_run(
    folder: Path,
    frame: pd.DataFrame,
    tags: Sequence[str],
    *,
    picture: Paint = paint,
    resolution: int = SIDE,
    failed: Mapping[int, str] | None = None,
    **settings: Any,
) -> RunFolder:
    """Write a run of the synthetic frame's size; ``failed``: number of a trial -> its reason."""
    study = Study(
        name=settings.pop("name", "prompt-or-control"),
        sources=[f"paperdoll:{900001 + i}" for i in range(frame["source"].nunique())],
        controls=list(dict.fromkeys(frame["control"])),
        prompt=list(tags),
        lengths=sorted({int(n) for n in frame["length"]}),
        scales=sorted({float(s) for s in frame["scale"]}),
        seeds=sorted({int(s) for s in frame["seed"]}),
        **settings,
    )
    plan = make_plan(study, resolution=resolution)
    rows_of = readings(frame)
    order = {label: i for i, label in enumerate(plan.sources)}
    run = begin_run(folder, study)
    run.write_sources(plan.sources)

    def rows(cell: Cell) -> list[dict[str, Any]]:
        key = (cell.control, order[cell.source], cell.variant.length, cell.scale, cell.seed)
        return [{"cell": cell.id, **row} for row in rows_of.get(key, [])]

    for number, trial in enumerate(plan.trials):
        cells = plan.cells_by_trial[trial.id]
        made_by = {"tokens": 9, "truncated": False, "seconds": 0.1, "device": "cpu"}
        reason = (failed or {}).get(number, "")
        if reason:
            nothing = {"value": math.nan, "chance": math.nan, "ceiling": math.nan}
            lost = [
                {"cell": cell.id, "metric": "diversity_looks", **nothing, "adherence": math.nan,
                 "reason": "the sample failed"}
                for cell in cells
            ]  # fmt: skip
            run.write_trial(trial, None, made_by, lost, cells=cells, failed=reason)
        else:
            made = [row for cell in cells for row in rows(cell)]
            run.write_trial(trial, picture(trial), made_by, made, cells=cells)
    run.write_manifest(
        Manifest.model_validate(
            {
                "created": "2026-03-01T12:00:00+00:00",
                "study_hash": study.hash,
                "versions": {"torch": "2.13.0", "diffusers": "0.42.0"},
                "weight_hashes": {"unet": "ab" * 32},
                "models": {"base/render": "paperdoll/base"},
                "sources": {label: source.sha256 for label, source in plan.sources.items()},
                "git": {"commit": "0" * 40, "dirty": False},
            }
        )
    )
    keep_table(run, [cell.id for cell in plan.cells])
    return run
