"""The app's engine on a tiny family with random weights: the real rooms, in milliseconds.

Protects: the picture on the screen is the one that the saved study file makes, models that are
missing are a sentence, the demo study runs and is plotted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from samples import make_samples
from tiny_models import write_tiny_family
from tiny_run import make_manager

import workbench as wb
from workbench.app.engine import ModelEngine
from workbench.app.session import Session
from workbench.app.state import Choice
from workbench.generation import CancelToken
from workbench.measuring.measurer import Measurer
from workbench.study import Study, make_plan

PROMPT = ("a girl", "long hair", "red coat")
DEMO = {
    "name": "tiny demo",
    "family": "tiny",
    "sources": ["paperdoll:1", "paperdoll:2"],
    "controls": ["canny"],
    "prompt": list(PROMPT),
    "lengths": [1, 3],
    "scales": [0, 1],
    "seeds": [1],
    "steps": 2,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> ModelEngine:
    folder = tmp_path_factory.mktemp("tiny")
    family = write_tiny_family(folder / "models")
    (folder / "demo.yaml").write_text(yaml.safe_dump(DEMO))
    # The tiny family has no network that reads depth.
    family = family.model_copy(update={"networks": {}})
    return ModelEngine(family, models_dir=folder / "models", study=folder / "demo.yaml")


def choice(**changes: Any) -> Choice:
    values = {"source": "paperdoll:1", "control": "canny", "prompt": PROMPT, "kept": PROMPT}
    return Choice(**(values | changes))


def test_offers_what_the_family_and_the_demo_have(engine: ModelEngine) -> None:
    offer = engine.offer()
    assert offer.sources[:2] == ("paperdoll:1", "paperdoll:2")
    assert set(offer.controls) == {"canny"}, "no network reads depth here"
    assert offer.prompt == PROMPT
    assert engine.missing() == ""


def test_every_base_model_is_offered_and_draws_its_own_picture(engine: ModelEngine) -> None:
    assert engine.offer().bases == ("render", "ink")
    pictures = []
    for base in ("render", "ink"):
        wanted = choice(base=base)
        assert engine.study(wanted).base == (base,)
        picture = engine.draw(wanted, CancelToken())
        assert picture is not None
        pictures.append(picture)
    one, other = pictures
    assert np.array_equal(one.control_map, other.control_map)
    assert np.abs(one.image.astype(int) - other.image).mean() > 1


def test_studies_of_different_choices_have_different_names(engine: ModelEngine) -> None:
    """They would share one run folder."""
    choices = [
        choice(),
        choice(scale=0.7),
        choice(seed=3),
        choice(kept=PROMPT[:1]),
        choice(prompt=PROMPT[:2], kept=PROMPT[:2]),
        choice(source="paperdoll:2"),
        choice(base="ink"),
    ]
    names = [engine.study(one).name for one in choices]
    assert len(set(names)) == len(choices)
    assert names[1].startswith("notebook-canny-scale-0.7-seed-1-")
    assert engine.study(choice()).name == names[0], "the same choice keeps its folder"


def test_missing_models_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "paperdoll").mkdir()
    engine = ModelEngine(models_dir=tmp_path)
    assert "No pictures can be drawn yet" in engine.missing()
    assert engine.offer().prompt[0] == "a girl"


@pytest.mark.parametrize("kept", [PROMPT, PROMPT[:2], PROMPT[1:], ()])
def test_the_saved_study_makes_the_picture_on_the_screen(
    engine: ModelEngine, kept: tuple[str, ...], tmp_path: Path
) -> None:
    wanted = choice(kept=kept, scale=0.7, seed=3)
    shown = engine.draw(wanted, CancelToken())
    assert shown is not None and shown.choice == wanted

    path = tmp_path / "saved.yaml"
    path.write_text(engine.study_yaml(wanted))
    study = Study.from_yaml(path, choices=engine._choices)
    plan = make_plan(study, resolution=engine.family.resolution, choices=engine._choices)
    (cell,) = [c for c in plan.cells if c.variant.tags == kept]
    trial = plan.trials_by_id[cell.trial_id]
    maps = Measurer(plan, engine.manager).source_maps
    (sample,) = make_samples([trial], maps, engine.manager)
    assert sample.image is not None and np.array_equal(sample.image, shown.image)


def test_the_figures_are_those_of_the_picture(engine: ModelEngine) -> None:
    picture = engine.draw(choice(kept=()), CancelToken())
    assert picture is not None
    assert picture.source.shape == picture.control_map.shape == picture.image.shape
    rows = {row.label: row for row in picture.rows}
    assert "Canny F1 (tolerant)" in rows and "Tag: long hair" in rows
    used = rows["CLIP score against the prompt used"]
    assert math.isnan(used.value) and used.reason == "the prompt is empty"
    assert all(row.reason for row in picture.rows if math.isnan(row.value))


def test_another_prompt_is_drawn_and_measured_tag_by_tag(engine: ModelEngine) -> None:
    picture = engine.draw(choice(prompt=("a boy", "snow"), kept=("snow",)), CancelToken())
    assert picture is not None
    values = {row.label: row.value for row in picture.rows}
    assert not math.isnan(values["CLIP score against the full prompt"])
    assert "Tag: snow" in values and "Tag: long hair" not in values


def test_scale_zero_needs_no_control(engine: ModelEngine) -> None:
    pictures = [engine.draw(choice(source=s, scale=0.0), CancelToken())
                for s in ("paperdoll:1", "paperdoll:2")]  # fmt: skip
    first, second = pictures
    assert first is not None and second is not None
    assert np.array_equal(first.image, second.image)
    assert not np.array_equal(first.control_map, second.control_map)


def test_a_cancelled_picture_is_none(engine: ModelEngine) -> None:
    cancel = CancelToken()
    cancel.cancel()
    assert engine.draw(choice(), cancel) is None


def test_the_demo_runs_and_is_plotted(
    engine: ModelEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import workbench.study.plan

    monkeypatch.setattr(workbench.study.plan, "installed_choices", lambda: engine._choices)
    seen: list[Any] = []
    engine.run(tmp_path / "demo", seen.append, CancelToken())
    assert seen[-1].done == seen[-1].total == 6
    before = contents(tmp_path / "demo")
    assert engine.plot(tmp_path / "demo").startswith(b"\x89PNG")
    assert contents(tmp_path / "demo") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_another_study_is_shown_whole_and_stays_as_it_is(
    engine: ModelEngine, tmp_path: Path
) -> None:
    study = Study(**DEMO | {"name": "another", "scales": [0.5, 1.5], "family": "paperdoll"})
    folder = tmp_path / "runs" / "demo"
    wb.run(study, folder, manager=make_manager(Path(str(engine.models_dir))))
    before, rows = contents(folder), len(wb.open_run(folder).table)
    session = Session(engine, tmp_path / "runs")
    assert session.show_earlier_run() is not None
    assert session.wait(60).plot_png.startswith(b"\x89PNG")
    session.close()
    assert contents(folder) == before
    assert len(wb.open_run(folder).table) == rows > 0
