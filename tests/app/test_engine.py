"""The app's engine: studies out of choices, what can be chosen, and what is missing.

Protects: the study of a choice is the choice and nothing else, a file that is no picture hides no
other source, and models of other choices are not asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_app import PROMPT, TinyEngine

from workbench.app import engine as engine_module
from workbench.app.engine import ModelEngine
from workbench.controls import network_needs
from workbench.images import ImageError, encode_png
from workbench.study import StudyError


def test_offers_what_the_family_and_the_demo_have(engine: TinyEngine) -> None:
    offer = engine.offer()
    assert offer.sources[:2] == ("paperdoll:1", "paperdoll:2")
    assert set(offer.controls) == {"canny"}, "no network reads depth here"
    assert offer.first.prompt == offer.first.kept == PROMPT
    assert (offer.first.steps, offer.first.control) == (2, "canny")
    assert offer.bases == ("render", "ink")
    assert engine.missing(engine.study(offer.first)) == ""


def test_the_first_control_needs_no_network_to_be_loaded() -> None:
    first = ModelEngine("paperdoll").offer().first
    assert not network_needs([(first.control, "")]), "its map is there at once"


def test_the_study_of_a_choice_is_one_picture(engine: TinyEngine) -> None:
    first = engine.offer().first
    choice = replace(
        first, scale=0.3, seed=5, base="ink", kept=PROMPT[:2], steps=7, settings='{"low":50}',
        control_start=0.2, control_end=0.6,
    )  # fmt: skip
    study = engine.study(choice)
    (trial,) = engine.plan(study).trials
    assert engine.asked(choice) == (trial.id,)
    assert (trial.scale, trial.seed, trial.base, trial.steps) == (0.3, 5, "ink", 7)
    assert (trial.control_start, trial.control_end) == (0.2, 0.6)
    assert trial.prompt == "a girl, long hair" and '"low":50' in trial.control_settings


@pytest.mark.parametrize("kept", [(), PROMPT, PROMPT[1:], (PROMPT[0], PROMPT[2])])
def test_one_picture_is_asked_for_whatever_is_kept(
    engine: TinyEngine, kept: tuple[str, ...]
) -> None:
    choice = replace(engine.offer().first, kept=kept)
    (asked,) = engine.asked(choice)
    plan = engine.plan(engine.study(choice))
    assert plan.trials_by_id[asked].prompt == ", ".join(kept)


def test_a_sweep_varies_what_is_named_and_nothing_else(engine: TinyEngine) -> None:
    choice = engine.offer().first
    axes: dict[str, Any] = {
        "source": ["paperdoll:1", "paperdoll:2"],
        "scale": [0.5, 1],
        "length": [1, 3],
    }
    study = engine.study(choice, axes)
    assert (study.sources, study.scales, study.lengths) == (
        ("paperdoll:1", "paperdoll:2"), (0.5, 1.0), (1, 3),
    )  # fmt: skip
    assert (study.seeds, study.base) == ((choice.seed,), (choice.base,))
    assert len(engine.asked(choice, axes)) == 8
    with pytest.raises(StudyError, match="lengths"):
        engine.study(choice, {"length": [4]})


def test_missing_models_are_one_sentence(models: Path, tmp_path: Path) -> None:
    empty = TinyEngine(tmp_path / "nothing", tmp_path / "engine")
    said = empty.missing(empty.study(empty.offer().first))
    assert said.startswith("No pictures can be made yet: ") and said.endswith(".")


def test_what_is_in_use_and_what_is_in_the_way_is_said(
    engine: TinyEngine, tmp_path: Path, monkeypatch: Any
) -> None:
    assert engine.about(engine.offer().first) == "paperdoll (render) on cpu"
    real = ModelEngine("sd15", models_dir=tmp_path, device="cpu")
    first = real.offer().first
    monkeypatch.setenv("WORKBENCH_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "The first picture downloads" in real.about(first)
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    assert "No pictures can be made yet" in real.about(first)
    nowhere = ModelEngine("sd15", models_dir=tmp_path, device="cuda:77")
    assert "device" in nowhere.about(first).partition("No pictures can be made yet: ")[2]


def test_a_preview_says_what_the_map_lacks(engine: TinyEngine, tmp_path: Path) -> None:
    flat = engine.add_source("flat.png", encode_png(np.full((64, 64, 3), 90, np.uint8)), tmp_path)
    found = engine.preview(replace(engine.offer().first, source=flat))
    assert "cannot steer" in found.warning or "shows nothing" in found.warning, found.warning
    assert not found.control_map.any()


def test_a_window_in_which_the_control_never_works_is_said(engine: TinyEngine) -> None:
    choice = replace(engine.offer().first, control_start=0.3, control_end=0.4)
    assert "acts at no step" in engine.preview(choice).warning


def test_an_upload_keeps_its_bytes_and_a_safe_name(engine: TinyEngine, tmp_path: Path) -> None:
    data = encode_png(np.zeros((8, 8, 3), np.uint8))
    path = Path(engine.add_source("../../etc/pass wd.png", data, tmp_path))
    assert path.parent == tmp_path.resolve() and path.read_bytes() == data
    assert engine.add_source("../../etc/pass wd.png", data, tmp_path) == str(path)
    with pytest.raises(ImageError):
        engine.add_source("x.png", b"", tmp_path)


def test_a_file_that_is_no_picture_hides_no_other(monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "holiday.png").write_text("no picture")
    (tmp_path / "sources" / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    monkeypatch.setattr(engine_module, "data_dir", lambda: tmp_path)
    assert [path.name for path in engine_module._pictures()] == ["good.png"]


def test_a_real_family_is_offered_photographs(tmp_path: Path) -> None:
    engine = ModelEngine("sd15", models_dir=tmp_path)
    offer = engine.offer()
    assert offer.sources and not any(source.startswith("paperdoll") for source in offer.sources)
    assert offer.first.base in offer.bases and offer.first.control in offer.controls
    study = engine.study(offer.first)
    assert (study.family, study.steps) == ("sd15", engine.demo.steps)
    assert engine.to_download(study), "nothing of it is on this disk"
