"""`workbench run` and the other commands, with the rooms below replaced where they would be slow.

Protects: options reach the sweep, Ctrl-C cancels politely and keeps what is done, mistakes end
with a clear message and exit code 2, faults keep their traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from command_line import run_command
from PIL import Image
from run_folders import begin_run

STUDY = """
name: small
sources: ["paperdoll:900001"]
controls: [canny]
prompt: a girl, long hair
lengths: [1, 2]
scales: [0, 1]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(STUDY)
    return path


class FakeSweep:
    """Takes the place of `run_study`: reports progress and can be told what to do midway."""

    def __init__(self, folder: Path, midway: Any = None, fails: Exception | None = None) -> None:
        self.folder, self.midway, self.fails = folder, midway, fails
        self.given: dict[str, Any] = {}
        self.steps = 0

    def __call__(self, study: Any, folder: Path, **options: Any) -> Any:
        from workbench.sweep import Progress

        self.given = {"study": study, "folder": folder, **options}
        for done in range(5):
            if options["cancel"].cancelled:
                break
            options["progress"](Progress(done, 5, None if done == 0 else 5.0 - done, "generating"))
            self.steps += 1
            if done == 2 and self.midway:
                self.midway()
                time.sleep(0.05)
        if self.fails:
            raise self.fails
        return begin_run(folder, study)


def replace_sweep(monkeypatch: pytest.MonkeyPatch, sweep: FakeSweep) -> FakeSweep:
    import workbench.sweep

    monkeypatch.setattr(workbench.sweep, "run_study", sweep)
    return sweep


def test_run_passes_its_options_on(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    done = run_command("run", study, "--out", tmp_path / "r", "--batch-size", 4)
    assert done.code == 0 and str(tmp_path / "r") in done.out
    assert sweep.given["study"].name == "small" and sweep.given["batch_size"] == 4
    assert "generating" in done.err


def test_run_passes_the_executor_on(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.sweep import ExecutorChoice

    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    assert run_command("run", study, "-o", tmp_path / "r").code == 0
    assert sweep.given["executor"] == ExecutorChoice()
    options = ("--executor", "processes", "--device", "cpu", "--workers", 1)
    assert run_command("run", study, "-o", tmp_path / "r", *options).code == 0
    assert sweep.given["executor"] == ExecutorChoice("processes", "cpu", 1)


def test_all_that_is_wrong_with_an_executor_is_said_before_the_bar(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    done = run_command("run", study, "--device", "gpu", "--scheduler", "tcp://x:1")
    assert done.code == 2 and sweep.given == {} and done.out == ""
    assert '"gpu"' in done.err and "needs the executor dask" in done.err
    assert "Traceback" not in done.err and "loading" not in done.err


def test_the_run_folder_is_named_after_the_study(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    assert run_command("run", study).code == 0
    assert sweep.given["folder"] == Path("runs/small")


def test_a_study_of_the_package_is_listed_and_run_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = run_command("studies").out.splitlines()
    (line,) = [line for line in listed if line.startswith("demo ")]
    assert "founding question" in line and "studies" in listed[-1]
    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    assert run_command("run", "demo").code == 0
    assert sweep.given["study"].name == "demo" and sweep.given["folder"] == Path("runs/demo")
    missed = run_command("run", "demmo", "--dry-run")
    assert missed.code == 2 and 'did you mean "demo"' in missed.err


def test_the_module_is_the_command_and_completes_for_a_shell() -> None:
    command = [sys.executable, "-m", "workbench"]
    asked = {
        "_WORKBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "workbench st",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == ["studies", "study"], done.stderr


def test_ctrl_c_cancels_and_says_what_is_kept(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupt = FakeSweep(tmp_path, midway=lambda: os.kill(os.getpid(), signal.SIGINT))
    sweep = replace_sweep(monkeypatch, interrupt)
    done = run_command("run", study, "-o", tmp_path / "r")
    assert done.code == 130 and sweep.steps == 3
    assert "kept" in done.out and "Traceback" not in done.err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    replace_sweep(monkeypatch, FakeSweep(tmp_path, midway=twice))
    begun = time.monotonic()
    done = run_command("run", study, "-o", tmp_path / "r")
    assert done.code == 130 and time.monotonic() - begun < 4
    assert "Traceback" not in done.err


def test_all_problems_of_a_study_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(STUDY.replace("scales: [0, 1]", "scales: [-1]\nsteeps: 3"))
    done = run_command("run", path)
    assert done.code == 2 and done.out == ""
    assert "scales" in done.err and "steeps" in done.err and "Traceback" not in done.err


def test_errors_of_the_package_are_sentences(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.store import StoreError

    replace_sweep(monkeypatch, FakeSweep(tmp_path, fails=StoreError("the disk is <full>")))
    done = run_command("run", study, "-o", tmp_path / "r")
    assert done.code == 2 and done.err.endswith("Error: the disk is <full>\n")


def test_faults_of_the_program_keep_their_traceback(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_sweep(monkeypatch, FakeSweep(tmp_path, fails=ZeroDivisionError("a fault")))
    with pytest.raises(ZeroDivisionError):
        run_command("run", study, "-o", tmp_path / "r")


def test_a_file_that_cannot_be_written_is_named(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PermissionError(13, "Permission denied", "/somewhere/x.png")
    replace_sweep(monkeypatch, FakeSweep(tmp_path, fails=error))
    done = run_command("run", study, "-o", tmp_path / "r")
    assert done.code == 2 and "/somewhere/x.png: Permission denied" in done.err


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none" / "paperdoll").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "none"))
    done = run_command("run", study, "--dry-run", "-o", tmp_path / "r")
    assert done.code == 2, "a script must see that the study cannot run"
    figures = {
        " ".join(line.split()[:-1]): line.split()[-1]
        for line in done.out.splitlines()
        if line.startswith("  ")
    }
    assert figures["cells"] == "4" and figures["to generate"] == "4"
    assert figures["estimated time"] == "unknown"
    assert "cannot run yet" in done.out
    assert not (tmp_path / "r").exists()


def test_a_dry_run_refuses_the_folder_that_the_run_would_refuse(
    study: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("no run")
    for place, words in (
        (tmp_path / "other", "holds something else than a run"),
        ("/", "holds something else than a run"),
        (study / "deep", "is a file, not a folder"),
    ):
        refused = [run_command("run", study, *dry, "-o", place) for dry in (["--dry-run"], [])]
        assert [done.code for done in refused] == [2, 2]
        assert all(words in done.err for done in refused), (place, refused)


@pytest.mark.parametrize("arguments", [["report"], ["view", "--no-open"]])
def test_a_file_that_cannot_be_is_refused_before_the_work(
    arguments: list[str], study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import workbench
    from workbench.runs import Run

    folder = begin_run(tmp_path / "r", workbench.Study.from_yaml(study)).path
    (tmp_path / "folder.html").mkdir()
    monkeypatch.setattr(Run, "view", lambda *_: pytest.fail("work was done"))
    monkeypatch.setattr("workbench.report.writing.render_report", Run.view)
    done = run_command(*arguments, folder, "-o", tmp_path / "folder.html")
    assert done.code == 2 and "is a folder" in done.err
    done = run_command(*arguments, folder, "-o", tmp_path / "page.pdf")
    assert done.code == 2 and "what is written is HTML: name it" in done.err


def test_a_dry_run_is_that_of_the_run_that_follows(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same device, so that offloading can be estimated too."""
    from workbench.families import FamilyError
    from workbench.sweep import backends, estimate

    asked: list[str] = []

    def refuse(_study: Any, device: str, _family: Any) -> None:
        asked.append(device)
        raise FamilyError("the device cannot do it")

    monkeypatch.setattr(estimate, "load_manager", refuse)
    monkeypatch.setattr(backends, "device_problem", lambda _: "")
    monkeypatch.setattr("workbench.sweep.estimate.require_plan", lambda *_: ())
    for device in (["--device", "cuda:1"], []):
        done = run_command("run", study, "--dry-run", "-o", tmp_path / "r", *device)
        assert done.code == 2 and "cannot run yet: the device cannot do it" in done.out
    assert asked == ["cuda:1", "cpu"]


def interrupt(*_: Any, **__: Any) -> Any:
    """What Ctrl-C does where nobody waits for it."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "work"),
    [
        (["report", "r"], "workbench.open_run"),
        (["diff", "r", "r"], "workbench.verify.diff_runs"),
        (["doctor"], "workbench.cli.doctor.examine"),
        (["families"], "workbench.families.load_catalogue"),
        (["--version"], "importlib.metadata.version"),
    ],
)
def test_ctrl_c_says_that_it_stopped_whatever_the_command(
    arguments: list[str], work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import workbench.verify  # noqa: F401 - what is replaced must be there

    monkeypatch.setattr(work, interrupt)
    done = run_command(*arguments)
    assert done.code == 130 and done.err.strip() == "Stopped."


class Closed(io.StringIO):
    """A pipe whose reader has gone: `| head -1` has seen enough."""

    def write(self, _: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_goes_on_where_nobody_reads_what_it_says(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.live import progress_bar
    from workbench.sweep import Progress

    sweep = replace_sweep(monkeypatch, FakeSweep(tmp_path))
    with contextlib.redirect_stderr(Closed()), progress_bar("small") as show:
        for done in range(5):
            show(Progress(done, 5, None, "generating"))
    with mock.patch("typer.echo", side_effect=BrokenPipeError(32, "Broken pipe")):
        assert run_command("run", study, "-o", tmp_path / "r").code == 0
    assert sweep.steps == 5


def test_without_docstrings_it_says_what_it_needs() -> None:
    """The libraries below read their own docstrings while they are imported."""
    code = "import workbench as wb; wb.run('demo')"
    for command in (["-m", "workbench", "studies"], ["-c", code]):
        done = subprocess.run([sys.executable, "-OO", *command], capture_output=True, text=True)
        assert done.returncode and "drops the docstrings" in done.stderr.splitlines()[-1]


def test_a_folder_that_is_no_run_has_no_report(tmp_path: Path) -> None:
    done = run_command("report", tmp_path)
    assert done.code == 2 and "run folder" in done.err and "Traceback" not in done.err


def test_families_lists_what_the_catalogue_has() -> None:
    done = run_command("families")
    assert done.code == 0
    assert "paperdoll" in done.out and "depth" in done.out and "canny" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "paperdoll", "--stage", "nonsense"],
        ["train", "nobody", "--stage", "vae"],
        ["audit", "nobody"],
    ],
)
def test_unknown_families_and_stages_are_refused(arguments: list[str]) -> None:
    done = run_command(*arguments)
    assert done.code == 2 and "there" in done.err and "Traceback" not in done.err


def test_the_version_is_printed() -> None:
    from importlib.metadata import version

    assert run_command("--version").out.strip() == version("controlnet-workbench")


def test_a_report_of_an_older_run_looks_for_models_where_it_is_told(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its maps were not kept, so they are made again, with the models the run had."""
    import workbench.report
    from workbench.store import RunFolder
    from workbench.study import Study

    for name in ("WORKBENCH_MODELS", "WORKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
    seen: dict[str, str] = {}

    def written(run: RunFolder, path: Path, **_: Any) -> Path:
        seen.update(os.environ)
        return path

    monkeypatch.setattr(workbench.report, "write_report", written)
    begin_run(tmp_path / "r", Study.from_yaml(study))
    (tmp_path / "models").mkdir()
    done = run_command("report", tmp_path / "r", "--models", tmp_path / "models", "--offline")
    assert done.code == 0, done.err
    assert seen["WORKBENCH_MODELS"] == str((tmp_path / "models").resolve())
    assert seen["WORKBENCH_OFFLINE"] == seen["HF_HUB_OFFLINE"] == "1"


def test_pictures_that_failed_are_told_with_their_reasons_and_the_exit_status(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most frequent first, with advice where one is known."""
    from workbench.store import RunFolder
    from workbench.study import Study, make_plan

    black = "the picture is one solid colour (RGB 0, 0, 0)"
    reasons = ["ValueError: no such thing", black, black, ""]
    row = {"cell": "c", "metric": "canny_f1", "value": 0.5, "reason": ""}

    class Failing(FakeSweep):
        def __call__(self, study: Study, folder: Path, **options: Any) -> RunFolder:
            run = super().__call__(study, folder, **options)
            plan = make_plan(study, resolution=64)
            for trial, reason in zip(plan.trials, reasons, strict=True):
                picture = None if reason else np.zeros((64, 64, 3), np.uint8)
                made_by = {"dtype": "float16", "retry": reason.startswith("ValueError")}
                run.write_trial(trial, picture, made_by, [row], failed=reason)
            return run

    replace_sweep(monkeypatch, Failing(tmp_path))
    done = run_command("run", study, "--out", tmp_path / "r")
    assert done.code == 3 and "Done: the run is in" in done.out
    told = done.err[done.err.index("3 of 4 pictures failed") :].splitlines()
    assert told[1].startswith(f"  2 × {black}. Float16 overflows") and "bfloat16" in told[1]
    assert "sdxl-vae-fp16-fix" in told[1]
    assert told[2] == "  1 × ValueError: no such thing"
    assert told[3] == "The same command tries again."


def test_a_dry_run_says_what_its_author_may_not_expect(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none" / "paperdoll").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path / "none"))
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "wide.png")
    text = STUDY.replace('sources: ["paperdoll:900001"]', 'sources: ["paperdoll:900001", wide.png]')
    study.write_text(text + "steps: 5\ncontrol_start: 0.3\ncontrol_end: 0.35\n")
    done = run_command("run", study, "--dry-run", "-o", tmp_path / "r")
    assert "acts at no step: none of the 5 steps lies whole within" in done.out
    assert "1 of 2 sources are not square" in done.out and "25% of a picture" in done.out
    assert "(wide.png)" in done.out
