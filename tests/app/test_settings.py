"""Settings found by search, and the further fields of a study.

Protects: whatever a study file knows has a place on the screen; models are loaded for the
precision that is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_app import TinyEngine

from workbench.app import Workbench
from workbench.app.engine import ModelEngine
from workbench.app.settings import MORE, PLACES, found_elsewhere, more_settings
from workbench.study.fields import StudyFields

PATIENCE = 300.0


@pytest.fixture
def bench(engine: TinyEngine, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path / "runs", engine=engine)
    yield bench
    bench.close()


def test_every_field_of_a_study_is_found(bench: Workbench) -> None:
    here, fields = {*bench.drawing.settings, *MORE}, StudyFields.model_fields
    assert here <= fields.keys() and PLACES.keys() <= fields.keys()
    for name in fields:
        told = [field for field, _ in found_elsewhere(name, dict.fromkeys(here))]
        assert name in here or name in told


def visible(bench: Workbench) -> set[str]:
    widgets = {**bench.drawing.settings, **bench.settings.more, **bench.steering.controls[0].fields}
    return {name for name, widget in widgets.items() if widget.layout.display != "none"}


def test_a_search_leaves_what_it_names(bench: Workbench) -> None:
    usual = visible(bench)
    assert {"steps", "low"} < usual and "dtype" not in usual
    bench.settings.search.value = "Guidance"
    assert visible(bench) == {"guidance_scale"}
    for words in ("float16", "precision"):
        bench.settings.search.value = words
        assert visible(bench) == {"dtype"}
        assert bench.drawing.more.layout.display == "none", "nor are headings over nothing"
    bench.settings.search.value = "seeds"
    assert "in the tab Picture" in bench.settings.found.value
    bench.settings.search.value = "<b>"
    assert "No setting is called &quot;&lt;b&gt;&quot;" in bench.settings.found.value
    bench.settings.search.value = ""
    assert visible(bench) == usual and bench.settings.found.value == ""


def test_a_further_setting_is_chosen_refused_and_part_of_the_study(bench: Workbench) -> None:
    bench.settings.more["dtype"].value = "bfloat16"
    bench.settings.more["alternatives"].value = "{a girl: [a boy]}"
    choice = bench.session.state.now.choice
    study = bench.session.engine.study(choice)
    assert study.dtype == "bfloat16" and study.alternatives == {"a girl": ("a boy",)}
    assert "dtype" in visible(bench), "what is not as usual is shown"
    bench.settings.more["dtype"].value = "float7"
    assert "dtype" in bench.message.value and bench.settings.more["dtype"].value == "bfloat16"
    bench.settings.more["runtime"].value = "{"
    assert "runtime: write " in bench.message.value
    bench.settings.more["dtype"].value = ""
    assert "dtype" not in bench.session.state.now.choice.more


def test_what_is_no_further_setting_is_refused() -> None:
    assert more_settings({"batch_size": 16, "dtype": "float16"}) == '{"dtype": "float16"}'
    for wrong in ({"seeds": [1]}, "[]", "{"):
        with pytest.raises(ValueError):
            more_settings(wrong)


def test_models_are_loaded_for_the_precision_that_is_chosen(
    engine: TinyEngine, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def run_trials(*_: object, manager: object, **__: object) -> None:
        used.append(str(manager))

    monkeypatch.setattr("workbench.sweep.run_trials", run_trials)
    monkeypatch.setattr(
        "workbench.sweep.steps.load_manager", lambda study, *_: f"{study.dtype} {len(used)}"
    )
    plain = ModelEngine(engine.family, models_dir=models, study=engine.study_path, device="cpu")
    one = plain.study(plain.offer().first)
    other = one.model_copy(update={"dtype": "float16"})
    for study in (one, one, other, one):
        plain.make(study, tmp_path, (), print, None)  # type: ignore[arg-type]
    assert used == ["float32 0", "float32 0", "float16 2", "float32 3"]
