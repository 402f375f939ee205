"""Protects: what training keeps on disk is never taken for what another training asks for.

Fewer scenes to try a stage out, another judge, another encoder: each would train on the wrong rows
without a word.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from workbench.families.judge import Judge
from workbench.training.controlnet import control_maps
from workbench.training.data import WorldData, render_arrays, world_data
from workbench.training.latents import latents_of
from workbench.training.vae import new_vae


@pytest.fixture(scope="module", name="data")
def _data() -> WorldData:
    return WorldData(**render_arrays(range(6)))


def first(data: WorldData, count: int) -> WorldData:
    return WorldData(**{f.name: getattr(data, f.name)[:count] for f in fields(data)})


@pytest.fixture(name="judges")
def _judges(monkeypatch: pytest.MonkeyPatch) -> list[Judge]:
    """Two judges; the first element of the list is the one that is installed."""
    made = [Judge((8, 8, 16, 16)).eval() for _ in range(2)]
    monkeypatch.setattr("workbench.families.judge.load_judge", lambda _: made[0])
    return made


def test_another_judge_draws_other_maps(
    tmp_path: Path, data: WorldData, judges: list[Judge]
) -> None:
    old = np.array(control_maps(tmp_path, "depth", tmp_path, data))
    edges = np.array(control_maps(tmp_path, "canny", tmp_path, data))
    judges.reverse()
    assert not np.array_equal(control_maps(tmp_path, "depth", tmp_path, data), old)
    assert np.array_equal(control_maps(tmp_path, "canny", tmp_path, data), edges)
    assert len(list(tmp_path.glob("maps-canny-*.npy"))) == 1  # no network, so not made again
    judges.reverse()
    assert np.array_equal(control_maps(tmp_path, "depth", tmp_path, data), old)


def test_other_settings_draw_other_maps(
    tmp_path: Path, data: WorldData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.controls import get_control

    old = np.array(control_maps(tmp_path, "canny", tmp_path, data))
    changed = get_control("canny").settings({"low": 10, "high": 30})
    monkeypatch.setattr("workbench.training.controlnet.map_settings", lambda _: changed)
    assert not np.array_equal(control_maps(tmp_path, "canny", tmp_path, data), old)


@pytest.mark.parametrize("counts", [(2, 6), (6, 2)])
def test_maps_and_latents_are_of_the_scenes_asked_for(
    tmp_path: Path, data: WorldData, counts: tuple[int, int]
) -> None:
    vae = new_vae().eval()
    for count in counts:
        assert len(control_maps(tmp_path, "canny", tmp_path, first(data, count))) == count
        assert len(latents_of(tmp_path, vae, first(data, count))) == count
    apart = tmp_path / "apart"
    apart.mkdir()
    wanted = latents_of(apart, vae, data)[:2].float()
    found = latents_of(tmp_path, vae, first(data, 2)).float()
    assert torch.allclose(found, wanted, atol=1e-2)


def test_another_encoder_makes_other_latents(tmp_path: Path, data: WorldData) -> None:
    torch.manual_seed(0)
    one, other = new_vae().eval(), new_vae().eval()
    with torch.no_grad():
        other.quant_conv.weight.mul_(2)
    assert not torch.equal(latents_of(tmp_path, one, data), latents_of(tmp_path, other, data))


def test_a_trial_on_few_scenes_leaves_the_rendered_world_alone(tmp_path: Path) -> None:
    whole = np.array(world_data(tmp_path, range(4), workers=1).rgb)
    before = (tmp_path / "rgb.npy").stat().st_mtime_ns
    few = world_data(tmp_path, range(2), workers=1)
    assert len(few) == len(few.tags) == 2
    assert np.array_equal(few.rgb, whole[:2])
    assert (tmp_path / "rgb.npy").stat().st_mtime_ns == before
    assert len(world_data(tmp_path, range(4), workers=1)) == 4


def test_a_world_that_is_too_small_or_another_one_is_rendered_anew(tmp_path: Path) -> None:
    world_data(tmp_path, range(2), workers=1)
    assert len(world_data(tmp_path, range(3), workers=1)) == 3
    moved = world_data(tmp_path, range(1, 3), workers=1)
    assert np.array_equal(moved.rgb, render_arrays(range(1, 3))["rgb"])


def test_a_world_whose_growth_was_cut_off_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world_data(tmp_path, range(2), workers=1)

    def killed(folder: Path, *_: object) -> None:
        (folder / "rgb.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("workbench.training.data._render_all", killed)
        world_data(tmp_path, range(3), workers=1)
    assert np.array_equal(
        world_data(tmp_path, range(2), workers=1).rgb, render_arrays(range(2))["rgb"]
    )
