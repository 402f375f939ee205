"""Protects: a download before a run tells its megabytes and time, and ends with a cancel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, serving, small_hub

from workbench.families import NetworkRef
from workbench.families.hub import Download, Hub
from workbench.families.locate import locate
from workbench.generation import CancelToken
from workbench.sweep.progress import Progress, ProgressMeter
from workbench.sweep.runner import download

SIZE = 12_000_000
REFS = [NetworkRef(loader=loader, repo="a/b") for loader in ("hed", "mlsd")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {ref.files[0]: bytes([i]) * SIZE for i, ref in enumerate(REFS)}
    with serving(small_hub({"a/b": files}, "c" * 40), tmp_path, monkeypatch) as server:
        yield server


def planned() -> list[Download]:
    asker = Hub()
    return [asker.plan(ref, "") for ref in REFS]


@pytest.mark.usefixtures("hub")
def test_megabytes_and_the_time_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.sweep.progress.MIN_INTERVAL", 0.0)
    told: list[Progress] = []
    assert download(planned(), None, ProgressMeter(5, told.append), CancelToken())
    assert {(one.unit, one.phase, one.total) for one in told} == {("MB", "downloading", 24)}
    done = [one.done for one in told]
    assert done == sorted(done) and done[-1] == 24 and len(set(done)) > 2
    assert told[-1].seconds_left == 0 and (told[0].seconds_left or 0) > 0
    assert all(locate(ref).folder is not None for ref in REFS)


def test_the_time_left_is_not_told_from_the_first_small_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take as long as a question: a download of minutes began with days left."""
    monkeypatch.setattr("workbench.sweep.progress.MIN_INTERVAL", 0.0)
    told: list[Progress] = []
    watch = ProgressMeter(5, told.append).download(5_000_000_000)
    watch("unet/config.json", 700)
    watch("unet/model.safetensors", 100_000_000)
    assert told[0].seconds_left is None and told[1].seconds_left is not None


def test_a_cancel_ends_it_and_keeps_whole_files(hub: FakeHub) -> None:
    cancel = CancelToken()
    assert download(planned()[:1], None, ProgressMeter(5, None), cancel)
    cancel.cancel()
    hub.asked = []
    assert not download(planned(), None, ProgressMeter(5, None), cancel)
    assert [locate(ref).folder is not None for ref in REFS] == [True, False]
    assert hub.asked == ["a/b/mlsd_large_512_fp32.pth"], "the first file was there already"
