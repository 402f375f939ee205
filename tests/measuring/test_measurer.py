"""Protects the rows that come off a sample: complete, paired with their cell, never silent NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench import measuring
from workbench.measuring import Measurer, embedding_of, metric_spec
from workbench.measuring.across import StructureDistances, clip_diversity, seed_groups
from workbench.measuring.measurer import EMPTY_PROMPT, pack, unpack
from workbench.study import Plan, Study, make_plan

Judges = Any
Noise = Callable[[int], np.ndarray]


def test_every_cell_of_a_shared_picture_gets_all_its_rows(
    plan: Plan, world: Judges, noise: Noise
) -> None:
    measurer = Measurer(plan, world)
    shared = max(plan.trials, key=lambda t: len(plan.cells_by_trial[t.id]))
    cells = plan.cells_by_trial[shared.id]
    assert len(cells) == 4  # two sources, two controls, one text-only picture
    (found,) = measurer.measure([(shared.id, noise(0))])
    for cell in cells:
        names = [row["metric"] for row in found.rows if row["cell"] == cell.id]
        assert sorted(names) == sorted(measurer.expected(cell))
        assert len(set(names)) == len(names)
    assert measurer.unmeasured(shared.id, found.rows) == ()
    assert measurer.unmeasured(shared.id, found.rows[1:]) == cells[:1]
    for row in found.rows:
        assert row["trial"] == shared.id
        if math.isnan(row["value"]) or math.isnan(row["adherence"]):
            assert row["reason"]
        else:
            assert row["reason"] == ""


def test_the_source_itself_measures_as_its_own_ceiling(plan: Plan, world: Judges) -> None:
    cell = next(c for c in plan.cells if c.control == "depth" and c.scale == 1)
    measurer = Measurer(plan, world)
    image = plan.sources[cell.source].image // 16 * 16
    (found,) = measurer.measure([(cell.trial_id, image)])
    rows = {row["metric"]: row for row in found.rows if row["cell"] == cell.id}
    assert rows["depth_pearson"]["value"] == pytest.approx(rows["depth_pearson"]["ceiling"])
    assert rows["depth_pearson"]["adherence"] == pytest.approx(1.0)
    assert rows["clip_source"]["value"] == pytest.approx(rows["clip_source"]["ceiling"])


def test_an_empty_prompt_has_no_score(plan: Plan, world: Judges, noise: Noise) -> None:
    cell = next(c for c in plan.cells if c.variant.length == 0)
    (found,) = Measurer(plan, world).measure([(cell.trial_id, noise(1))])
    rows = {row["metric"]: row for row in found.rows if row["cell"] == cell.id}
    assert math.isnan(rows["clip_used"]["value"])
    assert rows["clip_used"]["reason"] == EMPTY_PROMPT
    assert not math.isnan(rows["clip_full"]["value"])
    assert not math.isnan(rows["tag:winter"]["value"])


def test_a_failed_sample_gives_reasons_not_numbers(plan: Plan, world: Judges) -> None:
    measurer = Measurer(plan, world)
    trial = plan.trials[-1]
    found = measurer.failed(trial.id, "black")
    assert measurer.unmeasured(trial.id, found.rows) == ()
    assert all(math.isnan(row["value"]) for row in found.rows)
    assert all(math.isnan(row["adherence"]) for row in found.rows)
    assert all("black" in row["reason"] for row in found.rows)


def test_refreshing_changes_nothing_while_references_stand(
    plan: Plan, world: Judges, noise: Noise
) -> None:
    measurer = Measurer(plan, world)
    cells = {cell.id: cell for cell in plan.cells}
    (found,) = measurer.measure([(plan.trials[0].id, noise(2))])
    for row in found.rows:
        stored = {k: None if v != v else v for k, v in row.items()}
        (again,) = measurer.refreshed(cells[row["cell"]], [stored])
        assert {k: None if v != v else v for k, v in again.items()} == stored


def test_batches_measure_as_single_samples(plan: Plan, world: Judges, noise: Noise) -> None:
    samples = [(trial.id, noise(i)) for i, trial in enumerate(plan.trials[:4])]
    together = Measurer(plan, world).measure(samples)
    alone = [Measurer(plan, world).measure([sample])[0] for sample in samples]
    for a, b in zip(together, alone, strict=True):
        assert [r["metric"] for r in a.rows] == [r["metric"] for r in b.rows]
        np.testing.assert_allclose(
            [r["value"] for r in a.rows], [r["value"] for r in b.rows], atol=1e-9
        )


def test_source_maps_serve_cells_and_trials(plan: Plan, world: Judges) -> None:
    maps = Measurer(plan, world).source_maps
    assert all(cell.map_key in maps for cell in plan.cells)
    assert all(trial.map_key in maps for trial in plan.trials if trial.map_key)


def test_comparison_settings_share_one_picture(
    make_study: Callable[..., Study], world: Judges, noise: Noise
) -> None:
    controls = [{"type": "canny"}, {"type": "canny", "settings": {"tolerance": 0.05}}]
    plan = make_plan(make_study(controls=controls), resolution=128)
    trial = next(t for t in plan.trials if t.control)
    assert len(plan.cells_by_trial[trial.id]) == 2
    (found,) = Measurer(plan, world).measure([(trial.id, noise(3))])
    strict, wide = [r["value"] for r in found.rows if r["metric"] == "canny_f1"]
    assert wide > strict


def test_embeddings_survive_the_record(world: Judges, noise: Noise) -> None:
    vector = world.clip().embed_images([noise(4)])[0]
    np.testing.assert_allclose(unpack(pack(vector)), vector, atol=1e-3)
    assert embedding_of({}) is None


def test_diversity_of_looks_averages_to_the_mean_over_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - float(vectors[i] @ vectors[j]) for i in range(4) for j in range(i)]
    found = [reading.value for reading in clip_diversity(list(vectors))]
    assert np.mean(found) == pytest.approx(np.mean(pairs))
    assert clip_diversity([vectors[0]])[0].is_nan


def test_structural_diversity_is_nothing_for_equal_pictures(
    plan: Plan, world: Judges, noise: Noise
) -> None:
    measurer = Measurer(plan, world)
    group = seed_groups(plan)[0]
    assert len(group) == 2

    def distances(shift: int) -> list[float]:
        pictures = dict(
            zip(
                [c.trial_id for c in group],
                [noise(5), np.roll(noise(5), shift, axis=1)],
                strict=True,
            )
        )
        found = StructureDistances(
            lambda trial, name, settings: measurer.extract(name, settings, [pictures[trial]])[0]
        )
        return [reading.value for reading in found.readings(group)]

    assert distances(0) == pytest.approx([0, 0], abs=1e-6)
    a, b = distances(8)
    assert a == b > 0.05


def test_seed_groups_differ_in_the_seed_alone(plan: Plan) -> None:
    groups = seed_groups(plan)
    assert sum(len(group) for group in groups) == len(plan.cells)
    for group in groups:
        assert sorted(cell.seed for cell in group) == [1, 2]
        assert len({(c.source, c.control, c.variant, c.scale, c.base) for c in group}) == 1


def test_maps_of_samples_are_kept_within_their_budget(
    plan: Plan, world: Judges, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 128 * 128 * 4  # a picture and a bool map
    monkeypatch.setattr(measuring.measurer, "MAP_BYTES", 2 * size)
    asked: list[str] = []

    def picture(trial: str) -> np.ndarray:
        asked.append(trial)
        return np.repeat(noise(0), 2, axis=0) if trial == "large" else noise(0)

    map_of = Measurer(plan, world).maps_of(picture)
    for trial in ("a", "b", "b", "c", "c", "a", "large", "large"):
        assert map_of(trial, "canny", "{}").data.dtype == bool
    # "a" was forgotten for "c"; twice as large a map just fits, and would alone.
    assert asked == ["a", "b", "c", "a", "large"]
    monkeypatch.setattr(measuring.measurer, "MAP_BYTES", size)
    map_of = Measurer(plan, world).maps_of(picture)
    asked.clear()
    for trial in ("large", "large"):
        assert map_of(trial, "canny", "{}").data.shape[0] == 256
    assert asked == ["large", "large"], "what exceeds the budget is not kept, and no error"


@pytest.mark.parametrize("name", ["clip_used", "tag:long hair", "tag_obeyed:x", "canny_f1"])
def test_every_metric_has_a_name_plate(name: str) -> None:
    assert metric_spec(name).label


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(KeyError, match="no metric"):
        metric_spec("nonsense")
