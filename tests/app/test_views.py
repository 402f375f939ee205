"""The widgets, driven as a browser would drive them but without one.

Protects: a click changes the choice, the state changes the widgets without echo, what is made is in
the explorer, and nothing a prompt or an error contains is read as HTML.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pytest
from tiny_app import PROMPT, TinyEngine

from workbench.app import Workbench, html
from workbench.app.state import Reading, Work
from workbench.app.views.prompt import tokens_text
from workbench.app.worker import Job
from workbench.families import FamilyError
from workbench.images import encode_png

PATIENCE = 300.0


@pytest.fixture
def bench(engine: TinyEngine, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path / "runs", engine=engine)
    bench.session.wait(PATIENCE)
    yield bench
    engine.gate.set()
    bench.close()


def made(bench: Workbench) -> int:
    return sum(number >= 0 for number in bench.run.explorer.data["cells"]["sample"])


def test_source_and_map_are_there_without_a_click(bench: Workbench) -> None:
    shown = bench.steering.images[:2]
    assert all("data:image/png;base64,iVBOR" in image.value for image in shown)
    assert bench.run.explorer.data["cells"]["sample"] == []
    assert "press Make picture" in bench.run.explorer.data["notes"][0]


@pytest.mark.parametrize(
    ("view", "name", "value"),
    [
        ("steering", "source", "paperdoll:2"),
        *(("drawing", name, value) for name, value in {
            "base": "ink", "scale": 0.4, "seed": 7, "steps": 3, "guidance_scale": 2.5,
            "scheduler": "ddim", "negative_prompt": "blue", "control_start": 0.25,
            "control_end": 0.5,
        }.items()),
    ],
)  # fmt: skip
def test_each_widget_sets_its_part_of_the_choice(
    bench: Workbench, view: str, name: str, value: Any
) -> None:
    part = getattr(bench, view)
    widget = part.inputs[name] if view == "drawing" else getattr(part, name)
    widget.value = str(value) if name in ("seed", "steps") else value
    assert getattr(bench.session.wait(PATIENCE).choice, name) == value


@pytest.mark.parametrize("text", ["1e3", "1.5", "-5", "4294967296", ""])
def test_a_seed_that_is_none_is_refused(bench: Workbench, text: str) -> None:
    seed = bench.drawing.inputs["seed"]
    seed.value = text
    assert seed.value == "1" and "whole number" in bench.message.value


NUMBERS = {"scale": (0, 10), "guidance_scale": (1, 30), "control_start": (0, 1)}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_its_range_is_refused_and_not_moved_to_the_end(
    bench: Workbench, name: str
) -> None:
    widget, (low, high) = bench.drawing.inputs[name], NUMBERS[name]
    before = widget.value
    for wrong in (high + 89, low - 0.5):
        widget.value = wrong
        assert widget.value == before == getattr(bench.session.state.now.choice, name)
        assert f"from {low} to {high}, not {float(wrong)!r}" in bench.message.value


def test_settings_of_a_control_are_refused_by_name(bench: Workbench) -> None:
    fields = bench.steering.controls[0].fields
    fields["low"].value = 300
    assert fields["low"].value == 100 and "high: must not lie below low (300" in bench.message.value
    fields["blur"].value = 99
    assert fields["blur"].value == 0 and bench.message.value.count("blur: 99.0 is too large") == 1


def test_the_panel_folds_to_the_line_of_work(bench: Workbench) -> None:
    bench.fold.value = True
    assert bench.tabs.layout.display == "none" and bench.fold.description == "Show panel"
    bench.use_family("paperdoll")
    assert bench.fold.value and bench.tabs.layout.display == "none", "and stays folded"
    bench.fold.value = False
    assert bench.tabs.layout.display == "" and bench.fold.description == "Hide panel"


def test_the_explorer_comes_into_sight_when_a_person_asks_for_pictures(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(bench.run.explorer, "send", lambda content, *_: sent.append(content))
    come = {"kind": "come", "to": ""}
    bench.making.inputs["scale"].value = "a lot"
    bench.making.sweep.click()
    assert sent == [come | {"to": ".wb-message"}], "nothing is made, and that is said"
    for count, button in enumerate((bench.making.make, bench.making.strips["seed"]), 1):
        button.click()
        bench.session.wait(PATIENCE)
        assert sent.count(come) == count
    bench.session.make()
    bench.session.wait(PATIENCE)
    assert sent.count(come) == 2, "not by itself"


def test_the_app_stands_before_what_draws_plots_and_intervals_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, workbench as wb\n"
        "from workbench.app.engine import ModelEngine\n"
        "def preview(*_): raise ValueError('later')\n"
        "ModelEngine.preview = preview\n"
        "bench = wb.Workbench(sys.argv[1])\n"
        "bench.session.wait(60)\n"
        "print({'matplotlib', 'scipy.stats'} & sys.modules.keys())\n"
        "bench.close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "runs")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_places_of_source_and_map_stand_before_there_is_a_map(
    engine: TinyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "preview", lambda _: engine.gate.wait(PATIENCE))
    engine.gate.clear()
    bench = Workbench(tmp_path / "runs", engine=engine)
    assert all("<figure" in image.value and "<img" not in image.value
               for image in bench.steering.images)  # fmt: skip
    engine.gate.set()
    bench.close()


def test_no_widget_of_the_app_corrects_what_is_typed(bench: Workbench) -> None:
    bounded = (widgets.BoundedFloatText, widgets.BoundedIntText)
    todo: list[Any] = [*bench.children]
    found = []
    for one in todo:
        todo += getattr(one, "children", ())
        found.append(one)
    typed = [one for one in found if hasattr(one, "continuous_update")]
    assert len(typed) > 20 and not [one for one in typed if isinstance(one, bounded)]


def chips(bench: Workbench) -> dict[str, bool]:
    """The words of the prompt, and whether they are on."""
    return {word["text"]: word["on"] for word in bench.prompt.chips.words}


def write(bench: Workbench, *words: tuple[str, bool]) -> None:
    """What the browser sends when somebody is done with the chips."""
    asked = [{"text": text, "on": on} for text, on in words]
    bench.prompt.chips._asked(None, {"kind": "words", "words": asked}, [])


def test_chips_are_switched_ordered_edited_and_added(bench: Workbench) -> None:
    write(bench, (PROMPT[2], True), (PROMPT[0], False), ("snow, rain", True), ("snow", False))
    assert chips(bench) == {PROMPT[2]: True, PROMPT[0]: False, "snow": True, "rain": True}
    assert bench.session.state.now.choice.kept == (PROMPT[2], "snow", "rain")
    before = chips(bench)
    write(bench, (" , ", True))
    assert chips(bench) == before and "no tag at all" in bench.message.value
    write(bench, ("(snow:1.4)", True))
    assert chips(bench) == before and "syntax of the webui" in bench.message.value
    for odd in ({"words": "x"}, {"words": [1]}, None):
        bench.prompt.chips._asked(None, odd, [])
    assert chips(bench) == before


def test_what_is_odd_about_a_word_is_marked(bench: Workbench) -> None:
    write(bench, ("long hair", True), ("short hair", True), ("a dragon", True), ("rain", True))
    notes = {word["text"]: word["note"] for word in bench.prompt.chips.words}
    assert notes["long hair"] == "excludes short hair" and notes["rain"] == ""
    assert "not a word" in notes["a dragon"]
    write(bench, ("long hair", True), ("short hair", False))
    assert not any(word["note"] for word in bench.prompt.chips.words)


def test_tokens_are_counted_and_a_cut_prompt_is_told(bench: Workbench) -> None:
    """The tiny text encoder reads 20 tokens."""
    write(bench, ("snow", True))
    bench.session.wait(PATIENCE)
    assert "of 20 tokens" in bench.prompt.tokens.value
    write(bench, *((word, True) for word in ("snow", "black coat", "blond hair", "brown hair")))
    reading = bench.session.wait(PATIENCE).reading
    assert reading.tokens > reading.limit == 20 and "brown hair" in reading.unread
    assert "Not read: " in bench.prompt.tokens.value
    assert [word["read"] for word in bench.prompt.chips.words][::3] == [True, False]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", {"a girl": False, "snow": False, "x": False}),
        ("insufficient", {"a girl": True, "snow": False, "x": False}),
        ("full", {"a girl": True, "snow": True, "x": True}),
    ],
)
def test_presets(bench: Workbench, name: str, expected: dict[str, bool]) -> None:
    write(bench, ("a girl", True), ("snow", False), ("x", True))
    bench.prompt.presets[name].click()
    assert chips(bench) == expected


def test_a_conflicting_prompt_contradicts_the_source(bench: Workbench) -> None:
    screen = bench.session.state.now
    assert screen.preview is not None and len(screen.preview.shows) == 8
    write(bench, *((word, True) for word in screen.preview.shows))
    bench.prompt.presets["conflicting"].click()
    assert len(chips(bench)) == 8 and not set(chips(bench)) & set(screen.preview.shows)
    after = chips(bench)
    bench.prompt.presets["conflicting"].click()
    assert chips(bench) == after, "it does already"
    write(bench, ("x", True))
    bench.prompt.presets["conflicting"].click()
    assert "no word of the prompt has an opposite" in bench.message.value


def test_another_prompt_makes_the_chips_anew(bench: Workbench) -> None:
    bench.prompt.text.value = "a boy, short hair, rain"
    assert chips(bench) == dict.fromkeys(["a boy", "short hair", "rain"], True)
    bench.prompt.text.value = " , "
    assert bench.prompt.text.value == "a boy, short hair, rain", "what was refused is not shown"
    assert "no tag at all" in bench.message.value


def test_settings_come_from_the_control_type(bench: Workbench) -> None:
    fields = bench.steering.controls[0].fields
    assert set(fields) >= {"low", "high", "blur", "tolerance"}
    before = bench.steering.images[1].value
    fields["low"].value = 5.0
    assert '"low":5.0' in bench.session.wait(PATIENCE).choice.settings
    assert bench.steering.images[1].value != before, "the map follows"
    fields["low"].value = 900.0
    assert fields["low"].value == 5.0
    assert "must not lie below low" in bench.message.value


def test_the_state_moves_the_widgets(bench: Workbench) -> None:
    bench.session.choose(scale=3.5, kept=PROMPT[:1], source="paperdoll:2")
    assert bench.drawing.inputs["scale"].value == 3.5
    assert bench.steering.source.value == "paperdoll:2"
    assert list(chips(bench).values()) == [True, False, False]


def test_a_picture_is_made_and_shown(bench: Workbench) -> None:
    bench.making.make.click()
    screen = bench.session.wait(PATIENCE)
    assert screen.sheet is not None and made(bench) == 1
    picked = bench.run.explorer.picked
    assert (picked["scale"], picked["seed"], picked["control"]) == (1.0, 1, "canny")
    png = screen.sheet.folder / "trials" / screen.in_hand / "sample.png"
    assert png.is_file() and str(png) in bench.runs.study.value
    assert bench.runs.runs.value == screen.sheet.folder
    assert "Done." in bench.run.status.value and bench.making.stop.disabled


def test_a_sweep_as_typed_is_priced_and_made(bench: Workbench) -> None:
    inputs = bench.making.inputs
    inputs["scale"].value = "0..1 step 0.5"
    inputs["length"].value = "1, 3"
    inputs["seed"].value = ""
    assert bench.session.wait(PATIENCE).price.startswith("6 pictures, 0 of them")
    bench.making.sweep.click()
    screen = bench.session.wait(PATIENCE)
    assert screen.sheet is not None and made(bench) == 6
    assert screen.price.startswith("6 pictures, 6 of them")
    assert [spot["label"] for spot in bench.run.explorer.data["prompts"]] == [
        "1 tag",
        "3 tags, cut at 20 tokens",
    ]


@pytest.mark.parametrize(("text", "said"), [("a lot", "no list of numbers"), ("-1", "scales")])
def test_numbers_that_are_none_are_refused(bench: Workbench, text: str, said: str) -> None:
    bench.making.inputs["scale"].value = text
    bench.making.sweep.click()
    assert said in bench.message.value + bench.session.wait(PATIENCE).price
    assert bench.session.state.now.sheet is None


@pytest.mark.parametrize("text", ["a lot", "0..1 step 0", "99", "-1"])
def test_what_is_mistyped_has_no_price_and_is_no_failure(
    bench: Workbench, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.session.wait(PATIENCE)
    bench.making.inputs["scale"].value = text
    assert bench.session.wait(PATIENCE).price.startswith("This sweep cannot be made: ")
    assert not caplog.records


def test_a_strip_says_how_many_it_holds(bench: Workbench, monkeypatch: Any) -> None:
    """A second control leaves fewer types for the first."""
    assert bench.making.strips["scale"].description == "5 scales"
    monkeypatch.setattr(type(bench.session), "strips", {"scale": (0.0, 1.0)})
    bench.session.choose(seed=2)
    assert bench.making.strips["scale"].description == "2 scales"


def test_of_many_words_that_are_not_read_some_are_named() -> None:
    unread = tuple(f"word {i}" for i in range(200))
    text = tokens_text(Reading(tokens=2000, limit=77, unread=unread))
    assert text.endswith("word 5 and 194 more.") and len(text) < 120


@pytest.mark.parametrize("name", ["seed", "length"])
def test_a_part_of_a_seed_or_a_tag_is_refused(bench: Workbench, name: str) -> None:
    bench.making.inputs[name].value = "1, 1.5"
    bench.making.sweep.click()
    assert f"{name}: 1.5 is not a whole number" in bench.message.value
    assert bench.session.state.now.sheet is None


def test_an_app_can_be_closed_twice(engine: TinyEngine, tmp_path: Path) -> None:
    bench = Workbench(tmp_path / "runs", engine=engine)
    bench.close()
    bench.close()


def test_nothing_varies_is_a_sentence(bench: Workbench) -> None:
    bench.making.inputs["scale"].value = ""
    bench.making.sweep.click()
    assert "nothing varies" in bench.message.value


def test_a_click_on_an_empty_place_makes_it(bench: Workbench) -> None:
    for scale, seed in ((1.0, 1), (0.5, 2)):
        bench.session.choose(scale=scale, seed=seed)
        bench.session.make()
    bench.session.wait(PATIENCE)

    def numbers() -> dict[str, int]:
        shown = bench.run.explorer._view.shown
        return dict(zip(shown.trials, shown.data["cells"]["sample"], strict=True))

    before, shown = numbers(), bench.run.explorer._view.shown
    assert (len(before), made(bench)) == (4, 2)
    empty = [shown.place(cell) for cell in range(4) if before[shown.trials[cell]] < 0]
    bench.run.explorer._asked(None, {"kind": "make", "place": empty[0]}, [])
    bench.session.wait(PATIENCE)
    assert made(bench) == 3
    after = numbers()
    assert {trial: after[trial] for trial, old in before.items() if old >= 0} == {
        trial: old for trial, old in before.items() if old >= 0
    }, "pictures that were shown keep their numbers"
    for place in (empty[0] | {"scale": 99}, {}, "x", None):
        bench.run.explorer._asked(None, {"kind": "make", "place": place}, [])
    bench.session.wait(PATIENCE)
    assert made(bench) == 3


def test_an_upload_becomes_the_source(bench: Workbench) -> None:
    data = encode_png(np.full((40, 40, 3), 200, np.uint8))
    bench.steering.take("mine.png", data)
    choice = bench.session.wait(PATIENCE).choice
    assert Path(choice.source).name.startswith("mine-")
    assert bench.steering.source.value == choice.source
    assert choice.source in dict(bench.making.inputs["source"].options).values()


def test_another_run_is_opened_from_the_list(bench: Workbench) -> None:
    bench.session.make()
    first = bench.session.wait(PATIENCE).sheet
    bench.session.choose(prompt="a boy, snow")
    bench.session.make()
    bench.session.wait(PATIENCE)
    assert first is not None
    bench.runs.runs.value = first.folder
    screen = bench.session.wait(PATIENCE)
    assert screen.sheet is not None and screen.sheet.folder == first.folder
    assert screen.choice.prompt == PROMPT and made(bench) == 1
    bench.runs.new.click()
    assert bench.session.state.now.sheet is None and bench.runs.runs.value == ""
    assert bench.session.wait(PATIENCE) and made(bench) == 0


def test_a_run_that_cannot_be_opened_does_not_look_open(bench: Workbench) -> None:
    bench.making.make.click()
    first = bench.session.wait(PATIENCE).sheet
    bench.session.new_run()
    bench.session.choose(steps=3)
    bench.making.make.click()
    second = bench.session.wait(PATIENCE).sheet
    assert first is not None and second is not None
    (first.folder / "study.yaml").rename(first.folder / "gone.yaml")
    bench.runs.runs.value = first.folder
    assert "cannot be opened" in bench.session.wait(PATIENCE).status
    assert bench.runs.runs.value == second.folder
    assert first.folder not in [folder for _, folder in bench.runs.runs.options]


def test_a_run_is_deleted_by_a_second_click(bench: Workbench) -> None:
    bench.session.make()
    sheet = bench.session.wait(PATIENCE).sheet
    assert sheet is not None and bench.runs.question.layout.display == "none"
    bench.runs.delete.click()
    bench.session.wait(PATIENCE)
    assert bench.runs.doom.description == "Really delete 1 picture?"
    bench.runs.keep.click()
    assert bench.runs.question.layout.display == "none" and sheet.folder.is_dir()
    bench.runs.delete.click()
    bench.session.wait(PATIENCE)
    bench.runs.doom.click()
    bench.session.wait(PATIENCE)
    assert not sheet.folder.exists() and made(bench) == 0 and bench.runs.runs.value == ""


def test_the_report_is_written_from_the_screen(bench: Workbench) -> None:
    assert bench.runs.report.disabled
    bench.session.make({"scale": [0, 1]})
    sheet = bench.session.wait(PATIENCE).sheet
    bench.runs.report.click()
    assert sheet is not None and (sheet.folder / "report.html").is_file()
    assert "report.html" in bench.message.value


def test_the_code_follows_the_choice(bench: Workbench) -> None:
    bench.session.choose(seed=77)
    assert "seeds=[77]" in bench.runs.code.value


def test_a_view_that_cannot_follow_says_so(bench: Workbench, monkeypatch: Any) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("<b>no</b>")

    monkeypatch.setattr(bench.run, "show", broken)
    bench.session.state.change(status="x")
    assert "The screen could not follow: &lt;b&gt;no&lt;/b&gt;" in bench.message.value


def test_an_error_in_a_callback_is_shown_escaped(bench: Workbench, monkeypatch: Any) -> None:
    def broken() -> None:
        raise RuntimeError("<script>")

    monkeypatch.setattr(bench.session, "make", broken)
    bench.making.make.click()
    assert "That failed: &lt;script&gt;" in bench.message.value


def test_the_same_cell_again_closes_the_former_app(models: Path, tmp_path: Path) -> None:
    """Else its work would go on without a button, and its models stay in memory."""
    engines = [TinyEngine(models, tmp_path / name) for name in "ab"]
    first = Workbench(tmp_path / "runs", engine=engines[0])
    first.session.make()
    first.session.wait(PATIENCE)
    manager = weakref.ref(engines[0].manager)
    engines[0].gate.clear()
    first.session.choose(seed=8)
    held = first.session.make()
    second = Workbench(tmp_path / "runs", engine=engines[1])
    assert held is not None and held.ended.wait(PATIENCE)
    gc.collect()
    assert manager() is None
    screen = second.session.wait(PATIENCE)
    assert screen.sheet is not None and made(second) == 1, "the newest run is there"
    assert "models" not in engines[1].__dict__
    second.close()


def test_another_family_frees_the_models_of_the_former(
    bench: Workbench, engine: TinyEngine
) -> None:
    assert "paperdoll (render) on cpu" in bench.models.words.value
    bench.session.make()
    bench.session.wait(PATIENCE)
    manager = weakref.ref(engine.manager)
    former = bench.models
    engine.gate.clear()
    bench.session.choose(seed=3)
    held = bench.session.make()
    former.family.value = "sd15"
    assert "pictures are being made" in bench.message.value
    assert bench.models is former and former.family.value == "paperdoll"
    engine.gate.set()
    assert held is not None and held.ended.wait(PATIENCE)
    former.family.value = "sd15"
    gc.collect()
    assert manager() is None
    screen = bench.session.wait(PATIENCE)
    assert screen.sheet is None and "sd15" in bench.models.words.value
    assert bench.drawing.inputs["base"].value in screen.offer.bases != ("render", "ink")
    assert len(screen.runs) == 1, "the run that was made can be opened"
    bench.models.family.value = "paperdoll"
    assert "paperdoll (render)" in bench.session.wait(PATIENCE).models
    with pytest.raises(FamilyError):
        bench.use_family("none")
    assert bench.models.family.value == "paperdoll", "what cannot be used changes nothing"


def test_progress_is_one_line() -> None:
    assert html.progress_text(Work()) == ""
    assert html.progress_text(Work(running=True, phase="loading")) == "loading …"
    queue = (Job("sweep", print), Job("sweep", print))
    work = Work("sweep", True, 12, 184, 120.0, "generating", queue)
    assert (
        html.progress_text(work)
        == "generating: 12 of 184 pictures, 2 min 00 s left. 2 more waiting."
    )
    one = Work("picture", True, 0, 1, phase="generating", step=5, steps=20)
    assert html.progress_text(one) == "generating: step 5 of 20."
    megabytes = Work("picture", True, 10, 90, phase="downloading")
    assert html.progress_text(megabytes) == "downloading: 10 of 90 MB."
