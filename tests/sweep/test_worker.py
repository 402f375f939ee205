"""Protects what one worker does by itself: it takes up what others found out, needs no settings of
its own, and says in one sentence what hinders it."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY_WORLD, TinyManager, make_manager, make_study

import workbench.sweep.worker as worker
from workbench.families import Family
from workbench.measuring.cache import ReferenceCache
from workbench.measuring.references import References
from workbench.store import RunFolder
from workbench.study import Study, make_plan
from workbench.sweep.messages import Done, Failed, Found, Job, Probe, Stored, Task, own_versions
from workbench.sweep.worker import WorkerSession, perform


def make_job(folder: Path, models: Path, study: Study, family: Family = TINY_WORLD) -> Job:
    run = RunFolder.prepare(folder)
    run.write_study(study)
    sources = make_plan(make_study(), resolution=family.resolution).sources
    run.write_sources(sources)
    return Job(
        folder=str(run.path),
        study=study.model_dump_json(),
        family=family.model_dump_json(),
        sources=json.dumps({k: e.model_dump() for k, e in run.keep_sources(sources).items()}),
        models_dir=str(models),
        offline=False,
        device="cpu",
        threads=None,
        stop_file=str(run.path / ".stop.tmp"),
        versions=own_versions(),
    )


@pytest.fixture
def job(models: Path, tmp_path: Path) -> Job:
    return make_job(tmp_path / "run", models, make_study())


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker._Here, "session", None)


def test_chance_and_ceiling_are_computed_by_one_worker_only(
    job: Job, manager: TinyManager, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (WorkerSession(job, name, make_manager(models)) for name in ("a", "b"))
    for session in (first, second):
        session.do(Task(job, "warm"))
        assert "measurer" not in vars(session.steps), "source maps are made when they are needed"
        session.steps.measurer.references.cache.get(["nothing is known yet"])
    first.do(Task(job, "refer"))

    def again(*_: Any) -> Any:
        raise AssertionError("computed a second time")

    for name in ("of_control", "_clip_source", "_means"):
        monkeypatch.setattr(References, name, again)
    trials = tuple(trial.id for trial in second.steps.plan.trials)
    assert second.do(Task(job, "make", trials[:4], size=4)) == Stored(
        trials=trials[:4], picture=trials[3]
    )


def test_a_full_disk_is_one_sentence(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ReferenceCache) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it: without a name

    monkeypatch.setattr(ReferenceCache, "save", full)
    outcome = perform(Task(job, "refer"))
    assert isinstance(outcome, Failed) and not outcome.fault
    assert outcome.error.startswith(f"{job.folder}/references.json cannot be written (No space")
    assert "free some space and start again" in outcome.error


def test_what_only_this_worker_lacks_is_told_apart(job: Job) -> None:
    """Others can do its work, so it must not end the run."""
    wrong = {
        "has torch": replace(job, versions=(("torch", "0.1"),)),
        "does not see the run folder": replace(job, probe=Probe(f"{job.folder}/.no.tmp", "x")),
        "cannot begin": replace(job, device="cuda:99"),
    }
    for said, other in wrong.items():
        outcome = perform(Task(other, "warm"))
        assert isinstance(outcome, Failed) and outcome.unfit and not outcome.fault
        assert said in outcome.error
    seen = Path(job.folder) / ".probe.tmp"
    seen.write_text("x")
    assert perform(Task(replace(job, probe=Probe(str(seen), "x")), "warm")) == Done()


def test_a_family_that_only_the_start_knows_is_known_to_workers(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other machines have neither the catalogue of the models folder nor the setting that names
    it."""
    monkeypatch.delenv("WORKBENCH_MODELS", raising=False)
    family = TINY_WORLD.model_copy(update={"name": "of-my-own"})
    study = make_study().model_copy(update={"family": "of-my-own"})
    job = make_job(tmp_path / "run", models, study, family)
    outcome = perform(Task(job, "find"))
    assert isinstance(outcome, Found) and outcome.work is not None
    assert len(outcome.work.trials) == 12
