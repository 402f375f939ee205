"""Protects: what is said of a step is what its four predictions say, and looking changes nothing.

The picture must stay the sweep's, the parts must be those of the network and add up to what the
sampler gets, and what cannot pull must be exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import make_samples
from tiny_families import FAMILIES, write_tiny_families
from tiny_models import PROMPTS, make_maps, make_trial
from tiny_run import TinyManager, make_study

from workbench.families.manager import ModelManager
from workbench.generation import sampler
from workbench.influences import PARTS, Influence, figures_of, making, parts_of
from workbench.influences.making import Watched, watch
from workbench.study import ControlUse, Trial
from workbench.sweep import run_study

MAPS = make_maps()
MIXED = [
    make_trial(seed=i, prompt=PROMPTS[i % 2], scale=scale, source_sha256=f"source-{i % 2}")
    for i, scale in enumerate((0.4, 1.0, 1.6))
]


def look(
    trials: Sequence[Trial], manager: ModelManager, size: int = 4, at: Sequence[int] = ()
) -> dict[str, Watched]:
    found = [one for batch in watch(trials, MAPS, manager, at, batch_size=size) for one in batch]
    assert all(one.way is not None for one in found)
    return {one.result.trial.id: one for one in found}


def way_of(found: dict[str, Watched], trial: Trial) -> np.ndarray:
    way = found[trial.id].way
    assert way is not None
    return np.stack(way.products)


def products(trial: Trial, manager: ModelManager) -> np.ndarray:
    return way_of(look([trial], manager), trial)


def test_the_picture_is_the_one_that_the_sweep_makes(
    seen: Influence, manager: TinyManager, tmp_path: Path
) -> None:
    run = run_study(make_study(), tmp_path / "run", manager=manager)
    steered = [record.trial for record in run.records() if record.trial.controls]
    assert {trial.id for trial in steered} == set(seen.trials["trial"]) and len(steered) == 8
    for trial in steered:
        np.testing.assert_array_equal(seen.picture(trial.id), run.read_sample(trial.id))


def test_the_parts_add_up_to_what_the_sampler_gets(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[np.ndarray] = []
    parts: list[np.ndarray] = []

    def spied(name: str, config: Any) -> Any:
        scheduler = make(name, config)
        step = scheduler.step

        def recorded(prediction: Any, *args: Any, **named: Any) -> Any:
            taken.append(prediction.double().numpy())
            return step(prediction, *args, **named)

        scheduler.step = recorded
        return scheduler

    def kept(*halves: Any) -> np.ndarray:
        parts.append(parts_of(*halves))
        return parts[-1]

    make = sampler.make_scheduler
    monkeypatch.setattr(sampler, "make_scheduler", spied)
    monkeypatch.setattr(making, "parts_of", kept)
    found = look(MIXED, warm_manager)
    guidance = MIXED[0].guidance_scale
    assert len(taken) == len(parts) == MIXED[0].steps
    for guided, (base, control, text, interaction) in zip(taken, parts, strict=True):
        sum_ = base + control + guidance * (text + interaction)
        np.testing.assert_allclose(sum_, guided, atol=1e-5)
    for row, trial in enumerate(MIXED):
        way = found[trial.id].way
        assert way is not None
        figures = figures_of(np.stack(way.products), guidance)
        rms = [np.sqrt((guided[row] ** 2).mean()) for guided in taken]
        np.testing.assert_allclose(figures["guided"], rms, rtol=1e-5)
        shares = sum(figures[f"share of {name}"] for name in PARTS)
        np.testing.assert_allclose(shares, 1, rtol=1e-9)
        assert (figures["text"] > 1e-3).all() and (figures["control"] > 1e-3).all()
    # Without the control the first prediction is that of the pipeline without a ControlNet.
    taken.clear()
    first = parts[0]
    make_samples([make_trial(control=None, seed=0)], MAPS, warm_manager)
    np.testing.assert_allclose(first[0, 0] + guidance * first[2, 0], taken[0][0], atol=1e-5)


def test_what_cannot_pull_is_exactly_nothing(warm_manager: ModelManager) -> None:
    """No control; a control out of its window; a prompt that is the negative one."""
    for trial, still in (
        (make_trial(control=None), slice(None)),
        (make_trial(scale=0.0), slice(None)),
        (make_trial(control_end=0.5), slice(2, None)),
    ):
        figures = figures_of(products(trial, warm_manager)[still], trial.guidance_scale)
        for name in ("control", "interaction", "guided control", "share of control"):
            assert (figures[name] == 0).all()
        assert (figures["text"] > 0).all()
    assert figures_of(products(trial, warm_manager)[:2], 1.5)["control"].min() > 0
    for same in ("", "a boy, snow"):
        trial = make_trial(prompt=same, negative_prompt=same)
        other = make_trial(prompt="a girl", negative_prompt=same, seed=1)
        for beside in ([trial], [other, trial]):  # one batch
            found = look(beside, warm_manager)
            figures = figures_of(way_of(found, trial), trial.guidance_scale)
            for name in ("text", "interaction", "guided text", "share of text"):
                assert (figures[name] == 0).all()
            assert (figures["control"] > 0).all()
        assert figures_of(way_of(found, other), trial.guidance_scale)["text"].min() > 1e-3
    empty = make_trial(prompt="", negative_prompt="snow")
    assert figures_of(products(empty, warm_manager), 5.0)["text"].min() > 1e-3


def test_a_batch_says_what_single_pictures_say(warm_manager: ModelManager) -> None:
    together, alone = (look(MIXED, warm_manager, size, at=(2,)) for size in (3, 1))
    for trial in MIXED:
        one, other = together[trial.id].way, alone[trial.id].way
        assert one is not None and other is not None
        assert one.times == other.times and one.maps.keys() == other.maps.keys() == {2}
        np.testing.assert_allclose(one.products, other.products, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(one.maps[2], other.maps[2], rtol=1e-3, atol=1e-4)
        # A map's mean square is that of the whole latent.
        figures = figures_of(one.products[1], trial.guidance_scale)
        squares = (one.maps[2].astype(float) ** 2).mean(axis=(1, 2))
        told = [figures[name] ** 2 for name in ("text", "control", "interaction")]
        np.testing.assert_allclose(squares, told, rtol=1e-4)


def test_a_batch_that_fails_is_looked_at_again_in_halves(
    warm_manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = look(MIXED[:2], warm_manager)
    calls: list[int] = []

    def short(controlled: Any, *others: Any) -> np.ndarray:
        calls.append(len(controlled))
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return parts_of(controlled, *others)

    monkeypatch.setattr(making, "parts_of", short)
    halves = look(MIXED[:2], warm_manager)
    for trial in MIXED[:2]:
        one, other = whole[trial.id].way, halves[trial.id].way
        assert one is not None and other is not None
        np.testing.assert_allclose(one.products, other.products, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelManager]:
    models = tmp_path_factory.mktemp("models")
    write_tiny_families(models)
    return {name: ModelManager(family, models_dir=models) for name, family in FAMILIES.items()}


def test_every_architecture_can_be_asked(families: dict[str, ModelManager]) -> None:
    """SDXL, union and flow-matching models, and pairs of controls."""
    for name, manager in families.items():
        values: dict[str, Any] = {"family": name, "base": "one", "steps": 2, "scheduler": "euler"}
        trials = [make_trial(**values)]
        if not manager.family.pair_problem("canny", "depth"):
            also = (ControlUse("depth", "{}", 0.5),)
            trials.append(make_trial(**values, control="canny", also=also))
        found = look(trials, manager)
        for result in make_samples(trials, MAPS, manager):
            one = found[result.trial.id]
            assert one.way is not None and one.result.image is not None
            np.testing.assert_array_equal(one.result.image, result.image)
            figures = figures_of(np.stack(one.way.products), result.trial.guidance_scale)
            assert figures["text"].min() > 0 and figures["control"].min() > 0
            assert bool(one.way.words) == hasattr(manager.pipeline(None), "unet")
