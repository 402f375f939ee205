"""Protects: what a family needs is counted, not guessed, and what is missing is told as missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_families import FAMILIES, write_tiny_families
from tiny_models import FAMILY
from two_bases import BASES, write_two_bases

from workbench.families.catalogue import Family
from workbench.families.manager import ModelManager
from workbench.families.memory import memory_need, parameters_in, weights_need


def need(family: Family, dtype: str, models: Path, **more: int) -> int | None:
    return memory_need(family, dtype, weights_need(family, dtype, models), **more)


def count(*modules: torch.nn.Module) -> int:
    """Stored numbers of modules: parameters, and buffers that are saved."""
    return sum(value.numel() for module in modules for value in module.state_dict().values())


def test_parameters_are_counted_as_torch_counts_them(models: Path) -> None:
    unet = ModelManager(FAMILY, models_dir=models).pipeline(None).unet
    (file,) = (models / "tiny/base/unet").glob("*.safetensors")
    assert parameters_in(file) == count(unet)


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="no safetensors"):
        parameters_in(tmp_path / "x.safetensors")


def test_the_need_is_weights_and_work_and_judges_stay_in_float32(models: Path) -> None:
    family = FAMILY.model_copy(update={"networks": {}})
    full, half = (need(family, dtype, models) for dtype in ("float32", "float16"))
    assert full is not None and half is not None
    manager = ModelManager(family, models_dir=models)
    pipeline, clip = manager.pipeline("depth"), manager.clip().model
    parts = count(pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.controlnet)
    work = 1500 * family.resolution**2
    assert full == pytest.approx(4 * (parts + work + count(clip)), rel=0.001)
    assert half == pytest.approx(full / 2 + 2 * count(clip), rel=0.001)
    assert need(family, "float32", models, pictures=3) == full + 2 * 4 * work


def test_the_variant_is_counted_once_and_a_safety_checker_not_at_all(
    models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    before = need(FAMILY.model_copy(update={"networks": {}}), "float32", tmp_path)
    unet = tmp_path / "tiny/base/unet"
    (file,) = unet.glob("*.safetensors")
    shutil.copy(file, unet / file.name.replace(".safetensors", ".fp16.safetensors"))
    save_file({"w": torch.zeros(9999)}, tmp_path / "tiny/base/v1-5-pruned-emaonly.safetensors")
    (tmp_path / "tiny/base/safety_checker").mkdir()
    save_file({"w": torch.zeros(9999)}, tmp_path / "tiny/base/safety_checker/model.safetensors")
    assert need(FAMILY.model_copy(update={"networks": {}}), "float32", tmp_path) == before


def test_what_is_missing_is_told(models: Path, tmp_path: Path) -> None:
    assert need(FAMILY, "float32", tmp_path) is None
    hub = {"render": {"repo": "nobody/nothing", "revision": "0" * 40}}
    remote = Family.model_validate(FAMILY.model_dump() | {"base": hub})
    assert need(remote, "float32", models) is None


def test_what_the_catalogue_states_stands_in_for_weights_that_are_elsewhere(
    models: Path, tmp_path: Path
) -> None:
    stated = Family.model_validate(FAMILY.model_dump() | {"memory": {"float16": 4.5}})
    assert need(stated, "float16", tmp_path) == 4_500_000_000
    assert need(stated, "float32", tmp_path) is None
    assert need(stated, "float16", models) == need(FAMILY, "float16", models)


def test_a_run_holds_every_base_and_every_controlnet_of_its_plan(models: Path) -> None:
    def weights(**parts: list[str]) -> int:
        found = weights_need(FAMILY, "float32", models, networks=[], **parts)
        assert found is not None
        return found.makers

    one = weights(bases=["render"], controlnets=["depth"])
    manager = ModelManager(FAMILY, models_dir=models)
    pipeline = manager.pipeline("depth")
    base = 4 * count(pipeline.unet, pipeline.vae, pipeline.text_encoder)
    net = 4 * count(pipeline.controlnet)
    assert one == pytest.approx(base + net, rel=0.001)
    assert weights(bases=["render", "ink"], controlnets=["depth", "canny"]) == pytest.approx(
        2 * (base + net), rel=0.001
    )


def test_a_vae_of_the_familys_own_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    write_tiny_families(tmp_path)
    family = FAMILIES["tiny-union"]
    names = list(family.controlnets)
    found = weights_need(family, "float32", tmp_path, controlnets=names, networks=[])
    assert found is not None
    manager = ModelManager(family, models_dir=tmp_path)
    parts = [
        p for p in manager.pipeline(None).components.values() if isinstance(p, torch.nn.Module)
    ]
    assert found.makers == pytest.approx(4 * count(*parts, manager.controlnet("depth")), rel=0.001)


def test_annotators_are_counted_by_their_files(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    (tmp_path / "annotators").mkdir()
    pth = tmp_path / "annotators" / "ControlNetHED.pth"
    ref = {"loader": "hed", "path": "annotators"}
    family = Family.model_validate(FAMILY.model_dump() | {"networks": {"edges": ref}})
    (name,) = family.networks["edges"].files
    without = weights_need(family, "float16", tmp_path, networks=[])
    assert without is not None
    assert weights_need(family, "float16", tmp_path, networks=["edges"]) is None
    pth.with_name(name).write_bytes(bytes(4000))
    with_it = weights_need(family, "float16", tmp_path, networks=["edges"])
    assert with_it is not None and with_it.judges == without.judges + 4000


def test_positions_that_a_controlnet_takes_from_its_base_are_counted_for_each_base(
    tmp_path: Path,
) -> None:
    family = write_two_bases(tmp_path)["tiny-flow"]
    found = weights_need(
        family, "float32", tmp_path, bases=BASES, controlnets=["depth", "canny"], networks=[]
    )
    assert found is not None
    manager = ModelManager(family, models_dir=tmp_path)
    held: dict[int, int] = {}
    for base in BASES:
        for control in ("depth", "canny"):
            for part in manager.for_base(base).pipeline(control).components.values():
                if isinstance(part, torch.nn.Module):
                    tensors = part.state_dict(keep_vars=True).values()
                    held |= {id(tensor): tensor.numel() for tensor in tensors}
    assert found.makers == pytest.approx(4 * sum(held.values()), rel=0.001)
    net = manager.pipeline("depth").controlnet.pos_embed
    positions = sum(tensor.numel() for tensor in net.state_dict().values())
    assert 16 * positions > 0.01 * found.makers, "they would be missed"


def test_equal_weights_are_counted_once_for_all_their_control_types(tmp_path: Path) -> None:
    write_tiny_families(tmp_path)
    sd = FAMILIES["tiny-sd"]
    one, many = (
        weights_need(sd, "float32", tmp_path, controlnets=names, networks=[])
        for names in (["depth"], ["depth", "pose", "hed"])
    )
    assert one == many
