"""What a person can do in the app, tested without a browser and without models.

Protects: callbacks return at once, only the newest choice reaches the screen, the study reports
progress and can be stopped, failures become sentences.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import PROMPT, FakeEngine

from workbench.app.session import Session
from workbench.app.worker import TaskState

PATIENCE = 20.0


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def session(engine: FakeEngine, tmp_path: Path) -> Iterator[Session]:
    session = Session(engine, runs=tmp_path)
    yield session
    engine.gate.set()
    session.close()


def test_starts_with_all_tags_of_the_prompt(session: Session) -> None:
    choice = session.state.now.choice
    assert (choice.source, choice.control) == ("paperdoll:1", "canny")
    assert choice.kept == choice.prompt == PROMPT


def test_a_choice_draws_its_picture(session: Session, engine: FakeEngine) -> None:
    session.choose(scale=0.5, kept=("long hair",))
    screen = session.wait(PATIENCE)
    assert screen.picture is not None and screen.picture.choice == screen.choice
    assert screen.picture.rows[0].value == pytest.approx(0.125)
    assert screen.picture_status.startswith("Drawn in")
    assert threading.get_ident() not in engine.threads


def test_the_same_choice_is_not_drawn_again(session: Session, engine: FakeEngine) -> None:
    session.choose(scale=0.5)
    session.wait(PATIENCE)
    session.choose(scale=0.5)
    session.wait(PATIENCE)
    assert len(engine.drawn) == 1


def test_kept_tags_come_in_the_order_of_the_prompt(session: Session) -> None:
    assert session.choose(kept=(PROMPT[2], PROMPT[0])).kept == (PROMPT[0], PROMPT[2])


@pytest.mark.parametrize(
    "wrong",
    [{"kept": ("a cat",)}, {"source": "paperdoll:99"}, {"control": "smell"}, {"base": "oil"}],
)
def test_choices_not_on_offer_are_refused(session: Session, wrong: dict) -> None:
    before = session.state.now.choice
    with pytest.raises(ValueError, match="no"):
        session.choose(**wrong)
    assert session.state.now.choice == before


def test_only_the_newest_choice_reaches_the_screen(session: Session, engine: FakeEngine) -> None:
    shown: list[float] = []

    def note(changed: frozenset[str]) -> None:
        picture = session.state.now.picture
        if "picture" in changed and picture is not None:
            shown.append(picture.choice.scale)

    session.state.observe(note)
    engine.gate.clear()
    for scale in (0.1, 0.2, 0.3, 0.4):
        session.choose(scale=scale)  # returns, although no picture can be drawn yet
    engine.gate.set()
    session.wait(PATIENCE)
    assert shown == [0.4]


def test_a_failure_becomes_a_sentence_and_work_goes_on(
    session: Session, engine: FakeEngine
) -> None:
    engine.fail_with = RuntimeError("out of memory")
    session.choose(scale=0.2)
    assert session.wait(PATIENCE).picture_status == "That failed: out of memory"
    engine.fail_with = None
    session.choose(scale=0.3)
    assert session.wait(PATIENCE).picture is not None


def test_missing_models_are_said_and_nothing_is_queued(tmp_path: Path) -> None:
    session = Session(FakeEngine(missing="The weights are not there."), runs=tmp_path)
    assert session.state.now.picture_status == "The weights are not there."
    assert session.draw() is None and session.run_demo() is None
    assert session.state.now.study_status == "The weights are not there."
    session.close()


def test_the_study_reports_progress_and_ends_with_its_plot(
    session: Session, engine: FakeEngine
) -> None:
    seen: list[tuple[int, int]] = []
    session.state.observe(
        lambda _: seen.append((session.state.now.study.done, session.state.now.study.total))
    )
    task = session.run_demo()
    assert task is not None and task.wait(PATIENCE) and task.state is TaskState.DONE
    screen = session.state.now
    assert (screen.study.done, screen.study.total, screen.study.running) == (10, 10, False)
    assert screen.study.seconds_left == 0
    assert screen.plot_png.startswith(b"\x89PNG")
    assert "kept in" in screen.study_status
    dones = [done for done, _ in seen]
    assert dones == sorted(dones)


def test_progress_is_not_sent_faster_than_five_times_a_second(tmp_path: Path) -> None:
    session = Session(FakeEngine(steps=400, step_seconds=0.001), runs=tmp_path)
    seen: set[int] = set()
    session.state.observe(lambda _: seen.add(session.state.now.study.done))
    begun = time.monotonic()
    task = session.run_demo()
    assert task is not None and task.wait(PATIENCE)
    seconds = time.monotonic() - begun
    assert len(seen) <= seconds / 0.2 + 3
    session.close()


def test_the_study_runs_once_however_often_the_button_is_pressed(session: Session) -> None:
    assert session.run_demo() is session.run_demo()


def test_stopping_the_study_says_what_is_kept(tmp_path: Path) -> None:
    session = Session(FakeEngine(steps=10_000), runs=tmp_path)
    task = session.run_demo()
    assert task is not None
    while session.state.now.study.done < 2:
        time.sleep(0.01)
    session.cancel_demo()
    assert task.wait(PATIENCE) and task.state is TaskState.CANCELLED
    screen = session.state.now
    assert not screen.study.running and screen.study_status.startswith("Stopped.")
    session.close()


def test_a_picture_asked_for_during_a_study_waits_its_turn(tmp_path: Path) -> None:
    engine = FakeEngine(steps=30)
    session = Session(engine, runs=tmp_path)
    session.run_demo()
    session.choose(scale=0.7)
    assert session.state.now.picture_status == "Waiting for the study …"
    screen = session.wait(PATIENCE)
    assert screen.picture is not None and screen.study.done == 30
    assert len(engine.threads) == 1
    session.close()


def test_an_earlier_run_is_shown(session: Session, engine: FakeEngine) -> None:
    assert session.show_earlier_run() is None
    session.demo_folder.mkdir()
    (session.demo_folder / "study.yaml").write_text("name: demo\n")
    assert session.show_earlier_run() is not None
    assert session.wait(PATIENCE).plot_png.startswith(b"\x89PNG")


def test_the_study_of_the_screen_is_saved(session: Session, tmp_path: Path) -> None:
    session.choose(source="paperdoll:2")
    path = session.save_study()
    assert path.parent == tmp_path and "paperdoll:2" in path.read_text()
    session.choose(source="paperdoll:1", scale=0.3)
    other = session.save_study()
    assert "-scale-0.3-seed-" in other.name
    assert "paperdoll:2" in path.read_text() and "paperdoll:1" in other.read_text()
    assert session.save_study() == other, "the same choice is saved once"


def test_waiting_gives_up_after_its_time(session: Session, engine: FakeEngine) -> None:
    engine.gate.clear()
    session.choose(scale=0.9)
    with pytest.raises(TimeoutError, match="draw"):
        session.wait(0.05)
