"""Pictures of a lesson come from the embedded model, changed in the one way that is asked.

Protects the lessons' claims about zero convolutions and weights of residuals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workbench.lessons import (
    Request,
    control_map,
    difference,
    models,
    picture,
    source_picture,
    source_words,
    text_picture,
    untrained,
    weighted,
    zero_convolutions,
)

pytestmark = pytest.mark.models
REQUEST = Request(steps=2)


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return text_picture(REQUEST)


def test_an_untrained_controlnet_changes_nothing_unless_it_starts_from_noise(
    plain: np.ndarray,
) -> None:
    assert source_picture(REQUEST).shape == control_map(REQUEST).shape == plain.shape
    assert np.array_equal(picture(REQUEST, untrained()), plain)
    assert difference(picture(REQUEST, untrained(0.1)), plain) > 0.01


def test_a_scene_tells_what_it_shows() -> None:
    assert {"a boy", "short hair"} <= set(source_words("paperdoll:900001"))


def test_the_zero_convolutions_are_all_that_start_at_zero() -> None:
    net = untrained()
    zeros = {id(layer.weight) for layer in zero_convolutions(net)}
    found = {id(p) for name, p in net.named_parameters() if name.endswith("weight") and not p.any()}
    assert found == zeros and len(zeros) == 8


def test_weights_of_residuals(plain: np.ndarray) -> None:
    net = models().controlnet("depth")
    usual = picture(REQUEST)
    assert difference(usual, plain) > 0.01
    for weights, unprompted, wanted in (
        ([1.0] * 7, "controlled", usual),
        ([0.0] * 7, "controlled", plain),
        ([0.0] * 7, "left out", plain),
    ):
        with weighted(net, weights, unprompted=unprompted):
            assert np.array_equal(picture(REQUEST, net), wanted)
    with weighted(net, [1.0] * 7, unprompted="empty map"):
        assert difference(picture(REQUEST, net), usual) > 0.01
    assert np.array_equal(picture(REQUEST), usual)
    with pytest.raises(ValueError, match="has 7 residuals, not 2"), weighted(net, [1, 1]):
        pass
    with (
        pytest.raises(ValueError, match="one of controlled"),
        weighted(net, [1] * 7, unprompted=""),
    ):
        pass


def test_the_guess_mode_of_diffusers_is_a_set_of_weights() -> None:
    """From 0.1 to 1, and on the predictions with the prompt alone."""
    net: Any = models().controlnet("depth")
    with weighted(net, np.logspace(-1, 0, 7), unprompted="left out"):
        ours = picture(REQUEST, net)
    assert difference(picture(REQUEST, guess_mode=True), ours) < 0.005
