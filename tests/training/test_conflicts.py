"""Judges of words where prompt and control conflict: hybrids, detectors, the shipped set."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from workbench.paperdoll import TAG_GROUPS, render, sample_scene
from workbench.paperdoll.figure import FULL_STRAND, Parts
from workbench.paths import data_dir
from workbench.training.audit.conflicts import (
    LEAST,
    ConflictSet,
    load_set,
    save_set,
    verdicts,
)
from workbench.training.audit.pixels import UNSURE, pixel_answers
from workbench.training.conflict import SCALES, draw_conflicts
from workbench.training.data import render_arrays
from workbench.training.hybrids import girl_share, long_share, render_hybrids

WORDS = [tag for tags in TAG_GROUPS.values() for tag in tags]
CONTROLS, BASES = ("depth", "canny", "hed"), ("render", "ink")


@pytest.mark.parametrize(
    ("skirt", "legs", "bow", "share"),
    [(0, False, False, 0), (1, True, False, 1), (0, False, True, 0), (1, False, True, 1),
     (0.5, True, False, 0.5), (1, True, True, 1)],
)  # fmt: skip
def test_two_of_three_parts_make_a_girl(skirt: float, legs: bool, bow: bool, share: float) -> None:
    assert girl_share(Parts(skirt, legs, bow, (0, 0))) == share


def test_hair_is_long_by_what_hangs_down_and_undecided_in_between() -> None:
    def share(*strands: float) -> float:
        return long_share(Parts(0, False, False, (strands[0], strands[1])))

    assert share(0, 0) == 0 and share(FULL_STRAND, FULL_STRAND) == 1
    assert 0 < share(0.9, 0.9) < 1
    assert 0 < share(0, FULL_STRAND) < 1


def test_parts_are_free_of_the_tags_and_ordinary_scenes_keep_theirs() -> None:
    scene = sample_scene(7)
    assert np.array_equal(render(scene).rgb, render(scene, Parts.of(scene)).rgb)
    bare, dressed = (render(scene, Parts(s, False, False, (0, 0))).rgb for s in (0.0, 1.0))
    assert not np.array_equal(bare, dressed)


def test_hybrids_say_what_they_show_in_every_group() -> None:
    made = render_hybrids(range(540_000, 540_024))
    starts = np.cumsum([0, *(len(tags) for tags in TAG_GROUPS.values())])
    for first, last in itertools.pairwise(starts):
        assert np.allclose(made.seen[:, first:last].sum(1), 1)
    again = render_hybrids(range(540_010, 540_011))
    assert np.array_equal(made.rgb[10], again.rgb[0])
    assert np.array_equal(made.seen[10], again.seen[0])


def test_detectors_are_right_on_scenes_where_they_speak() -> None:
    held = render_arrays(range(710_400, 710_480))
    found = pixel_answers(held["rgb"], held["skeleton"], held["segmentation"])
    for group, name in enumerate(TAG_GROUPS):
        sure = found[:, group] != UNSURE
        assert sure.mean() > 0.3, name
        assert (found[sure, group] == held["tags"][sure, group]).mean() > 0.97, name


def test_conflicts_take_turns_and_mostly_contradict_their_source() -> None:
    made = draw_conflicts(5, range(540_000, 540_108), CONTROLS, BASES)
    assert made == draw_conflicts(5, range(540_000, 540_108), CONTROLS, BASES)
    assert len({(c.control, c.base, c.scale) for c in made}) == len(CONTROLS) * 2 * len(SCALES)
    words = [(word, c.scene.tags) for c in made for word in c.prompt]
    assert 0.7 < np.mean([word not in tags for word, tags in words]) < 0.9
    assert {len(c.prompt) for c in made} >= {1, 2, 4, 8}


def test_a_set_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = draw_conflicts(5, range(540_000, 540_030), CONTROLS, BASES)
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (30, 128, 128, 3), dtype=np.uint8)
    heard = np.stack([rng.integers(0, len(tags), 30) for tags in TAG_GROUPS.values()], 1)
    seen = np.where(rng.random(heard.shape) < 0.2, UNSURE, heard)
    save_set(ConflictSet(rgb, tuple(made), heard, seen), tmp_path)
    back = load_set(tmp_path)
    assert np.array_equal(back.rgb, rgb)
    assert back.conflicts == tuple(made)
    assert np.array_equal(back.auditor, heard) and np.array_equal(back.pixels, seen)
    assert np.array_equal(back.agreed, seen)


def test_verdicts_count_what_was_judged_right() -> None:
    rng = np.random.default_rng(1)
    truth = np.stack([rng.integers(0, len(tags), 400) for tags in TAG_GROUPS.values()], 1)
    truth[rng.random(truth.shape) < 0.1] = UNSURE
    seen = rng.random((400, len(WORDS))) < 0.5
    found = {v.word: v for v in verdicts(seen, truth)}
    assert list(found) == WORDS
    column, group = WORDS.index("red coat"), list(TAG_GROUPS).index("coat")
    known = [i for i in range(400) if truth[i, group] != UNSURE]
    shows = [i for i in known if truth[i, group] == TAG_GROUPS["coat"].index("red coat")]
    right = sum(bool(seen[i, column]) for i in shows) / len(shows)
    others = [i for i in known if i not in shows]
    wrong = sum(bool(seen[i, column]) for i in others) / len(others)
    assert found["red coat"].sensitivity == pytest.approx(right)
    assert found["red coat"].specificity == pytest.approx(1 - wrong)
    assert (found["red coat"].shown, found["red coat"].others) == (len(shows), len(others))


def test_a_word_that_hardly_occurs_gets_no_verdict() -> None:
    truth = np.zeros((LEAST + 3, len(TAG_GROUPS)), int)
    truth[: LEAST - 1] = 1
    assert verdicts(np.zeros((len(truth), len(WORDS)), bool), truth) == []


@pytest.mark.models
def test_the_judge_of_words_holds_on_the_conflict_set() -> None:
    """Every tag at least .90 balanced accuracy, .95 in the mean, calibrated within .05."""
    from workbench.families.manager import ModelManager

    made = load_set(data_dir() / "conflicts")
    assert len(made.rgb) >= 600
    assert {c.scale for c in made.conflicts} == set(SCALES)
    assert len({c.control for c in made.conflicts}) == 9
    read = ModelManager("paperdoll").words().read(list(made.rgb), WORDS)
    found = verdicts(read.seen, made.agreed, read.probability)
    assert {v.word for v in found} == set(WORDS)
    low = {v.word: v.balanced for v in found if v.balanced < 0.90}
    assert not low
    assert np.mean([v.balanced for v in found]) >= 0.95
    loose = {v.word: v.error for v in found if v.error > 0.05}
    assert not loose


@pytest.mark.models
def test_the_labels_are_those_that_the_two_outsiders_give() -> None:
    from workbench.paths import models_dir
    from workbench.training.audit.conflicts import label

    made = load_set(data_dir() / "conflicts")
    some = slice(0, None, 9)
    again = label(made.rgb[some], made.conflicts[some], models_dir() / "paperdoll")
    assert (again.auditor == made.auditor[some]).mean() > 0.995
    assert (again.pixels == made.pixels[some]).mean() > 0.995
