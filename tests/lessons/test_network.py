"""Networks are read off their modules: what stands in a lesson's figures is what runs.

Protects the figures, counts and strengths of the second lesson.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from workbench.lessons import (
    Request,
    article_encoder,
    convolutions,
    costs,
    guess_weights,
    models,
    network,
    network_figure,
    residuals,
    residuals_figure,
)
from workbench.lessons.network import _read_unet

pytestmark = pytest.mark.models


def test_the_copy_is_the_encoder_and_each_residual_fits() -> None:
    net = network()
    assert [b.shape for b in net.of("copy")] == [b.shape for b in net.of("encoder")]
    assert [b.shape for b in net.of("encoder")] + [net.of("middle")[0].shape] == list(net.residuals)
    inside = sum(b.parameters for b in net.blocks if not b.part.startswith("copy"))
    unet = models().pipeline(None).unet
    around = (unet.time_embedding, unet.conv_norm_out, unet.conv_out)
    assert inside + sum(p.numel() for m in around for p in m.parameters()) == unet.num_parameters()
    assert net.parameters["locked"] == unet.num_parameters()


def test_without_weights_the_same_is_found() -> None:
    import diffusers

    real: Any = models().pipeline(None).unet
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel.from_config(real.config)
        net = diffusers.ControlNetModel.from_config(models().controlnet("depth").config)
        found = _read_unet("", unet, net, models().family.text_limit)
    assert (found.blocks, found.residuals) == (network().blocks, network().residuals)
    assert found.parameters == network().parameters
    assert found.flops == network().flops


def test_the_sizes_of_stable_diffusion_give_its_published_counts() -> None:
    net = network("sd15")
    assert net.parameters == {"locked": 859_520_964, "trainable": 361_279_120}
    assert len(net.of("copy")) == 12 and len(net.residuals) == 13
    row = costs("sd15").iloc[0]
    assert row["parameters, share"] == pytest.approx(361 / 860, abs=0.001)
    with pytest.raises(ValueError, match='no "sd2" here; there is: paperdoll, sd15, sdxl, sd35'):
        network("sd2")


def test_the_figure_has_a_box_for_each_block() -> None:
    axes = network_figure(network()).axes[0]
    texts = [text.get_text() for text in axes.texts]
    for block in network().blocks:
        assert sum(text.startswith(f"{block.name}   ") for text in texts) >= 1
    assert len(axes.patches) >= len(network().blocks)
    assert texts.count("Z") == texts.count("+") == len(network().residuals)


def test_the_encoder_of_the_article_has_its_layers() -> None:
    table = convolutions(article_encoder(0.1), 128)
    assert list(table["channels out"]) == [16, 32, 64, 128]
    assert list(table["side"]) == [64, 32, 16, 8]
    weights = torch.cat(
        [p.flatten() for n, p in article_encoder(0.1).named_parameters() if "w" in n]
    )
    assert abs(weights.std().item() - 0.1) < 0.001


def test_residuals_grow_with_the_scale_and_are_measured_where_they_are_added() -> None:
    half, whole = (residuals(Request(steps=2, scale=scale)) for scale in (0.5, 1.0))
    assert len(whole) == 2
    for small, large in zip(half[0], whole[0], strict=True):
        assert large.strength == pytest.approx(2 * small.strength, rel=1e-4)
        assert np.allclose(large.map, 2 * small.map, rtol=1e-3)
        assert large.map.shape == large.shape[1:]
    nothing = residuals(Request(steps=2, scale=0.0))
    assert all(r.strength == 0 for step in nothing for r in step)
    assert [r.shape for r in whole[0]] == list(network().residuals)
    bars = residuals_figure(whole[0]).axes[0].patches
    assert [bar.get_height() for bar in bars] == [r.strength for r in whole[0]]


def test_weights_of_guess_modes() -> None:
    sides = [64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8, 8]
    assert guess_weights("original", sides) == pytest.approx([0.825 ** (12 - i) for i in range(13)])
    assert guess_weights("diffusers", sides) == pytest.approx(torch.logspace(-1, 0, 13).tolist())
    assert guess_weights("article", sides) == [64 / side for side in sides]
    with pytest.raises(ValueError, match="there are: original, diffusers, article"):
        guess_weights("mine", sides)
