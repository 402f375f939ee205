"""The order of work. Protects: a tenth of the pictures shows a trade-off of every control type and
prompt length, with its ends, and nothing is lost or made in other batches than are planned."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from tiny_run import TinyManager, make_study

from workbench.generation import plan_batches
from workbench.store import RunFolder
from workbench.study import Plan, Study, Trial, make_plan
from workbench.sweep import run_study, run_trials
from workbench.sweep.order import coarse_first


def plan_of(**changes: object) -> Plan:
    """A study of 915 pictures, or another."""
    fields = {
        "sources": [f"paperdoll:{900001 + i}" for i in range(5)],
        "controls": ["depth", "canny", "hed"],
        "prompt": "a girl, long hair, black coat, snow",
        "lengths": [1, 2, 4],
        "scales": [0, 0.4, 0.8, 1.2, 1.6],
        "seeds": [1, 2, 3, 4, 5],
    }
    return make_plan(Study.model_validate({"name": "order", **fields, **changes}), resolution=64)


def test_a_tenth_shows_the_trade_off_of_every_control_and_length() -> None:
    plan = plan_of()
    batches = plan_batches(coarse_first(plan.trials), 16)
    tenth = [t for batch in batches for t in batch.trials][: len(plan.trials) // 10]
    steered = [trial for trial in tenth if trial.controls]
    shortest, *_, longest = dict.fromkeys(trial.prompt for trial in plan.trials)
    for control in ("depth", "canny", "hed"):
        mine = [trial for trial in steered if trial.control == control]
        assert {trial.scale for trial in mine} >= {0.8, 1.6}
        assert {trial.prompt for trial in mine} >= {shortest, longest}
    assert {trial.prompt for trial in tenth if not trial.controls} >= {shortest, longest}


def test_every_trial_comes_once_and_seeds_stay_together() -> None:
    plan = plan_of()
    ordered = coarse_first(plan.trials)
    assert Counter(t.id for t in ordered) == Counter(t.id for t in plan.trials)
    kinds = [(t.control, t.source_sha256, t.prompt, t.scale) for t in ordered]
    changes = 1 + sum(a != b for a, b in pairwise(kinds))
    assert changes == len(set(kinds))


def test_pairs_and_nothing_are_put_in_order_too() -> None:
    plan = plan_of(
        controls=[
            "hed",
            {"pair": ["canny", "depth"], "scales": {"canny": [0, 1], "depth": [0, 0.5, 1]}},
        ]
    )
    assert len(coarse_first(plan.trials)) == len(plan.trials) > 500
    assert coarse_first([]) == []


def test_a_run_makes_the_coarse_grid_first(manager: TinyManager, tmp_path: Path) -> None:
    study = make_study(scales=[0, 0.5, 1], controls=["canny", "depth"], batch_size=2)
    made = in_order(run_study(study, tmp_path / "run", manager=manager))
    assert {trial.control for trial in made[:6]} == {None, "canny", "depth"}
    some = [trial.id for trial in made]
    asked = run_trials(study, tmp_path / "asked", sorted(some), manager=manager)
    assert [trial.id for trial in in_order(asked)] == some, "and so does one of chosen trials"


def in_order(run: RunFolder) -> list[Trial]:
    """The trials of a run as they were made."""
    trials = [record.trial for record in run.scan().records.values()]
    return sorted(trials, key=lambda trial: run.record_path(trial.id).stat().st_mtime_ns)
