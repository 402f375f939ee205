"""The training loop: resumable without a trace, and loud when a loss breaks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from workbench.training import loop
from workbench.training.loop import Recipe, StepDraws, fit

RECIPE = Recipe(steps=30, rate=1e-2, warm_up=3, average=0.9, seed=5, autocast=False)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in the log every 5 steps, a checkpoint after every one."""
    monkeypatch.setattr(loop, "LOG_STEPS", 5)
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)


def _model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def _channels_last() -> nn.Module:
    """Convolutions whose weights lie in another order than a file has them."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 3, 3, padding=1), nn.Flatten())
    return nn.Sequential(layers, nn.Linear(3, 1)).to(memory_format=torch.channels_last)


def _run(model: nn.Module, recipe: Recipe, path: Path, stop: int | None = None) -> nn.Module:
    def loss(draws: StepDraws) -> Mapping[str, Tensor]:
        if stop is not None and draws.step == stop:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=draws.torch)
        y = x.sum(1, keepdim=True) * float(draws.numpy.uniform(0.9, 1.1))
        return {"error": (model(x) - y).square().mean()}

    return fit(model, loss, recipe, path, lambda line: None).module


@pytest.mark.parametrize("make", [_model, _channels_last])
def test_a_run_broken_off_and_resumed_ends_as_an_unbroken_one(
    tmp_path: Path, make: Callable[[], nn.Module]
) -> None:
    whole = _run(make(), RECIPE, tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        _run(make(), RECIPE, tmp_path / "broken.safetensors", stop=17)
    resumed = _run(make(), RECIPE, tmp_path / "broken.safetensors")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_learns(tmp_path: Path) -> None:
    model = _run(_model(), Recipe(400, 5e-2, seed=1, autocast=False), tmp_path / "c.safetensors")
    assert torch.allclose(next(model.parameters()), torch.ones(1, 4), atol=0.1)


def test_a_loss_that_is_not_finite_stops_the_stage(tmp_path: Path) -> None:
    model = _model()

    def loss(draws: StepDraws) -> Mapping[str, Tensor]:
        return {"error": model(torch.ones(1, 4)).sum() * float("nan")}

    with pytest.raises(FloatingPointError, match="step 5"):
        fit(model, loss, RECIPE, tmp_path / "c.safetensors", lambda line: None)


def test_the_rate_warms_up_and_falls() -> None:
    recipe = Recipe(steps=100, rate=1.0, warm_up=10, last_rate=0.1)
    rates = [recipe.rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == rates[9] or max(rates) == rates[10]
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("make", [_model, _channels_last])
def test_it_is_the_plain_loop(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    """The embedded model's stages learn by the textbook's loop, written out here, bit for bit."""
    recipe = Recipe(
        steps=12, rate=1e-2, last_rate=0.1, warm_up=4, decay=0.02, average=0.9, seed=5,
        autocast=False,
    )  # fmt: skip

    def losses(model: nn.Module, draws: StepDraws) -> dict[str, Tensor]:
        x = torch.randn(16, 4, generator=draws.torch)
        error = (model(x) - x.sum(1, keepdim=True) * float(draws.numpy.uniform(0.9, 1.1))).square()
        return {"one": error.mean(), "two": 0.1 * error.amax(), "_shown": error.detach().sum()}

    fitted = make()
    frozen = next(fitted.parameters()).requires_grad_(False)
    before = frozen.clone()
    found = fit(
        fitted, lambda d: losses(fitted, d), recipe, tmp_path / "c.safetensors", lambda line: None
    )
    plain = make()
    next(plain.parameters()).requires_grad_(False)
    learning = [p for p in plain.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        learning, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.02, fused=True
    )
    average = copy.deepcopy(plain)
    for step in range(12):
        wave = 0.1 + 0.9 * (1 + math.cos(math.pi * step / 12)) / 2
        optimiser.param_groups[0]["lr"] = 1e-2 * wave * min(1, (step + 1) / 4)
        parts = losses(plain, StepDraws.of(5, step))
        optimiser.zero_grad()
        (parts["one"] + parts["two"]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        with torch.no_grad():
            for kept, now in zip(average.parameters(), plain.parameters(), strict=True):
                kept.lerp_(now, 1 - min(0.9, (2 + step) / (11 + step)))
    for mine, other in ((fitted, plain), (found.module, average)):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(frozen, before) and found.step == 12
