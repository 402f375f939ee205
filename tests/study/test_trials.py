"""Protects the identity of trials: runs made today must be found again by later versions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.study import ControlUse, Trial

TRIAL = Trial(
    family="paperdoll",
    base="render",
    control="canny",
    control_settings='{"high":200,"low":100}',
    source_sha256="ab" * 32,
    prompt="a girl, schwarzes Haar, 雪",
    negative_prompt="",
    seed=7,
    steps=20,
    guidance_scale=5.0,
    scheduler="unipc",
    scale=0.8,
    control_start=0.0,
    control_end=1.0,
    size=128,
)


def test_the_id_is_what_it_always_was() -> None:
    assert TRIAL.id == "10909a1f624aef94"


def test_the_id_can_be_computed_by_hand() -> None:
    text = (
        '{"base":"render","control":"canny","control_end":1.0,'
        '"control_settings":"{\\"high\\":200,\\"low\\":100}","control_start":0.0,'
        '"family":"paperdoll","guidance_scale":5.0,"negative_prompt":"",'
        '"prompt":"a girl, schwarzes Haar, \\u96ea","scale":0.8,"scheduler":"unipc","seed":7,'
        f'"size":128,"source_sha256":"{"ab" * 32}","steps":20}}'
    )
    assert TRIAL.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_every_field_counts() -> None:
    changes = {
        "family": "sd15",
        "base": "ink",
        "control": "depth",
        "control_settings": "{}",
        "source_sha256": "cd" * 32,
        "prompt": "a girl",
        "negative_prompt": "rain",
        "seed": 8,
        "steps": 21,
        "guidance_scale": 5.5,
        "scheduler": "ddim",
        "scale": 0.9,
        "control_start": 0.1,
        "control_end": 0.9,
        "size": 256,
    }
    assert set(changes) == set(TRIAL.to_dict())
    ids = {replace(TRIAL, **{name: value}).id for name, value in changes.items()}
    assert len(ids | {TRIAL.id}) == len(changes) + 1


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.1 + 0.2, 0.3), (-0.0, 0.0), (0.5, 0.50)])
def test_equal_numbers_give_equal_ids(one: float, other: float) -> None:
    assert replace(TRIAL, scale=one).id == replace(TRIAL, scale=other).id


@given(
    scale=st.floats(0, 10),
    seed=st.integers(0, 2**32 - 1),
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_a_trial_survives_json(scale: float, seed: int, prompt: str) -> None:
    trial = replace(TRIAL, scale=scale, seed=seed, prompt=prompt)
    back = Trial.from_dict(json.loads(json.dumps(trial.to_dict())))
    assert back == trial and back.id == trial.id


def test_not_a_number_has_no_id() -> None:
    with pytest.raises(ValueError, match=r"(?i)nan|float"):
        _ = replace(TRIAL, scale=float("nan")).id


@pytest.mark.parametrize("data", [{}, {**TRIAL.to_dict(), "more": 1}])
def test_from_dict_refuses_other_keys(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="keys"):
        Trial.from_dict(data)


def test_control_and_source_go_together() -> None:
    with pytest.raises(ValueError, match="neither"):
        replace(TRIAL, control=None)
    assert replace(TRIAL, control=None, source_sha256=None).map_key is None
    assert TRIAL.map_key == ("ab" * 32, "canny", '{"high":200,"low":100}')


PAIR = replace(TRIAL, also=(ControlUse("depth", "{}", 0.3),))


def test_a_second_control_counts_and_survives_json() -> None:
    others = (
        (),
        (ControlUse("depth", "{}", 0.4),),
        (ControlUse("depth", '{"near":1}', 0.3),),
        (ControlUse("hed", "{}", 0.3),),
    )
    ids = {replace(TRIAL, also=also).id for also in others}
    assert len(ids | {PAIR.id}) == 5
    back = Trial.from_dict(json.loads(json.dumps(PAIR.to_dict())))
    assert back == PAIR and back.id == PAIR.id


def test_the_id_of_a_pair_stays_what_it_is() -> None:
    assert PAIR.id == "48a882c4ea4816c3"
    assert "also" not in TRIAL.to_dict()


def test_the_controls_of_a_trial_are_those_that_steer() -> None:
    first = ControlUse("canny", TRIAL.control_settings, 0.8)
    assert TRIAL.controls == (first,)
    assert PAIR.controls == (first, ControlUse("depth", "{}", 0.3))
    assert PAIR.map_keys == (TRIAL.map_key, ("ab" * 32, "depth", "{}"))
    assert replace(TRIAL, scale=0.0).controls == ()
    assert replace(TRIAL, control=None, source_sha256=None).map_keys == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"also": (ControlUse("canny", "{}", 0.3),)},
        {"control": "pose", "also": (ControlUse("depth", "{}", 0.3),)},
        {"also": (ControlUse("depth", "{}", 0.0),)},
        {"scale": 0.0, "also": (ControlUse("depth", "{}", 0.3),)},
        {"control": None, "source_sha256": None, "also": (ControlUse("depth", "{}", 0.3),)},
    ],
    ids=["one type twice", "order", "second at 0", "first at 0", "no first"],
)
def test_a_pair_is_written_in_one_way_only(changes: dict[str, object]) -> None:
    """Else one picture would have two ids."""
    with pytest.raises(ValueError, match="alphabetical order"):
        replace(TRIAL, **changes)
