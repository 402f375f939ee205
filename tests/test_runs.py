"""The face: a study in three lines, a run that can be read in every way and is never changed.

Protects the interface that notebooks, the app and the command line stand on, and the folder of a
run from its readers.
"""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from tiny_models import write_tiny_family
from tiny_run import make_manager, make_study

import workbench as wb
from workbench.families import LocateError
from workbench.images import read_image
from workbench.judging import NOT_VALIDATED, WEAKER
from workbench.live import Stopped
from workbench.sweep import ExecutorError

HOSTILE = '=A("<b>x</b>")'


def files(folder: Path) -> dict[str, str]:
    """Every file of a run folder with its hash; locks are empty and belong to nobody."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "models"
    write_tiny_family(folder)
    return folder


@pytest.fixture(scope="module")
def made(models: Path, tmp_path_factory: pytest.TempPathFactory) -> wb.Run:
    study = make_study(prompt=[HOSTILE, "snow"], steps=1, controls=["canny", "depth"])
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = wb.run(study, folder, manager=make_manager(models))
    rng = np.random.default_rng(1)
    # Models with random weights reach no ceiling, so that no adherence is defined: say some.
    for trial, record in run.records.items():
        values = rng.uniform(0.2, 0.8, len(record.rows))
        said = {"chance": 0.0, "ceiling": 1.0, "reason": ""}
        rows = [
            {**row, **said, "value": value, "adherence": value}
            for row, value in zip(record.rows, values, strict=True)
        ]
        run.folder.add_rows(trial, rows)
    (folder / "measurements.parquet").unlink()
    return run


@pytest.fixture
def run(made: wb.Run) -> wb.Run:
    return wb.open_run(made.path)


def test_words_say_who_judged_them_and_how(run: wb.Run) -> None:
    """Of the two words only "snow" has alternatives, and nobody has validated the CLIP."""
    table = run.tags()
    told = dict(zip(table["tag"], table["judge"], strict=True))
    assert told == {HOSTILE: f"{WEAKER}; {NOT_VALIDATED}", "snow": NOT_VALIDATED}
    assert NOT_VALIDATED in run.word_judge and f"“{HOSTILE}”" in run.word_judge
    assert "alone against its alternatives" in run.word_judge
    kept = run.folder.read_json("manifest.json")["words"]
    assert kept["validated"] == "" and len(kept["weights"]) == 16


def test_the_face_is_listed_and_complete() -> None:
    assert {"Run", "Study", "Workbench", "compare", "extract", "open_run", "run"} <= set(dir(wb))
    for name in wb.__all__:
        assert getattr(wb, name) is not None
    assert not {"Any", "import_module", "_HOMES"} & set(dir(wb))
    assert callable(wb.run), "not the module in which it lives"
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = wb.runn  # type: ignore[attr-defined]


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, workbench as wb\nassert 'Workbench' in dir(wb)\n"
        "print([n for n in ('torch', 'pandas', 'numpy', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_reading_a_run_in_every_way_changes_no_byte_of_it(run: wb.Run) -> None:
    before = files(run.path)
    assert run.study.name == "tiny"
    assert set(run.trials["trial"]) == set(run.pictures) == set(run.records)
    assert set(run.table["trial"]) == set(run.records)
    assert list(run.tradeoff()["control"].unique()) == ["canny", "depth"]
    for view in (run.sweet_spots, run.ranking, run.metrics, run.tags, run.findings):
        view()
    for trial in list(run.pictures)[:2]:
        picture = run.picture(trial)
        assert picture.dtype == np.uint8 and np.array_equal(picture, run.pictures[trial])
    assert repr(run).count("\n") == 0 and f"{len(run.pictures)} pictures" in repr(run)
    assert "<img " in run._repr_html_()
    assert files(run.path) == before


def test_views_are_computed_once_and_cannot_be_spoilt(
    run: wb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.tradeoff()
    monkeypatch.setattr(wb.analysis, "tradeoff", lambda _: pytest.fail("computed twice"))
    first["control"] = "spoilt"
    assert "spoilt" not in set(run.tradeoff()["control"])
    table = run.table
    table.loc[:, "value"] = 0.0
    assert (run.table["value"] != 0).any()


def test_a_map_is_that_of_the_trials_control(run: wb.Run) -> None:
    trials = run.trials
    steered = trials[trials["control"] == "depth"].iloc[0]["trial"]
    assert np.array_equal(run.map(steered), run.map(steered, "depth"))
    merged = trials[trials["control"].isna()].iloc[0]["trial"]  # scale 0: both control types
    assert not np.array_equal(run.map(merged, "canny"), run.map(merged, "depth"))
    with pytest.raises(wb.runs.StoreError, match="no control map pose"):
        run.map(steered, "pose")


@pytest.mark.parametrize("kind", ["tradeoff", "ranking", "effects", "curves", "metrics",
    "diversity", "adherence", "tags", "tipping", "pictures", "pairs"])  # fmt: skip
def test_every_kind_of_figure_is_drawn(run: wb.Run, kind: str) -> None:
    figure = run.plot(kind, theme=wb.plots.DARK)
    data, shown = figure._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG") and shown["image/png"]["alt"]


def test_a_figure_of_one_control_type_is_of_that_one(run: wb.Run) -> None:
    assert [a.get_title("left") for a in run.plot("tradeoff", "depth").axes] == ["Depth"]
    assert run.plot("tags", "depth").axes[0].get_title("left") == "Depth"


def test_wrong_kinds_and_controls_are_told_what_there_is(run: wb.Run) -> None:
    with pytest.raises(ValueError, match="no figure 'trade-off'; there are: tradeoff, ranking"):
        run.plot("trade-off")
    with pytest.raises(ValueError, match="no control 'pose' to draw; there are: canny, depth"):
        run.plot("tags", "pose")


def test_the_notebooks_view_escapes_every_text(run: wb.Run, tmp_path: Path) -> None:
    target = tmp_path / "<b>bold<b>"
    target.symlink_to(run.path)
    html = wb.open_run(target)._repr_html_()
    assert "<b>bold" not in html and "&lt;b&gt;bold" in html


def test_of_many_control_types_some_are_shown_and_the_others_named(
    run: wb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = run.labels.values()
    shown = run._repr_html_()
    assert f"for {first}, {second}." in shown and "control types." not in shown
    monkeypatch.setattr(wb.runs, "MOST_PANELS", 1)
    shown = run._repr_html_()
    assert f"for {first}." in shown and "The curves of 1 of 2 control types." in shown
    assert f"control={list(run.labels)[1]!r}".replace("'", "&#x27;") in shown


def test_tables_are_exported_and_formulas_are_text(run: wb.Run, tmp_path: Path) -> None:
    parquet = pd.read_parquet(run.to_parquet(tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(parquet, run.table, check_dtype=False)
    lines = list(csv.reader(run.to_csv(tmp_path / "t.csv").open(encoding="utf-8", newline="")))
    assert lines[0] == list(run.table.columns) and len(lines) == len(run.table) + 1
    cells = [cell for line in lines for cell in line]
    assert any(cell.startswith("'=") for cell in cells)
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_an_imagefolder_holds_each_cell_with_its_picture(run: wb.Run, tmp_path: Path) -> None:
    """The layout of `datasets`: pictures, and metadata.jsonl whose file_name names them."""
    folder = run.to_imagefolder(tmp_path / "set")
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").open(encoding="utf-8")]
    assert {line["file_name"] for line in lines} == {p.name for p in folder.glob("*.png")}
    assert len(lines) == run.table["cell"].nunique()
    line = lines[-1]
    assert np.array_equal(read_image(folder / line["file_name"]), run.picture(line["trial"]))
    values = run.table.query(f"cell == '{line['file_name'][:-4]}'").set_index("metric")["value"]
    assert line["clip_used"] == values["clip_used"]
    with pytest.raises(wb.runs.StoreError, match="new or empty"):
        run.to_imagefolder(folder)


def test_a_copy_of_a_run_is_the_same_folder(run: wb.Run) -> None:
    """As `multiprocessing` and joblib send it to another process; what was read stays behind."""
    assert len(run.table)
    for again in (copy.deepcopy(run), pickle.loads(pickle.dumps(run))):
        assert repr(again) == repr(run) and again is not run


def test_what_is_no_study_and_no_theme_is_told_so(run: wb.Run) -> None:
    with pytest.raises(TypeError, match="path of its file, not dict"):
        wb.run({"name": "tiny"})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"LIGHT or plots\.DARK, not 'dark'"):
        run.plot(theme="dark")  # type: ignore[arg-type]


def test_a_run_does_not_differ_from_itself(run: wb.Run) -> None:
    found = run.diff(run.path)
    assert not found.settings and not found.only_a and not found.pictures
    assert "Result: identical" in repr(found) and "readings=" not in repr(found)
    assert len(found.cells) == run.table["cell"].nunique()


def test_the_report_lands_where_it_is_told(run: wb.Run, tmp_path: Path) -> None:
    path = run.report(tmp_path / "r.html")
    assert "<html" in path.read_text("utf-8")[:300]


def test_a_run_that_grows_is_read_anew_on_refresh(models: Path, tmp_path: Path) -> None:
    manager = make_manager(models)
    run = wb.run(make_study(seeds=[1], steps=1), tmp_path / "r", manager=manager)
    count = len(run.pictures)
    wb.run(make_study(seeds=[1, 2], steps=1), tmp_path / "r", manager=manager)
    assert len(run.pictures) == count
    assert len(run.refresh().pictures) > count


def test_a_study_file_runs_in_a_folder_of_its_name(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    study = make_study(sources=["paperdoll:900001"], seeds=[1], steps=1)
    (tmp_path / "s.yaml").write_text(study.to_yaml())
    run = wb.run("s.yaml", manager=make_manager(models))
    assert run.path == Path("runs/tiny")
    assert "tiny: generating" in capfd.readouterr().err


def test_models_and_device_are_named_like_the_apps(models: Path, tmp_path: Path) -> None:
    study = make_study(steps=1)
    (tmp_path / "paperdoll").mkdir()
    with pytest.raises(ExecutorError, match='no device "tpu"'):
        wb.run(study, tmp_path / "r", device="tpu")
    with pytest.raises(TypeError, match="manager"):
        wb.run(study, tmp_path / "r", device="cpu", manager=make_manager(models))
    assert not (tmp_path / "r").exists()
    with pytest.raises(LocateError, match=re.escape(str(tmp_path))):
        wb.run(study, tmp_path / "r", models=tmp_path)


def test_ctrl_c_keeps_what_is_done_and_says_where(models: Path, tmp_path: Path) -> None:
    study, manager = make_study(steps=1, batch_size=1), make_manager(models)

    def interrupt() -> None:
        while len(list(tmp_path.glob("r/trials/*/record.json"))) < 2:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped, match=r"kept in .*r; the same"):
        wb.run(study, tmp_path / "r", manager=manager)
    thread.join()
    run = wb.open_run(tmp_path / "r")
    assert 2 <= len(run.pictures) < 12
    assert set(run.table["trial"]) <= set(run.pictures)
    assert len(wb.run(study, tmp_path / "r", manager=manager).pictures) == 12


def test_a_notebook_shows_the_bar_the_run_and_its_plot(models: Path, tmp_path: Path) -> None:
    """In a real kernel: one bar that changes in place, a table with the plot, a figure."""
    helpers = Path(__file__).parent / "helpers"
    start = f"""
        import sys; sys.path.insert(0, {str(helpers)!r})
        from pathlib import Path
        from tiny_run import make_manager, make_study
        import workbench as wb
        run = wb.run(make_study(steps=1), {str(tmp_path / "r")!r},
                     manager=make_manager(Path({str(models)!r})))
    """
    lines = "\n".join(line.strip() for line in start.splitlines())
    cells = [nbformat.v4.new_code_cell(text) for text in (lines, "run", 'run.plot("tradeoff")')]
    NotebookClient(
        nbformat.v4.new_notebook(cells=cells), timeout=300, kernel_name="python3"
    ).execute()
    bars = [o for o in cells[0].outputs if o["output_type"] == "display_data"]
    assert len(bars) == 1 and "tiny: done, 12 of 12" in bars[0]["data"]["text/plain"]
    (shown,), (plot,) = cells[1].outputs, cells[2].outputs
    assert "<table>" in shown["data"]["text/html"] and "image/png" in plot["data"]


def test_networks_are_lent_to_pictures_without_a_study(models: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = 200
    found = wb.extract(image, "canny", low=50)
    assert found.picture.shape == (64, 64, 3) and found.picture.any()
    readings = wb.compare(image, image, "canny")
    assert readings["canny_f1"].value == 1.0
