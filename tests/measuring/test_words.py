"""Protects words read by a family's judge of words: readings, chance, ceiling, old readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from workbench.families import Family, get_family
from workbench.families.words import WordReading
from workbench.measuring import Measurer
from workbench.study import Plan, Study, make_plan
from workbench.sweep.steps import learn_text_only


class BrightnessWords:
    """Sees "long hair" in bright pictures and "winter" in dark ones; knows no other word."""

    name = "brightness"
    validated = ""

    def knows(self, word: str) -> bool:
        return word in ("long hair", "winter")

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        bright = np.array([[image.mean() / 255] for image in images]).reshape(-1, 1)
        flip = np.array([word == "winter" for word in words])
        found = np.where(flip, 1 - bright, bright).astype(np.float32)
        return WordReading(found, found >= 0.5)


def with_words(world: str) -> Family:
    family = get_family("paperdoll")
    ref = {"loader": "vqa", "path": "some/words"}
    values = family.model_dump(exclude_unset=True) | {"world": world}
    return Family.model_validate(values | {"networks": {**values["networks"], "words": ref}})


def make_judges(plain: Any, world: str = "paperdoll") -> Any:
    """The plain judges, with the judge of words among the networks."""

    class WordJudges(type(plain)):  # type: ignore[misc]
        def networks(self) -> Mapping[str, Any]:
            return {**super().networks(), "words": BrightnessWords()}

    return WordJudges(with_words(world))


def values(rows: Sequence[Mapping[str, Any]], metric: str, figure: str = "value") -> set[float]:
    return {row[figure] for row in rows if row["metric"] == metric}


@pytest.mark.parametrize("kind", ["paperdoll", ""])
def test_the_judge_is_believed_about_the_words_it_knows(
    kind: str, plan: Plan, world: Any, noise: Callable[[int], np.ndarray]
) -> None:
    measurer = Measurer(plan, make_judges(world, kind))
    picture = noise(3)
    (found,) = measurer.measure([(plan.trials[0].id, picture)])
    bright = np.float32(picture.mean() / 255)
    assert list(values(found.rows, "tag:long hair")) == [pytest.approx(bright, abs=1e-6)]
    assert list(values(found.rows, "tag:winter")) == [pytest.approx(1 - bright, abs=1e-6)]
    assert list(values(found.rows, "tag_obeyed:long hair")) == [float(bright >= 0.5)]
    plain = Measurer(plan, type(world)(with_words(kind)))
    (by_clip,) = plain.measure([(plan.trials[0].id, picture)])
    assert values(found.rows, "tag:a girl") == values(by_clip.rows, "tag:a girl")  # not known


def test_the_ceiling_is_what_the_judge_says_of_scenes_with_the_words(
    plan: Plan, world: Any
) -> None:
    """And chance is exact in a world whose unrelated scenes show every word of a group alike."""
    measurer = Measurer(plan, make_judges(world))
    (found,) = measurer.measure([(plan.trials[0].id, np.full((128, 128, 3), 200, np.uint8))])
    pictures = measurer.references.pictures
    scenes = pictures.scenes_with(("a girl", "long hair", "winter"))
    wanted = np.mean([image.mean() / 255 for image in scenes])
    assert list(values(found.rows, "tag:long hair", "ceiling")) == [pytest.approx(wanted, abs=1e-6)]
    assert list(values(found.rows, "tag:long hair", "chance")) == [0.5]
    assert list(values(found.rows, "tag:winter", "chance")) == [0.25]


def test_without_a_world_chance_is_what_the_judge_says_of_the_other_sources(
    plan: Plan, world: Any
) -> None:
    measurer = Measurer(plan, make_judges(world, ""))
    (found,) = measurer.measure([(plan.trials[0].id, np.full((128, 128, 3), 200, np.uint8))])
    pictures = measurer.references.pictures
    cells = {cell.id: cell for cell in plan.cells}
    for row in (row for row in found.rows if row["metric"] == "tag:long hair"):
        others = pictures.pool_ids(cells[row["cell"]].source_sha256)
        wanted = np.mean([pictures.picture(name).mean() / 255 for name in others])
        assert row["chance"] == pytest.approx(wanted, abs=1e-6)


def test_without_a_world_the_ceiling_is_what_text_only_pictures_score(
    plan: Plan, world: Any, noise: Callable[[int], np.ndarray]
) -> None:
    measurer = Measurer(plan, make_judges(world, ""))
    full = plan.cells[0].full_prompt
    text_only = [t.id for t in plan.trials if t.control is None and t.prompt == full]
    pictures = {trial: noise(seed) for seed, trial in enumerate(text_only)}
    read = measurer.measure(list(pictures.items()))
    assert all(np.isnan(list(values(one.rows, "tag:winter", "ceiling"))).all() for one in read)
    embeddings = {trial: np.ones(12) / 12**0.5 for trial in text_only}
    learn_text_only(measurer, embeddings, {one.trial_id: one.rows for one in read})
    cell = next(c for c in plan.cells if c.trial_id == text_only[0])
    row = next(r for r in read[0].rows if r["cell"] == cell.id and r["metric"] == "tag:winter")
    wanted = np.mean([1 - picture.mean() / 255 for picture in pictures.values()])
    assert len(pictures) > 1
    assert measurer.refreshed(cell, [row])[0]["ceiling"] == pytest.approx(wanted, abs=1e-6)


def test_readings_of_another_question_are_read_again(
    make_study: Callable[..., Study], world: Any
) -> None:
    """Of earlier versions, of other alternatives, of another judge; all else is kept."""
    study = make_study()
    plan = make_plan(study, resolution=128)
    trial, picture = plan.trials[0].id, np.full((128, 128, 3), 90, np.uint8)
    measurer = Measurer(plan, world)
    (found,) = measurer.measure([(trial, picture)])
    cells = plan.cells_by_trial[trial]
    assert measurer.unmeasured(trial, found.rows) == ()
    older = [{k: v for k, v in row.items() if k != "asked"} for row in found.rows]
    assert measurer.unmeasured(trial, older) == cells
    given = make_study(alternatives={"long hair": ["bald head"]})
    other = Measurer(make_plan(given, resolution=128), world)
    assert other.unmeasured(trial, found.rows) == cells
    assert Measurer(plan, make_judges(world)).unmeasured(trial, found.rows) == cells
    (again,) = other.measure([(trial, picture)])
    changed = {
        old["metric"]
        for old, new in zip(found.rows, again.rows, strict=True)
        if repr(old["value"]) != repr(new["value"])
    }
    assert changed <= {f"{kind}:long hair" for kind in ("tag", "tag_obeyed", "tag_source")}
    assert "tag:long hair" in changed
