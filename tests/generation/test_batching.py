"""Protects: one pipeline call never mixes what it cannot mix, and no trial is lost or doubled."""

import dataclasses

import pytest
from tiny_models import make_trial

from workbench.generation import BatchKey, plan_batches
from workbench.study import ControlUse

APART = {
    "base": "ink",
    "control": "canny",
    "steps": 5,
    "guidance_scale": 1.0,
    "scheduler": "ddim",
    "control_start": 0.2,
    "control_end": 0.8,
    "size": 128,
    "also": (ControlUse("hed", "{}", 0.5),),
}
TOGETHER = {
    "prompt": "other",
    "negative_prompt": "other",
    "seed": 9,
    "scale": 0.3,
    "source_sha256": "source-1",
    "control_settings": '{"low":50}',
    "networks": (("depth", "other"),),
}


@pytest.mark.parametrize("field", APART)
def test_settings_of_the_pipeline_call_keep_trials_apart(field: str) -> None:
    trials = [make_trial(), make_trial(**{field: APART[field]})]
    assert len(plan_batches(trials, 16)) == 2


@pytest.mark.parametrize("field", TOGETHER)
def test_what_differs_by_sample_shares_a_batch(field: str) -> None:
    trials = [make_trial(), make_trial(**{field: TOGETHER[field]})]
    assert len(plan_batches(trials, 16)) == 1


def test_pairs_of_the_same_types_share_a_batch_whatever_their_scales_and_settings() -> None:
    trials = [
        make_trial(scale=scale, also=(ControlUse("hed", text, 1.5 - scale),))
        for scale in (0.5, 1.0)
        for text in ("{}", '{"detail":1}')
    ]
    (batch,) = plan_batches([*trials, make_trial()], 16)[:1]
    assert batch.trials == tuple(trials)
    assert batch.key.controls == ("depth", "hed")


def test_the_two_lists_cover_every_field_of_a_trial_that_is_drawn_by_one_family() -> None:
    fields = {field.name for field in dataclasses.fields(make_trial())}
    assert fields - {"family", "picture"} == set(APART) | set(TOGETHER)


def test_every_trial_comes_once_and_batches_are_equal_as_can_be() -> None:
    trials = [make_trial(seed=i, control=None if i % 3 == 0 else "depth") for i in range(50)]
    batches = plan_batches(trials, 16)
    assert sorted(t.seed for b in batches for t in b.trials) == list(range(50))
    assert [len(b.trials) for b in batches] == [8, 11, 11, 9, 11]
    assert all(b.key == BatchKey.of(t) for b in batches for t in b.trials)


def test_groups_come_along_evenly_and_keep_their_batches() -> None:
    """A study of two controls, one of them with three times as many trials, and a small group."""
    sizes = {"depth": 96, "canny": 32, "hed": 3}
    trials = [make_trial(seed=i, control=name) for name, n in sizes.items() for i in range(n)]
    batches = plan_batches(trials, 16)
    for name in sizes:
        alone = plan_batches([t for t in trials if t.control == name], 16)
        assert tuple(b for b in batches if b.trials[0].control == name) == alone
    order = [batch.trials[0].control for batch in batches]
    assert set(order[:3]) == set(sizes), "all begin before any goes on"
    assert order[:4].count("depth") == 2 and order[4:].count("canny") == 1


def test_scale_zero_needs_no_controlnet() -> None:
    trials = [make_trial(scale=0.0, control_end=0.5), make_trial(control=None)]
    (batch,) = plan_batches(trials, 4)
    assert batch.key.controls == ()


def test_nothing_to_do_and_bad_sizes() -> None:
    assert plan_batches([], 4) == ()
    with pytest.raises(ValueError, match="batch_size"):
        plan_batches([make_trial()], 0)
