"""Protects chance and ceiling: their definition, their cache, and the ways to have none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.controls import get_control
from workbench.controls.canny import CannyControl
from workbench.images import fit_image
from workbench.measuring import Measurer, Reference
from workbench.measuring.cache import ReferenceCache
from workbench.measuring.per_tag import tag_question
from workbench.measuring.pictures import CEILING_SEEDS, POOL_SEEDS
from workbench.measuring.references import NO_POOL, NO_TEXT_ONLY
from workbench.metrics.spec import Reading
from workbench.paperdoll import TAG_GROUPS, render, sample_scene, scene_for_tags
from workbench.study import Plan, Study, make_plan

Judges = Any


def test_control_figures_are_those_of_a_plain_loop(plan: Plan, world: Judges) -> None:
    measurer = Measurer(plan, world)
    cell = next(cell for cell in plan.cells if cell.control == "canny")
    found = measurer.references.control(cell.map_key)

    control = get_control("canny")
    settings = control.settings_type.model_validate_json(cell.control_settings)
    source = plan.sources[cell.source].image
    wanted = control.extract([source], settings, {})[0]

    def read(image: np.ndarray, metric: str) -> float:
        got = control.extract([image // 16 * 16], settings, {})[0]
        return control.compare(got, wanted, settings)[metric].value

    pool = [render(sample_scene(seed)).rgb for seed in POOL_SEEDS]
    for metric, reference in found.items():
        assert reference.ceiling == pytest.approx(read(source, metric))
        assert reference.chance == pytest.approx(np.mean([read(p, metric) for p in pool]))
    assert control.noise(wanted, settings).value < found["canny_f1_matched"].chance


def test_chance_of_lines_is_not_less_than_that_of_noise(
    plan: Plan, world: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = next(cell.map_key for cell in plan.cells if cell.control == "canny")
    before = Measurer(plan, world).references.control(key)
    for noise, reading in ((0.9, Reading(0.9)), (None, Reading(0.0)), (None, Reading.nothing("x"))):
        monkeypatch.setattr(CannyControl, "noise", lambda *_, reading=reading: reading)
        now = Measurer(plan, world).references.control(key)
        wanted = before["canny_f1_matched"].chance if noise is None else noise
        assert now.pop("canny_f1_matched").chance == wanted
        assert now == {name: before[name] for name in now}


def test_prompt_figures_are_those_of_a_plain_loop(plan: Plan, world: Judges) -> None:
    references = Measurer(plan, world).references
    source = plan.cells[0].source_sha256
    prompt = "a girl, winter"
    text = world.clip().embed_texts([prompt])[0]

    def score(image: np.ndarray) -> float:
        embed = world.clip().embed_images([image // 16 * 16])[0]
        return 100 * max(float(embed @ text), 0)

    pool = [score(render(sample_scene(seed)).rgb) for seed in POOL_SEEDS]
    scenes = [score(render(scene_for_tags(("a girl", "winter"), s)).rgb) for s in CEILING_SEEDS]
    found = references.clip(prompt, source)
    assert found.chance == pytest.approx(np.mean(pool))
    assert found.ceiling == pytest.approx(np.mean(scenes))

    question = tag_question("winter", ("a girl", "winter"), TAG_GROUPS)
    tag = references.tag(question, source)
    assert 0 <= tag["tag"].chance <= 1
    assert tag["tag_obeyed"].ceiling * len(CEILING_SEEDS) == pytest.approx(
        round(tag["tag_obeyed"].ceiling * len(CEILING_SEEDS))
    )


def test_the_pool_shares_no_scene_with_ceilings() -> None:
    assert not set(POOL_SEEDS) & set(CEILING_SEEDS)


def test_the_cache_spares_all_work_and_knows_other_weights(
    plan: Plan, world: Judges, tmp_path: Path
) -> None:
    path = tmp_path / "references.json"
    cell = plan.cells[-1]

    def ask(judges: Judges) -> dict[str, Reference]:
        measurer = Measurer(plan, judges, path)
        found = measurer.references.control(cell.map_key)
        found |= {"clip": measurer.references.clip("snow", cell.source_sha256)}
        found |= {"near": measurer.references.clip_source(cell.source_sha256)}
        measurer.references.cache.save()
        return found

    first = ask(world)
    world.calls.clear()
    assert ask(world) == first
    assert not [call for call in world.calls if call.startswith("vae")]

    world.weight_hashes = lambda: {"base": "other"}
    ask(world)
    assert [call for call in world.calls if call.startswith("vae")]


def test_a_damaged_cache_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "references.json"
    path.write_text("{broken")
    cache = ReferenceCache(path)
    assert len(cache) == 0
    cache.put(["a"], {"m": Reference(0.1, math.nan, "why")})
    cache.save()
    again = ReferenceCache(path).get(["a"])
    assert again is not None
    assert again["m"].chance == 0.1
    assert math.isnan(again["m"].ceiling)
    assert again["m"].reason == "why"
    assert [p.name for p in tmp_path.iterdir()] == ["references.json"]


def test_a_cache_takes_up_what_another_process_saves(tmp_path: Path) -> None:
    mine, theirs = (ReferenceCache(tmp_path / "references.json") for _ in range(2))
    for name in ("a", "b"):
        assert mine.get([name]) is None
        theirs.put([name], {"m": Reference(0.1, 0.2, "")})
        assert mine.get([name]) is None
        theirs.save()
        assert mine.get([name]) == {"m": Reference(0.1, 0.2, "")}


def test_without_a_world_chance_is_over_the_other_sources(
    make_study: Callable[..., Study], no_world: Judges
) -> None:
    labels = ["paperdoll:900001", "paperdoll:900002", "paperdoll:900003"]
    plan = make_plan(make_study(sources=labels), resolution=128)
    references = Measurer(plan, no_world).references
    sources = [plan.sources[label] for label in labels]
    text = no_world.clip().embed_texts(["snow"])[0]
    pictures = [fit_image(s.image, 128) // 16 * 16 for s in sources[1:]]
    expected = np.mean([100 * float(e @ text) for e in no_world.clip().embed_images(pictures)])

    found = references.clip("snow", sources[0].sha256)
    assert found.chance == pytest.approx(expected)
    assert math.isnan(found.ceiling)
    assert found.reason == NO_TEXT_ONLY

    own = no_world.clip().embed_images([sources[0].image])
    references.learn_text_only({"snow": own})
    late = references.clip("snow", sources[0].sha256)
    assert late.ceiling == pytest.approx(100 * float(own[0] @ text))
    assert late.reason == ""


def test_one_source_without_a_world_has_no_chance(
    make_study: Callable[..., Study], no_world: Judges
) -> None:
    plan = make_plan(make_study(sources=["paperdoll:900001"]), resolution=128)
    references = Measurer(plan, no_world).references
    found = references.control(plan.cells[0].map_key)
    assert all(math.isnan(ref.chance) and ref.reason == NO_POOL for ref in found.values())
    assert references.clip("snow", plan.cells[0].source_sha256).reason == NO_POOL
