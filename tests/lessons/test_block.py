"""The block of the first lesson is what the article writes, and its gradients are the true ones.

Protects what the lessons state about zero convolutions from holding for another block only.
"""

from __future__ import annotations

import pytest
import torch

from workbench.lessons import (
    ControlledBlock,
    EncoderBlock,
    convolution,
    gradients,
    noise,
    one_weight,
    source,
    train,
    training_figure,
)

X, C = noise(2, 4, 6, 6, seed=1), noise(2, 3, 6, 6, seed=2)


def controlled(std: float = 0.0) -> ControlledBlock:
    return ControlledBlock(EncoderBlock(4), x=4, c=3, y=4, std=std)


@pytest.mark.parametrize("std", [0.0, 0.5])
def test_the_output_is_the_sum_of_the_article(std: float) -> None:
    block = controlled(std)
    inner = block.copy(X + block.z1(C))
    assert torch.equal(block(X, C), block.locked(X) + block.z2(inner))
    assert torch.equal(block(X, C), EncoderBlock(4)(X)) == (std == 0)


def test_a_start_has_the_standard_deviation_that_is_asked() -> None:
    drawn = torch.cat([p.flatten() for p in convolution(100, 100, 0.3).parameters()])
    assert abs(drawn.std().item() - 0.3) < 0.01
    assert abs(drawn.mean().item()) < 0.01


@pytest.mark.parametrize("std", [0.0, 0.5])
def test_gradients_by_hand_are_those_of_autograd(std: float) -> None:
    block, wanted = controlled(std), X + C.mean(1, keepdim=True)
    found = gradients(block, X, C, wanted)
    assert torch.allclose(found.by_hand, found.autograd, atol=1e-7)
    assert found.autograd.abs().max() > 1e-3
    assert found.sizes["locked"] == 0
    assert (found.sizes["copy"] == 0) == (found.sizes["z1"] == 0) == (std == 0)
    assert all(p.grad is None for p in block.parameters())
    table = one_weight(found, output=1, given=2)["upstream · input"]
    assert table["sum"] == pytest.approx(table["autograd"], rel=1e-4)
    assert table[:4].sum() == pytest.approx(table["sum"], rel=1e-4)


def test_training_moves_the_parts_in_their_order() -> None:
    block, wanted = controlled(), EncoderBlock(4)(X) + C.mean(1, keepdim=True)
    moved = train(block, X, C, wanted, steps=5)
    assert list(moved.index) == [0, 1, 2, 3, 4, 5]
    assert (moved["locked"] == 0).all()
    assert (moved.loc[1, ["copy", "z1"]] == 0).all() and moved.loc[1, "z2"] > 0
    assert (moved.loc[2, ["copy", "z1", "z2"]] > 0).all()
    assert moved["loss"].is_monotonic_decreasing
    lines = training_figure(moved).axes[0].get_lines()
    assert [line.get_ydata()[-1] for line in lines] == list(
        moved.loc[5, ["locked", "copy", "z1", "z2"]]
    )


def test_code_is_shown_without_its_docstrings() -> None:
    shown = source(ControlledBlock)
    assert "self.z2(self.copy(x + self.z1(c)))" in shown and '"""' not in shown
    assert shown._repr_markdown_().startswith("```python\nclass ControlledBlock")
