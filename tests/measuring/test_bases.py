"""Protects what is said between base models: only the base may differ, and equal means nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import workbench.study.plan
from workbench.controls import CONTROL_NAMES, ControlMap, get_control
from workbench.measuring.across import StructureDistances
from workbench.measuring.adherence import Reference
from workbench.measuring.bases import (
    BASES_POSE,
    BASES_STRUCTURE,
    NO_OTHER,
    base_groups,
    base_rows,
    pose_needs,
)
from workbench.paperdoll import render, sample_scene
from workbench.study import Cell, Choices, FamilyChoice, Plan, Study, make_plan

Judges = Any
APART = Reference(0.9, 0.1)


@pytest.fixture
def two(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The small study on two base models."""
    known = Choices(
        {"paperdoll": FamilyChoice(("render", "ink"), ("depth", "canny"))},
        lambda name: get_control(name).settings_type,
    )
    monkeypatch.setattr(workbench.study.plan, "installed_choices", lambda: known)
    return make_plan(make_study(base=["render", "ink"]), resolution=128)


def figure(shift: float) -> np.ndarray:
    """A standing person 40 pixels wide in 128×128, moved right by `shift` pixels; (1, 18, 3)."""
    joints = np.zeros((1, 18, 3), np.float32)
    joints[0, :, 0] = (50 + 2.0 * np.arange(18) + shift) / 128
    joints[0, :, 1] = (20 + 5.0 * np.arange(18)) / 128
    joints[0, :, 2] = 1
    return joints


def distances(maps: Mapping[str, ControlMap], of: str) -> StructureDistances:
    """The maps for the control `of`, and edges of nothing for any other."""
    blank = ControlMap(np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128), bool))
    return StructureDistances(lambda trial, name, _: maps[trial] if name == of else blank)


def rows_of(group: tuple[Cell, ...], data: list[np.ndarray], **more: Any) -> list[dict[str, Any]]:
    blank = np.zeros((128, 128, 3), np.uint8)
    maps = {c.trial_id: ControlMap(blank, d) for c, d in zip(group, data, strict=True)}
    more = {"made": set(maps), "stored": {}, "pose": True, "refer": lambda *_: APART} | more
    of = "pose" if more["pose"] else group[0].control
    return base_rows(group, distances=distances(maps, of), **more)


def test_groups_differ_in_the_base_alone(two: Plan, plan: Plan) -> None:
    groups = base_groups(two)
    assert sum(len(group) for group in groups) == len(two.cells)
    for group in groups:
        assert sorted(cell.base for cell in group) == ["ink", "render"]
        kinds = {(c.source, c.control, c.variant, c.scale, c.seed, c.partner) for c in group}
        assert len(kinds) == 1
    assert base_groups(plan) == []  # one base: nothing to compare


def test_the_same_pose_is_no_difference_and_another_place_is_a_whole_one(two: Plan) -> None:
    group = base_groups(two)[0]
    for shift, expected in ((0.0, 0.0), (60.0, 1.0)):
        rows = [
            row for row in rows_of(group, [figure(0), figure(shift)]) if row["metric"] == BASES_POSE
        ]
        assert [row["value"] for row in rows] == pytest.approx([expected, expected])
        assert {row["cell"] for row in rows} == {cell.id for cell in group}


def test_nobody_in_the_picture_is_nothing_with_a_reason(two: Plan) -> None:
    nobody = np.zeros((0, 18, 3), np.float32)
    rows = rows_of(base_groups(two)[0], [nobody, nobody])
    pose = [row for row in rows if row["metric"] == BASES_POSE]
    assert all(np.isnan(row["value"]) and "no person" in row["reason"] for row in pose)


def test_a_person_lost_on_one_base_is_a_whole_difference(two: Plan) -> None:
    nobody = np.zeros((0, 18, 3), np.float32)
    for data in ([figure(0), nobody], [nobody, figure(0)]):
        rows = rows_of(base_groups(two)[0], data)
        assert [row["value"] for row in rows if row["metric"] == BASES_POSE] == [1.0, 1.0]


@pytest.mark.parametrize("control", CONTROL_NAMES)
def test_what_one_picture_lost_is_as_far_as_if_nothing_were_kept(control: str) -> None:
    kind, scene = get_control(control), render(sample_scene(2))
    blank = np.zeros_like(scene.rgb)
    lent = {
        "depth": lambda batch: batch.mean(axis=3).astype(np.float32),
        "edges": lambda batch: (batch[..., 0] > 250).astype(np.float32),
        "normal": lambda batch: batch / np.float32(255) + np.float32([0, 0, 0.1]),
        "segmentation": lambda batch: batch[..., 0] // 16,
        "pose": lambda batch: np.repeat(figure(0)[None] * (batch.max() > 0), len(batch), axis=0),
    }
    settings = kind.settings()
    full, empty = (kind.extract([p], settings, lent)[0] for p in (scene.rgb, blank))
    maps = {"a": full, "b": empty}
    measure = StructureDistances(lambda trial, *_: maps[trial])._distance
    spec = kind.metric(kind.primary)
    forth = kind.compare(empty, full, settings)[kind.primary].value
    lost = measure("a", "b", control, settings.canonical())
    assert lost == measure("b", "a", control, settings.canonical())
    if kind.compare(full, empty, settings)[kind.primary].is_nan:
        assert lost.value == pytest.approx(1 - forth if spec.higher_is_better else forth)
        assert lost.value > 0.9
        maps["a"] = empty
        none = measure("a", "b", control, settings.canonical())
        assert none.is_nan and none.reason


def test_structure_is_the_controls_own_distance(two: Plan) -> None:
    group = next(g for g in base_groups(two) if g[0].control == "depth" and g[0].scale == 1)
    ramp = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (128, 1))
    for other, expected in ((ramp, 0.0), (1 - ramp, 2.0)):  # 1 - Pearson's r
        rows = rows_of(group, [ramp, other], pose=False)
        assert {row["metric"] for row in rows} == {BASES_STRUCTURE}
        assert [row["value"] for row in rows] == pytest.approx([expected, expected], abs=1e-5)


def test_a_lost_picture_leaves_the_other_without_a_peer(two: Plan) -> None:
    group = base_groups(two)[0]
    rows = rows_of(group, [figure(0), figure(0)], made={group[0].trial_id})
    reasons = {(row["cell"], row["reason"]) for row in rows}
    assert reasons == {(group[0].id, NO_OTHER), (group[1].id, "the sample failed")}


def test_readings_of_the_same_pictures_are_kept(two: Plan) -> None:
    group = base_groups(two)[0]
    first = rows_of(group, [figure(0), figure(60)])
    kept = {(row["cell"], row["metric"]): row | {"value": 0.25} for row in first}
    again = rows_of(group, [figure(0), figure(60)], stored=kept)
    assert {row["value"] for row in again} == {0.25}
    renewed = rows_of(
        group, [figure(0)] * 2, stored={k: v | {"peers": "x"} for k, v in kept.items()}
    )
    assert {row["value"] for row in renewed if row["metric"] == BASES_POSE} == {0.0}


def test_the_pose_network_is_used_only_where_its_weights_are_loaded_anyway(
    two: Plan, plan: Plan, world: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pose_needs(two, world) == []  # these judges lend no poses
    lent = dict(world.networks()) | {"pose": lambda batch: batch}
    monkeypatch.setattr(world, "networks", lambda: lent, raising=False)
    assert pose_needs(two, world) == ["pose"]  # depth and pose are one judge in this family
    assert pose_needs(plan, world) == []  # one base
    refs = dict(world.family.networks)
    refs["pose"] = refs["pose"].model_copy(update={"path": "elsewhere"})
    world.family = world.family.model_copy(update={"networks": refs})
    assert pose_needs(two, world) == []
