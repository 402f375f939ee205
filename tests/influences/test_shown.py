"""Protects what the explorer says of who is driving: it is what `Influence` says, cell by cell.

And files of before there were pictures so far, and runs at which nobody looked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from written_run import write_run
from written_ways import KEPT, STEPS, write_ways

import workbench as wb
from workbench.explorer import ViewChoice
from workbench.influences import Influence, Ways, open_influence
from workbench.influences.stored import read_observations
from workbench.store import RunFolder

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")


@pytest.fixture(scope="module")
def run(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Depth at two scales, three of whose pictures were not looked at."""
    frame = demo_frame[(demo_frame["length"] == 7) & (demo_frame["control"] == "depth")]
    return write_run(tmp_path_factory.mktemp("runs") / "driven", frame, TAGS)


@pytest.fixture(scope="module")
def seen(run: RunFolder) -> list[str]:
    """The trials that were looked at."""
    whole = write_ways(run)
    for trial in whole[-3:]:
        (run.path / "influence" / f"{trial}.safetensors").unlink()
    return whole[:-3]


def test_the_explorer_says_what_was_seen(run: RunFolder, seen: list[str]) -> None:
    view, found = wb.open_run(run.path).view(), open_influence(run.path)
    driving, trials = view.shown.data["driving"], view.shown.trials
    assert {trials[cell] for cell in map(int, driving["cells"])} == set(seen)
    means = found.curves()
    for cell, one in driving["cells"].items():
        group, place = driving["groups"][one["group"]], view.shown.place(int(cell))
        scale = means[means["scale"] == place["scale"]]
        for name, rows in group["figures"].items():
            mine = scale[scale["metric"] == name].sort_values("step")
            np.testing.assert_allclose(
                np.array(rows), mine[["mean", "low", "high"]].to_numpy(), rtol=1e-3, atol=1e-3
            )
        assert f"scale {place['scale']:g}" in group["said"]
        assert group["said"] in found.statement().splitlines()
        rows = found.driving()
        ahead = rows[rows["scale"] == place["scale"]].sort_values("step")["driver"].tolist()
        assert group["ahead"]["guided"] == ahead and len(ahead) == STEPS
        assert [step for step, *_ in one["steps"]] == list(KEPT)
        numbers = [number for _, *both in one["steps"] for number in both]
        assert [view.shown.pictures[n][1] for n in numbers] == [trials[int(cell)]] * len(numbers)
    json.dumps(driving, allow_nan=False)


def test_maps_keep_their_numbers_and_one_scale(run: RunFolder, seen: list[str]) -> None:
    ways, found = Ways(open_influence(run.path)), open_influence(run.path)
    most = max(
        float(grid.max())
        for step in KEPT
        for grid in found.maps(seen[0], step, latent=True).values()
    )
    for step in KEPT:
        shown = ways.pull(seen[0], step)
        assert shown is not None
        maps = found.maps(seen[0], step, latent=True)
        for layer, name in enumerate(("text", "control", "interaction")):
            np.testing.assert_allclose(shown[..., layer], 255 * maps[name] / most, atol=0.51)
    pictures = wb.open_run(run.path).view().pictures
    ((_, file),) = pictures.files([("pull", seen[0], "4")])
    from workbench.images import decode_image

    np.testing.assert_array_equal(decode_image(file), ways.pull(seen[0], 4))
    so_far = ways.so_far(seen[0], 4)
    assert so_far is not None and abs(int(so_far.mean()) - 160) < 4
    assert ways.pull(seen[0], 2) is None and ways.so_far("nobody", 1) is None


def test_what_was_seen_is_read_again_only_where_it_changed(
    demo_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = demo_frame[(demo_frame["length"] == 7) & (demo_frame["control"] == "depth")]
    folder = write_run(tmp_path / "run", frame[frame["seed"] == 1], TAGS)
    opened, reads = wb.open_run(folder.path), list[int]()

    def counted(run: RunFolder) -> Any:
        reads.append(1)
        return read_observations(run)

    monkeypatch.setattr("workbench.influences.view.read_observations", counted)

    def seen() -> int:
        return len(opened.refresh().view().shown.data.get("driving", {"cells": ()})["cells"])

    assert seen() == 0
    write_ways(folder, most=1)
    assert [seen(), seen(), len(reads)] == [1, 1, 1]
    write_ways(folder, most=2)
    assert [seen(), seen(), len(reads)] == [2, 2, 2]


def test_what_nobody_looked_at_has_no_tab(demo_frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = demo_frame[(demo_frame["length"] == 7) & (demo_frame["control"] == "depth")]
    folder = write_run(tmp_path / "run", frame[frame["seed"] == 1], TAGS)
    assert "driving" not in wb.open_run(folder.path).view().shown.data
    write_ways(folder, so_far=False, most=2)  # as an earlier version kept it
    data = wb.open_run(folder.path).view().shown.data
    steps = [step for one in data["driving"]["cells"].values() for step in one["steps"]]
    assert len(steps) == 2 * len(KEPT) and {number for *_, number in steps} == {-1}
    assert (
        Influence(folder.path).so_far(next(iter(open_influence(folder.path).trials["trial"]))) == {}
    )


def test_a_page_of_many_says_whose_maps_it_leaves_out(
    run: RunFolder, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.explorer.view.MAX_WAYS", 5)
    shown = wb.open_run(run.path).view().shown
    cells = shown.data["driving"]["cells"].values()
    assert len(cells) == len(seen) and sum(bool(one["steps"]) for one in cells) == 5
    assert f"of 5 of the {len(seen)} pictures" in shown.data["notes"][-1]
    notebook = wb.open_run(run.path).view(ViewChoice(at_once=False)).shown.data
    assert all(one["steps"] for one in notebook["driving"]["cells"].values())
