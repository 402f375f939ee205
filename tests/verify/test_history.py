"""Protects the cause that is named where figures differ: it is that of the start they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_run import TinyManager, make_study

from workbench.store import Manifest, Record, RunFolder
from workbench.store import manifest as manifests
from workbench.sweep import run_study
from workbench.verify import Verification
from workbench.verify.conditions import Causes, History

Verify = Callable[..., Verification]
NOW = {"versions": {"torch": "3", "numpy": "1"}, "device": "cpu"}


@pytest.fixture
def grown(manager: TinyManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run begun with one seed and another torch, and continued here with a second seed."""
    versions = manifests.package_versions()
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "package_versions", lambda: {**versions, "torch": "0.1"})
        run_study(make_study(seeds=[1]), tmp_path / "run", manager=manager)
    return run_study(make_study(), tmp_path / "run", manager=manager)


def spoil(run: RunFolder, seed: int) -> str:
    """Edit a reading of one picture of that seed; returns the name of the trial."""
    record = next(record for record in run.records() if record.trial.seed == seed)
    path = run.trial_folder(record.trial.id) / "record.json"
    raw = json.loads(path.read_text())
    raw["rows"][0]["value"] += 0.3
    path.write_text(json.dumps(raw))
    return f"trial {record.trial.id}"


def test_a_record_names_the_start_that_made_it(grown: RunFolder) -> None:
    manifest = grown.read_manifest()
    assert manifest is not None and manifest.earlier is not None
    (earlier,) = manifest.earlier
    starts = {record.trial.seed: record.made_by["start"] for record in grown.records()}
    assert starts == {1: earlier.start_id, 2: manifest.start_id}
    assert earlier.start_id != manifest.start_id


def test_the_cause_is_that_of_the_start_at_hand(grown: RunFolder, verify: Verify) -> None:
    old, new = spoil(grown, 1), spoil(grown, 2)
    result = verify(grown)
    group = result.group("readings")
    assert group is not None
    told = {item.name: item.detail for item in group.items if item.outcome == "different"}
    assert "torch was 0.1 at an earlier start and is " in told[old]
    assert "torch" not in told[new] and "the record was edited" in told[new]
    assert result.conditions["torch"][0] == "0.1 at an earlier start"


def test_readings_may_be_younger_than_their_picture() -> None:
    def start(torch: str, numpy: str, **more: object) -> dict[str, object]:
        return {"versions": {"torch": torch, "numpy": numpy}, "device": "cpu", **more}

    oldest, middle = start("1", "1"), start("2", "0")
    history = History(start("3", "1", earlier=[middle, oldest]), NOW)

    def record(manifest: dict[str, object]) -> Record:
        start = Manifest.model_validate(manifest).start_id
        return Record.model_construct(made_by={"start": start})

    assert history.when_made(record(oldest)) == {"torch": ("1", "3")}
    assert history.when_made(record(middle)) == {"torch": ("2", "3"), "numpy": ("0", "1")}
    assert history.since_made(record(start("3", "1"))) == {}
    late = {"torch": ("2 at an earlier start", "3"), "numpy": ("0 at an earlier start", "1")}
    assert history.since_made(record(middle)) == late
    assert history.since_made(record(oldest)) == late
    unknown = Record.model_construct(made_by={})
    assert history.when_made(unknown) == history.all == late


def test_another_card_driver_or_kernel_is_the_cause_that_is_named() -> None:
    card = {"card": "A100", "driver": "535.1", "processor": "x"}
    made = {"device": "cuda:0", "hardware": card}
    now = {"device": "cuda:0", "hardware": {"card": "L4", "driver": "570.2", "processor": "y"}}
    kernels = {"runtime": {"attention_kernels": {"UNet 40": "flash", "UNet 80": "flash"}}}
    again = {"runtime": {"attention_kernels": {"UNet 40": "math", "UNet 80": "math"}}}
    record = Record.model_construct(made_by={"card": "A100", **kernels})
    causes = Causes(History(made, now), (), {"card": "L4"})
    why = causes.of_picture(record, "the picture was replaced", again)
    assert "card was A100 and is L4" in why and "driver was 535.1 and is 570.2" in why
    assert "attention kernels was flash and is math" in why and "replaced" not in why
    same = Causes(History(made, {**made, "hardware": {**card, "processor": "y"}}), (), {})
    weak = same.of_picture(record, "the picture was replaced", kernels)
    assert weak == "the picture was replaced; or processor was x and is y"
