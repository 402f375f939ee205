"""Protects: on SDXL, union and flow-matching models a sample is what stock diffusers makes of it.

The stock pipelines are called here as their documentation says, one trial at a time, with one scale
for the call; the workbench makes the same trials in mixed batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from samples import make_samples
from tiny_families import FAMILIES, UNION_MODES, write_tiny_families
from tiny_models import PROMPTS, make_maps, make_trial

from workbench.families import FamilyError, load_catalogue
from workbench.families.manager import ModelManager
from workbench.families.refs import ARCHITECTURES
from workbench.generation.schedulers import make_scheduler
from workbench.study import ControlUse, Trial

MAPS = make_maps()
TOLERANCE = 2
NAMES = tuple(FAMILIES)


@pytest.fixture(scope="module")
def managers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelManager]:
    """One manager for each family."""
    models = tmp_path_factory.mktemp("models")
    write_tiny_families(models)
    return {name: ModelManager(family, models_dir=models) for name, family in FAMILIES.items()}


def trial(family: str, **changes: Any) -> Trial:
    values = {"family": family, "base": "one", "steps": 3, "scheduler": "euler"}
    return make_trial(**(values | changes))


def pair(family: str, canny: float, depth: float, **changes: Any) -> Trial:
    also = (ControlUse("depth", "{}", depth),)
    return trial(family, control="canny", scale=canny, also=also, **changes)


def mixed(family: str, **changes: Any) -> list[Trial]:
    return [
        trial(
            family,
            seed=i,
            prompt=PROMPTS[i % 3],
            scale=scale,
            source_sha256=f"source-{i % 2}",
            **changes,
        )
        for i, scale in enumerate((0.4, 1.0, 1.6))
    ]


def make(trials: Sequence[Trial], manager: ModelManager, **options: Any) -> dict[str, np.ndarray]:
    results = make_samples(trials, MAPS, manager, **options)
    assert [result.failed_reason for result in results] == [""] * len(trials)
    return {r.trial.id: r.image.astype(int) for r in results if r.image is not None}


def stock(wanted: Trial, manager: ModelManager, scales: list[float] | None = None) -> np.ndarray:
    """What a user of diffusers writes; `scales` (of canny and depth) replace those of the trial."""
    names = ("canny", "depth") if scales else tuple(use.control for use in wanted.controls)
    pipeline = manager.pipeline(*names)
    scales = scales or [use.scale for use in wanted.controls]
    arguments: dict[str, Any] = {}
    if names:
        images = [Image.fromarray(MAPS["source-0", name, "{}"].picture) for name in names]
        if wanted.source_sha256:
            images = [
                Image.fromarray(MAPS[wanted.source_sha256, name, "{}"].picture) for name in names
            ]
        family = manager.family
        key = family.parts_of.image
        if family.name == "tiny-union":
            key = "control_image"
            arguments["control_mode"] = [UNION_MODES[name] for name in names]
        if family.name == "tiny-flow" and "canny" in names:
            images = [_as_trained(image, name) for image, name in zip(images, names, strict=True)]
        listed = len(names) > 1
        union = family.name == "tiny-union"
        arguments[key] = images if listed or union else images[0]
        arguments["controlnet_conditioning_scale"] = list(scales) if listed else scales[0]
        arguments["control_guidance_start"] = wanted.control_start
        arguments["control_guidance_end"] = wanted.control_end
    before = pipeline.scheduler
    pipeline.scheduler = make_scheduler(wanted.scheduler, before.config)
    try:
        (picture,) = pipeline(
            wanted.prompt,
            negative_prompt=wanted.negative_prompt or None,
            height=wanted.size,
            width=wanted.size,
            num_inference_steps=wanted.steps,
            guidance_scale=wanted.guidance_scale,
            generator=torch.Generator().manual_seed(wanted.seed),
            **arguments,
        ).images
    finally:
        pipeline.scheduler = before
    return np.asarray(picture).astype(int)


def _as_trained(image: Image.Image, name: str) -> torch.Tensor:
    """Pixels as the model card of SD3.5 Large's canny ControlNet makes them, or the plain way."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    return pixels * 255 * 0.5 + 0.5 if name == "canny" else pixels * 2 - 1


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_mixed_batch_equals_stock_one_at_a_time(
    managers: dict[str, ModelManager], family: str, guidance: float
) -> None:
    manager = managers[family]
    trials = mixed(family, guidance_scale=guidance, negative_prompt="snow")
    together = make(trials, manager)
    for wanted in trials:
        assert np.abs(together[wanted.id] - stock(wanted, manager)).max() <= TOLERANCE


def test_every_architecture_of_the_catalogue_is_here() -> None:
    """So that a new one joins the tests of this file; union ControlNets count on their own."""
    kinds = {
        (family.architecture, any(ref.union_mode is not None for ref in nets))
        for family in (*load_catalogue().values(), *FAMILIES.values())
        if (nets := family.controlnets.values())
    }
    here = {
        (
            family.architecture,
            any(ref.union_mode is not None for ref in family.controlnets.values()),
        )
        for family in FAMILIES.values()
    }
    assert kinds == here
    assert {name for name, _ in here} == set(ARCHITECTURES)


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_picture_does_not_depend_on_its_batch(
    managers: dict[str, ModelManager], family: str, guidance: float
) -> None:
    """Sources, scales, prompts and seeds of the others change it by a rounding at most.

    A rounding turns few pixels: were the fuser of the union model left to attend over the batch, it
    would be 5 of 100 here.
    """
    trials = mixed(family, guidance_scale=guidance)
    alone = make(trials, managers[family], batch_size=1)
    together = make(trials, managers[family], batch_size=len(trials))
    for name, picture in together.items():
        apart = np.abs(picture - alone[name])
        assert apart.max() <= 1 and (apart > 0).mean() < 0.005


def test_two_types_of_a_union_model_do_not_depend_on_their_batch(
    managers: dict[str, ModelManager],
) -> None:
    trials = [pair("tiny-union", 0.4, 1.0), pair("tiny-union", 1.2, 0.3, seed=2, prompt=PROMPTS[1])]
    alone = make(trials, managers["tiny-union"], batch_size=1)
    together = make(trials, managers["tiny-union"])
    for name, picture in together.items():
        apart = np.abs(picture - alone[name])
        assert apart.max() <= 1 and (apart > 0).mean() < 0.005


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("family", NAMES)
def test_half_precision_equals_stock(
    managers: dict[str, ModelManager], family: str, dtype: str
) -> None:
    """The VAE must not hand its own precision on to a ControlNet that sees maps through it."""
    models = managers[family].models_dir
    manager = ModelManager(FAMILIES[family], models_dir=models, dtype=dtype)
    wanted = trial(family)
    (picture,) = make([wanted], manager).values()
    assert np.abs(picture - stock(wanted, manager)).max() <= TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_every_part_of_a_trial_shows(managers: dict[str, ModelManager], family: str) -> None:
    """Or else the equalities of this file would hold for models that obey nothing."""
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 2},
        {"scale": 0.2},
        {"source_sha256": "source-1"},
        {"prompt": PROMPTS[1]},
        {"negative_prompt": "a boy"},
        {"control": "canny"},
    ]
    pictures = list(make([trial(family, **c) for c in changes], managers[family]).values())
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).max() > TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_scale_zero_is_the_pipeline_without_a_controlnet(
    managers: dict[str, ModelManager], family: str
) -> None:
    manager = managers[family]
    zero, plain = trial(family, scale=0.0), trial(family, control=None)
    pictures = make([zero, plain, trial(family)], manager)
    assert (pictures[zero.id] == pictures[plain.id]).all()
    assert np.abs(pictures[plain.id] - stock(plain, manager)).max() <= TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_pairs_equal_stock_and_vanish_with_their_scale(
    managers: dict[str, ModelManager], family: str
) -> None:
    manager = managers[family]
    trials = [pair(family, 0.4, 1.0), pair(family, 1.2, 0.3, seed=2, prompt=PROMPTS[1])]
    together = make(trials, manager)
    for wanted in trials:
        assert np.abs(together[wanted.id] - stock(wanted, manager)).max() <= TOLERANCE
    alone = trial(family, control="depth", scale=0.8)
    (picture,) = make([alone], manager).values()
    assert np.abs(picture - stock(alone, manager, [0.0, 0.8])).max() <= TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_a_window_of_steps_equals_stock(managers: dict[str, ModelManager], family: str) -> None:
    manager = managers[family]
    window = {"steps": 5, "control_start": 0.3, "control_end": 0.8}
    for wanted in (trial(family, **window), pair(family, 0.7, 1.1, **window)):
        (picture,) = make([wanted], manager).values()
        assert np.abs(picture - stock(wanted, manager)).max() <= TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_each_scheduler_the_family_allows_equals_stock(
    managers: dict[str, ModelManager], family: str
) -> None:
    manager = managers[family]
    for scheduler in manager.family.schedulers:
        trials = [trial(family, seed=i, steps=4, scheduler=scheduler) for i in (1, 2)]
        together = make(trials, manager)
        for wanted in trials:
            assert np.abs(together[wanted.id] - stock(wanted, manager)).max() <= TOLERANCE


@pytest.mark.parametrize("family", NAMES)
def test_previews_and_repeats_change_nothing(
    managers: dict[str, ModelManager], family: str
) -> None:
    """A preview at the last step is the picture; the global random state plays no part."""
    seen: list[np.ndarray] = []
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    wanted = trial(family)
    (first,) = make_samples(
        [wanted], MAPS, managers[family], on_step=lambda step: seen.append(step.preview(0))
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.image is not None
    assert np.abs(seen[-1].astype(int) - first.image).max() <= TOLERANCE
    torch.manual_seed(2)
    managers[family].latent_cache.clear()
    (again,) = make_samples([wanted], MAPS, managers[family])
    np.testing.assert_array_equal(first.image, again.image)


def test_every_type_of_a_union_model_is_its_own(managers: dict[str, ModelManager]) -> None:
    """Nine types, six modes, one set of weights."""
    manager = managers["tiny-union"]
    source = MAPS["source-0", "depth", "{}"]
    maps = {("source-0", name, "{}"): source for name in UNION_MODES}
    made = {
        name: next(iter(make_samples([trial("tiny-union", control=name)], maps, manager))).image
        for name in UNION_MODES
    }
    for name, picture in made.items():
        for other, twin in made.items():
            same = UNION_MODES[name] == UNION_MODES[other]
            assert np.array_equal(picture, twin) == same
    nets = [manager.controlnet(name) for name in UNION_MODES]
    assert len({id(net) for net in nets}) == len(nets)
    assert len({id(net.task_embedding) for net in nets}) == 1


def test_the_method_of_a_control_chooses_its_controlnet(managers: dict[str, ModelManager]) -> None:
    """Both methods in one call: each trial is made by its own net, whatever the map."""
    manager = managers["tiny-sd"]
    anime, standard = '{"method":"anime"}', '{"method":"standard"}'
    source = MAPS["source-0", "depth", "{}"]
    keys = [("lineart", anime), ("lineart", standard), ("depth", "{}"), ("canny", "{}")]
    maps = {("source-0", *key): source for key in keys}
    trials = [trial("tiny-sd", control=name, control_settings=text) for name, text in keys]
    made = {
        (r.trial.control, r.trial.control_settings): r.image
        for r in make_samples(trials, maps, manager)
    }
    np.testing.assert_array_equal(made["lineart", anime], made["canny", "{}"])
    np.testing.assert_array_equal(made["lineart", standard], made["depth", "{}"])
    assert not np.array_equal(made["depth", "{}"], made["canny", "{}"])
    for result in make_samples(trials, maps, manager):
        assert result.made_by["runtime"]["offload"] == "none", "told for every ControlNet"


def test_an_empty_negative_prompt_is_that_of_the_stock_pipeline(
    managers: dict[str, ModelManager],
) -> None:
    """SDXL takes zeros where no negative prompt is given, not the embedding of no words."""
    manager = managers["tiny-xl"]
    wanted = trial("tiny-xl", negative_prompt="")
    (picture,) = make([wanted], manager).values()
    assert np.abs(picture - stock(wanted, manager)).max() <= TOLERANCE


def test_flow_samplers_solve_one_equation(managers: dict[str, ModelManager]) -> None:
    """With many steps all samplers of a flow-matching model reach the same picture."""
    manager = managers["tiny-flow"]
    trials = [
        trial("tiny-flow", steps=60, scheduler=name, guidance_scale=1.0)
        for name in manager.family.schedulers
    ]
    euler, *others = make(trials, manager).values()
    for other in others:
        assert np.abs(euler - other).mean() < 4
    with pytest.raises(ValueError, match=r"ddim.*flow-matching"):
        make_scheduler("ddim", manager.pipeline(None).scheduler.config)


def test_a_union_and_a_plain_controlnet_cannot_steer_together(tmp_path: Path) -> None:
    union, plain = FAMILIES["tiny-union"], FAMILIES["tiny-xl"]
    nets = {"depth": union.controlnets["depth"], "canny": plain.controlnets["canny"]}
    both = union.model_copy(update={"controlnets": nets})
    assert "union model" in both.pair_problem("canny", "depth")
    assert union.pair_problem("canny", "depth") == plain.pair_problem("canny", "depth") == ""
    with pytest.raises(FamilyError, match="union model"):
        ModelManager(both, models_dir=tmp_path).pipeline("canny", "depth")


def test_checkpoints_without_a_mode_are_loaded_once(tmp_path: Path) -> None:
    """Equal weights serve several control types, each with a ControlNet of its own to drive."""
    write_tiny_families(tmp_path)
    net = FAMILIES["tiny-sd"].controlnets["depth"]
    family = FAMILIES["tiny-sd"].model_copy(update={"controlnets": {"depth": net, "canny": net}})
    manager = ModelManager(family, models_dir=tmp_path)
    depth, canny = manager.controlnet("depth"), manager.controlnet("canny")
    assert depth is not canny and depth.conv_in is canny.conv_in
    wanted = pair("tiny-sd", 0.4, 1.0)
    (picture,) = make([wanted], manager).values()
    assert np.abs(picture - stock(wanted, manager)).max() <= TOLERANCE
