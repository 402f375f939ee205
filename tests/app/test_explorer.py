"""Protects the explorer in a notebook while its run grows: only what is new is read and sent."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from written_run import SIDE, write_run

import workbench as wb
from workbench.app import Explorer
from workbench.study.plan import make_plan

TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")


class Told(Explorer):
    """An explorer whose messages can be read."""

    def send(self, content: Any, buffers: Any = None) -> None:
        vars(self).setdefault("sent", []).append((content, buffers))


def test_a_run_that_grows_is_followed_picture_by_picture(
    demo_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = demo_frame[(demo_frame["length"] == 7) & (demo_frame["seed"] == 1)]
    whole = write_run(tmp_path / "whole", frame, TAGS)
    later = whole.trial_ids()[-2:]
    run = wb.open_run(shutil.copytree(whole.path, tmp_path / "run"))
    run.folder.table_path.unlink()
    for trial in later:
        shutil.rmtree(run.folder.trial_folder(trial))
    cells = make_plan(run.study, resolution=SIDE).cells
    explorer = Told(run, cells)
    before, read = explorer.data, []
    reading = type(run.folder).read_record
    monkeypatch.setattr(
        type(run.folder), "read_record", lambda at, one: (read.append(one), reading(at, one))[1]
    )
    assert explorer.grow() and vars(explorer).get("sent") is None and read == []
    explorer.pick(later[0])
    assert explorer.in_hand == ""
    shutil.copytree(whole.trial_folder(later[0]), run.folder.trial_folder(later[0]))
    assert explorer.grow() and read == [later[0]]
    ((message, _),) = vars(explorer)["sent"]
    assert message["kind"] == "grown" and len(message["cells"]) == 1
    assert explorer.in_hand == later[0] and explorer.data is before
    (one,) = message["cells"]
    # A page that is loaded anew gets the same from the data.
    assert explorer.data["cells"]["sample"][one["cell"]] == one["sample"]
    explorer._deliver(explorer._view, [one["sample"]], 2048)  # type: ignore[arg-type]
    message, (file,) = vars(explorer)["sent"][1]
    assert message == {"kind": "large", "numbers": [one["sample"]]}
    assert Image.open(io.BytesIO(file), formats=("WEBP",)).size == (SIDE, SIDE)
    assert explorer.grow() and len(read) == 1 and len(vars(explorer)["sent"]) == 2
    explorer.close()
