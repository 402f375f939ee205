"""Protects what a report says of its verification, and the words and exit status of the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_command
from tiny_run import TinyManager

from workbench.report import render_report
from workbench.store import RunFolder
from workbench.verify import Group, Item, Verification, read_state, state_sentence, write_state
from workbench.verify.conditions import changes, explanation
from workbench.verify.result import as_text
from workbench.verify.stored import run_digest

THEN = {
    "device": "cuda",
    "dtype": "float32",
    "versions": {"torch": "2.6", "pandas": "2.3"},
    "deterministic": {"threads": 4},
    "git": {"commit": "a" * 40, "dirty": False},
}


@pytest.fixture(autouse=True)
def _tiny_models(monkeypatch: pytest.MonkeyPatch, manager: TinyManager) -> None:
    monkeypatch.setattr("workbench.sweep.steps.load_manager", lambda *_, **__: manager)
    monkeypatch.setattr("workbench.verify.run.get_family", lambda name: manager.family)
    monkeypatch.setenv("WORKBENCH_MODELS", str(manager.models_dir))


def result(run: RunFolder, *groups: Group) -> Verification:
    when = "2026-03-01T12:00:00+00:00"
    return Verification(str(run.path), when, run_digest(run), groups)


def items(*outcomes: str) -> tuple[Item, ...]:
    return tuple(Item(f"trial {i}", o, detail=f"why {i}") for i, o in enumerate(outcomes))


def test_the_command_verifies_and_the_report_says_so(run: RunFolder) -> None:
    wanted = "Not verified: run “workbench verify” with the path of this run folder (run)."
    assert wanted in render_report(run)
    done = run_command("verify", run.path, "--trials", 2, "--seed", 5)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith("verified: everything is identical")
    assert "12 of 12 identical" in done.out and "(chosen by seed 5)" in done.out
    state = read_state(run)
    assert state is not None and state["result"] == "identical"
    assert state["now"]["versions"]["torch"] and state["tolerances"]["pixel"] == 2
    page = render_report(run)
    assert "12 of 12 pictures re-measured identical" in page
    assert "2 of 2 trials regenerated identical" in page

    path = run.trial_folder(run.trial_ids()[0]) / "record.json"
    path.write_text(path.read_text().replace("clip_used", "clip_usec", 1))
    assert "but the run has changed since" in render_report(run)


def test_json_gives_every_item_and_the_status_tells(run: RunFolder) -> None:
    run.sample_path(run.trial_ids()[0]).write_bytes(b"")
    done = run_command("verify", run.path, "--trials", 0, "--json")
    assert done.code == 1
    values = json.loads(done.out)
    assert values["result"] == "different" and values["exit_code"] == 1
    pictures = next(group for group in values["groups"] if group["name"] == "pictures")
    assert len(pictures["items"]) == 12 and pictures["different"] == 1
    assert "1 differences" not in state_sentence(run, run_digest(run))
    assert "found 1 difference:" in state_sentence(run, run_digest(run))


def test_a_folder_that_is_no_run_cannot_be_verified(tmp_path: Path) -> None:
    done = run_command("verify", tmp_path)
    assert done.code == 2 and "is not a run folder" in done.err


def test_a_folder_that_cannot_be_written_is_verified_all_the_same(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.verify.result.write_atomic", full)
    done = run_command("verify", run.path, "--trials", 0)
    assert done.code == 0 and "was not kept" in done.err and "No space left" in done.err


@pytest.mark.parametrize(
    ("outcomes", "words", "code"),
    [
        (("identical", "identical"), "2 of 2 pictures re-measured identical", 0),
        (("identical", "within tolerance"), "1 identical, 1 within tolerance", 0),
        (("identical", "different"), "found 1 difference:", 1),
        (("different", "different", "not checked"), "found 2 differences:", 1),
        (("identical", "not checked"), "in part", 2),
    ],
)
def test_the_sentence_of_a_report(
    run: RunFolder, outcomes: tuple[str, ...], words: str, code: int
) -> None:
    found = result(run, Group("readings", "pictures measured again", items(*outcomes)))
    write_state(run, found)
    assert words in state_sentence(run, run_digest(run))
    assert found.exit_code == code


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9}', '{"schema": 1}', "{"])
def test_a_damaged_state_counts_as_none(run: RunFolder, text: str) -> None:
    (run.path / "verification.json").write_text(text)
    assert state_sentence(run, run_digest(run)).startswith("Not verified")


def test_the_text_lists_few_items_and_counts_the_rest(run: RunFolder) -> None:
    many = Group("pictures", "pictures and records", items(*["different"] * 30))
    text = as_text(result(run, many))
    assert "NOT verified" in text.splitlines()[0]
    assert "trial 7: why 7" in text and "trial 8:" not in text and "and 22 more" in text
    alike = tuple(Item(f"trial {i}", "different", detail="damaged") for i in range(30))
    text = as_text(result(run, Group("pictures", "pictures and records", alike)))
    assert "trial 0, trial 1, trial 2 and 27 more: damaged" in text
    write_state(run, result(run, many))
    assert len(read_state(run)["groups"][0]["items"]) == 20  # type: ignore[index]


def test_only_what_bears_on_pixels_is_given_as_the_cause() -> None:
    now = {
        **THEN,
        "device": "cpu",
        "versions": {"torch": "2.13", "pandas": "3.0"},
        "git": {"commit": "b" * 40, "dirty": True},
    }
    found = changes(THEN, now)
    assert set(found) == {"device", "torch", "pandas", "source code"}
    assert explanation(found) == "device was cuda and is cpu; torch was 2.6 and is 2.13"
    weak = {name: found[name] for name in ("source code", "pandas")}
    assert explanation(weak, otherwise="it was edited") == (
        "it was edited; or source code was aaaaaaaaaa and is bbbbbbbbbb with changes"
    )
    assert explanation({}, ("unet",)) == "the weights have changed (unet)"
    assert changes(THEN, THEN) == {} and explanation({}) == ""


@pytest.mark.parametrize("name", ["study.yaml", "manifest.json", "measurements.parquet"])
def test_the_digest_covers_every_file_of_the_report(
    run: RunFolder, name: str, verify: Callable[..., Verification]
) -> None:
    before = run_digest(run)
    (run.path / "references.json").unlink()
    assert run_digest(run) == before
    with (run.path / name).open("ab") as file:
        file.write(b"\n")
    assert run_digest(run) != before
