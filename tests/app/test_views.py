"""The widgets, driven as a browser would drive them but without one.

Protects: a click changes the choice, the state changes the widgets without echo, and nothing a
prompt or an error contains is read as HTML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import PROMPT, FakeEngine

from workbench.app import Workbench, html
from workbench.app.state import Row, StudyRun
from workbench.controls.base import LegendEntry

PATIENCE = 20.0
PNG = b"\x89PNG"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path, engine=FakeEngine())
    bench.session.wait(PATIENCE)
    yield bench
    bench.session.close()


def test_the_first_picture_is_drawn_without_a_click(bench: Workbench) -> None:
    assert all(bytes(image.value).startswith(PNG) for image in bench.pictures.images)
    assert "Drawn in" in bench.pictures.status.value


@pytest.mark.parametrize(
    ("name", "value"),
    [("source", "paperdoll:2"), ("control", "depth"), ("base", "ink"), ("scale", 0.4), ("seed", 7)],
)
def test_each_widget_sets_its_part_of_the_choice(bench: Workbench, name: str, value) -> None:
    getattr(bench.chooser, name).value = value
    screen = bench.session.wait(PATIENCE)
    assert getattr(screen.choice, name) == value
    assert screen.picture is not None and getattr(screen.picture.choice, name) == value


def test_a_toggle_takes_its_tag_out_of_the_prompt(bench: Workbench) -> None:
    bench.chooser.tags[1].value = False
    screen = bench.session.wait(PATIENCE)
    assert screen.picture is not None
    assert screen.picture.choice.kept == (PROMPT[0], PROMPT[2])
    assert bench.chooser.tags[1].button_style == ""


def test_the_state_moves_the_widgets_and_draws_once(bench: Workbench) -> None:
    engine = bench.session.engine
    assert isinstance(engine, FakeEngine)
    before = len(engine.drawn)
    bench.session.choose(scale=1.5, kept=PROMPT[:1], control="depth")
    bench.session.wait(PATIENCE)
    assert bench.chooser.scale.value == 1.5 and bench.chooser.control.value == "depth"
    assert [button.value for button in bench.chooser.tags] == [True, False, False]
    assert len(engine.drawn) == before + 1


def test_another_prompt_makes_the_toggles_anew(bench: Workbench) -> None:
    bench.session.choose(prompt="a boy, short hair, rain, a boy", kept=["rain", "a boy"])
    screen = bench.session.wait(PATIENCE)
    assert [button.description for button in bench.chooser.tags] == ["a boy", "short hair", "rain"]
    assert [button.value for button in bench.chooser.tags] == [True, False, True]
    assert screen.picture is not None and screen.picture.choice.kept == ("a boy", "rain")
    bench.chooser.tags[1].value = True
    assert bench.session.wait(PATIENCE).choice.kept == ("a boy", "short hair", "rain")
    bench.session.choose(prompt=("snow",))
    assert bench.session.state.now.choice.kept == ("snow",)
    with pytest.raises(ValueError, match="no tag at all"):
        bench.session.choose(prompt=" , ")


def test_a_view_that_cannot_follow_says_so(bench: Workbench, monkeypatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("<b>no</b>")

    monkeypatch.setattr(bench.study, "show", broken)
    bench.session.state.change(study_status="x")
    assert "The screen could not follow: &lt;b&gt;no&lt;/b&gt;" in bench.children[-1].value


def test_texts_are_escaped(bench: Workbench) -> None:
    shown = [bench.pictures.table.value, *(c.value for c in bench.pictures.captions)]
    assert "<b>bold</b>" not in "".join(shown)
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; black eyes" in shown[3]
    assert "CLIP &lt;score&gt;" in shown[0] and "&lt;nothing&gt;" in shown[0]


def test_an_error_in_a_callback_is_shown_escaped(bench: Workbench, monkeypatch) -> None:
    def broken() -> None:
        raise RuntimeError("<script>")

    monkeypatch.setattr(bench.session, "run_demo", broken)
    bench.study.run.click()
    assert bench.children[-1].value == "<span>That failed: &lt;script&gt;</span>"


def test_the_study_view_follows_the_run(bench: Workbench) -> None:
    assert bench.study.stop.disabled and not bench.study.run.disabled
    bench.study.run.click()
    assert bench.study.run.disabled and not bench.study.stop.disabled
    bench.session.wait(PATIENCE)
    assert not bench.study.run.disabled and bench.study.stop.disabled
    assert bench.study.bar.value == 1.0
    assert bytes(bench.study.plot.value).startswith(PNG)
    assert "10 of 10" in bench.study.text.value


def test_stop_and_save_do_what_they_say(bench: Workbench, tmp_path: Path) -> None:
    bench.study.save.click()
    (saved,) = tmp_path.glob("notebook-*.yaml")
    assert saved.stem == bench.session.state.now.choice.name
    assert "Saved" in bench.children[-1].value
    bench.study.run.click()
    bench.study.stop.click()
    bench.session.wait(PATIENCE)
    assert "Stopped" in bench.study.status.value


def test_without_models_it_says_so_and_still_shows(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, engine=FakeEngine(missing="No weights & no pictures."))
    assert "No weights &amp; no pictures." in bench.pictures.status.value
    bench.study.run.click()
    assert "No weights &amp; no pictures." in bench.study.status.value
    bench.session.close()


def test_figures_show_nan_as_a_dash_with_its_reason() -> None:
    text = html.table([Row("x", float("nan"), reason="no edges"), Row("y", 1234.4, 0.123456)])
    assert "–" in text and "no edges" in text and "1234" in text and "0.123" in text


def test_progress_text_says_how_much_is_left() -> None:
    running = StudyRun(True, 12, 184, 130.0, "generating")
    assert html.progress_text(running) == "generating: 12 of 184 pictures, 2 min 10 s left"
    assert html.progress_text(StudyRun(True, phase="waiting")) == "waiting …"
    assert html.progress_text(StudyRun()) == ""


def test_the_colours_of_a_map_are_named_below_it(bench: Workbench) -> None:
    assert "■" not in bench.pictures.captions[1].value
    picture = bench.session.state.now.picture
    assert picture is not None
    entries = (LegendEntry("wall", (120, 120, 120), 0.75), LegendEntry("<b>", (1, 2, 3), 0.25))
    bench.session.state.change(picture=replace(picture, legend=entries))
    shown = bench.pictures.captions[1].value
    assert "rgb(120, 120, 120)" in shown and "wall" in shown
    assert "&lt;b&gt;" in shown and "<b></span>" not in shown


def test_what_is_to_be_known_of_words_is_said_once_below_the_table() -> None:
    rows = [Row(f"Tag: {word}", 0.5, note="nobody <looked>") for word in ("snow", "fog")]
    text = html.table(rows)
    assert text.count("nobody &lt;looked&gt;") == 1
    assert text.index("nobody") > text.index("</table>")
