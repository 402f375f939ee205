"""Protects: the hook changes speed and scale, never anything else a stock pipeline would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cachetools import LRUCache
from tiny_models import SIDE, make_maps

from workbench.families.manager import ModelManager
from workbench.generation import ControlHook

MAPS = [control_map.picture for key, control_map in make_maps().items() if key[1] == "depth"]
STEPS = 5


def run(pipeline: Any, rows: int = 2, **changes: Any) -> torch.Tensor:
    """Call a pipeline as a user of diffusers would -> B×3×H×W in [0, 1]."""
    arguments: dict[str, Any] = {
        "prompt": ["a girl", "a boy, snow", "red coat"][:rows],
        "num_inference_steps": STEPS,
        "guidance_scale": 5.0,
        "height": SIDE,
        "width": SIDE,
        "generator": [torch.Generator().manual_seed(i) for i in range(rows)],
        "output_type": "pt",
    }
    if hasattr(pipeline, "controlnet"):
        stack = np.stack(MAPS[:rows])
        arguments["image"] = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
    return pipeline(**(arguments | changes)).images


def hook(manager: ModelManager, scales: list[float], cache: LRUCache | None = None) -> ControlHook:
    keys = [str(i) for i in range(len(scales))]
    kept = LRUCache(8) if cache is None else cache
    return ControlHook(manager.controlnet("depth"), scales, keys, kept)


def count_calls(module: torch.nn.Module, counts: list[int]) -> Any:
    """Note the number of rows at each call of a submodule."""
    return module.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_scale_zero_is_the_plain_pipeline_exactly(
    warm_manager: ModelManager, guidance: float
) -> None:
    plain = run(warm_manager.pipeline(None), guidance_scale=guidance)
    with hook(warm_manager, [0.0, 0.0]) as used:
        hooked = run(warm_manager.pipeline("depth"), guidance_scale=guidance)
    assert torch.equal(hooked, plain)
    assert (used.calls, used.skipped) == (0, STEPS)


def test_scale_zero_beside_another_scale_is_exact_too(warm_manager: ModelManager) -> None:
    plain = run(warm_manager.pipeline(None))
    with hook(warm_manager, [0.0, 1.3]):
        mixed = run(warm_manager.pipeline("depth"))
    assert torch.equal(mixed[0], plain[0])
    assert (mixed[1] - plain[1]).abs().max() > 0.1


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7])
def test_a_constant_scale_is_the_stock_scale(
    warm_manager: ModelManager, scale: float, guidance: float
) -> None:
    pipeline = warm_manager.pipeline("depth")
    stock = run(pipeline, controlnet_conditioning_scale=scale, guidance_scale=guidance)
    with hook(warm_manager, [scale, scale]):
        hooked = run(pipeline, guidance_scale=guidance)
    assert (hooked - stock).abs().max() < 1e-3


def test_each_sample_gets_its_own_scale(warm_manager: ModelManager) -> None:
    pipeline = warm_manager.pipeline("depth")
    scales = [0.3, 1.0, 1.8]
    with hook(warm_manager, scales):
        mixed = run(pipeline, rows=3)
    for row, scale in enumerate(scales):
        stock = run(pipeline, rows=3, controlnet_conditioning_scale=scale)
        assert (mixed[row] - stock[row]).abs().max() < 1e-3
        others = [i for i in range(3) if i != row]
        assert (mixed[others] - stock[others]).abs().max() > 0.05


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (0.4, 1.0), (0.2, 0.8), (0.9, 1.0)])
def test_start_and_end_are_those_of_the_stock_pipeline(
    warm_manager: ModelManager, start: float, end: float
) -> None:
    pipeline = warm_manager.pipeline("depth")
    window = {"control_guidance_start": start, "control_guidance_end": end}
    stock = run(pipeline, controlnet_conditioning_scale=0.8, **window)
    calls: list[int] = []
    with (
        hook(warm_manager, [0.8, 0.8]) as used,
        count_calls(warm_manager.controlnet("depth").conv_in, calls),
    ):
        hooked = run(pipeline, **window)
    inside = sum(i / STEPS >= start and (i + 1) / STEPS <= end for i in range(STEPS))
    assert (hooked - stock).abs().max() < 1e-3
    assert len(calls) == used.calls == inside
    assert used.skipped == STEPS - inside


def test_each_map_is_embedded_once_over_steps_and_batches(warm_manager: ModelManager) -> None:
    embedding = warm_manager.controlnet("depth").controlnet_cond_embedding
    rows: list[int] = []
    cache: LRUCache = LRUCache(8)
    with count_calls(embedding.conv_in, rows):
        for _ in range(2):
            with hook(warm_manager, [1.0, 0.5], cache):
                run(warm_manager.pipeline("depth"))
    assert rows == [1, 1]


def test_maps_with_one_key_share_one_embedding(warm_manager: ModelManager) -> None:
    embedding = warm_manager.controlnet("depth").controlnet_cond_embedding
    rows: list[int] = []
    same = torch.from_numpy(np.stack([MAPS[0]] * 2)).permute(0, 3, 1, 2).float() / 255
    used = ControlHook(warm_manager.controlnet("depth"), [1.0, 1.0], ["a", "a"], LRUCache(4))
    with used, count_calls(embedding.conv_in, rows):
        run(warm_manager.pipeline("depth"), image=same)
    assert rows == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_the_controlnet_is_as_before_afterwards(warm_manager: ModelManager, fails: bool) -> None:
    controlnet = warm_manager.controlnet("depth")
    stock = run(warm_manager.pipeline("depth"))
    modules = (controlnet, controlnet.controlnet_cond_embedding)
    before = [dict(vars(module)) for module in modules]

    def stop(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    try:
        with hook(warm_manager, [0.0, 2.0]):
            assert "forward" in vars(controlnet)
            run(warm_manager.pipeline("depth"), callback_on_step_end=stop if fails else None)
    except KeyboardInterrupt:
        assert fails
    assert [vars(module) for module in modules] == before
    assert torch.equal(run(warm_manager.pipeline("depth")), stock)


def test_a_forward_that_somebody_else_put_there_is_put_back(warm_manager: ModelManager) -> None:
    controlnet = warm_manager.controlnet("canny")

    def other(*values: Any, **keywords: Any) -> Any:
        return type(controlnet).forward(controlnet, *values, **keywords)

    controlnet.forward = other
    try:
        with ControlHook(controlnet, [1.0, 1.0], ["a", "b"], LRUCache(4)) as used:
            run(warm_manager.pipeline("canny"))
        assert used.calls == STEPS
        assert controlnet.forward is other
    finally:
        del controlnet.forward


def test_what_the_hook_cannot_do_it_refuses(warm_manager: ModelManager) -> None:
    with hook(warm_manager, [1.0, 1.0]), pytest.raises(ValueError, match="guess mode"):
        run(warm_manager.pipeline("depth"), guess_mode=True)
    with hook(warm_manager, [1.0, 1.0]), pytest.raises(ValueError, match="rows"):
        run(warm_manager.pipeline("depth"), rows=3)
    with pytest.raises(ValueError, match="one scale and one key"):
        ControlHook(warm_manager.controlnet("depth"), [1.0], ["a", "b"], LRUCache(4))
    used = hook(warm_manager, [1.0])
    with used, pytest.raises(RuntimeError, match="in use"):
        used.__enter__()
