"""What the lessons are made of: weights of cells, shares of patches, mixed styles."""

from __future__ import annotations

import numpy as np

from workbench.paperdoll import Label
from workbench.training.clip import TagTable, jitter
from workbench.training.clip_pictures import patch_shares
from workbench.training.data import WorldData, render_arrays
from workbench.training.unet import DETAIL, detail_weights


def test_cells_with_a_face_weigh_more_and_the_mean_is_one() -> None:
    labels = np.zeros((2, 128, 128), np.uint8)
    labels[:, 40:48, 64:72] = Label.FACE
    weights = detail_weights(labels)
    assert weights.shape == (2, 16, 16)
    assert abs(float(weights.mean()) - 1) < 1e-5
    ratio = float(weights[0, 5, 8] / weights[0, 0, 0])
    assert abs(ratio - (1 + DETAIL[Label.FACE])) < 1e-4


def test_patch_shares_count_pixels() -> None:
    labels = np.random.default_rng(0).integers(0, 16, (2, 128, 128)).astype(np.uint8)
    shares = patch_shares(labels, 16)
    assert shares.shape == (2, 64, 16)
    patch = labels[1, 16:32, 32:48]
    assert np.allclose(shares[1, 8 + 2], np.bincount(patch.ravel(), minlength=16) / 256)


def test_jitter_moves_pictures_and_labels_alike() -> None:
    labels = np.random.default_rng(1).integers(0, 16, (6, 128, 128)).astype(np.uint8)
    rgb = np.repeat(labels[..., None], 3, -1)
    moved, after = jitter((rgb, labels), np.random.default_rng(2))
    assert np.array_equal(moved[..., 0], after)
    assert not np.array_equal(labels, after)


def test_mixed_pictures_are_either_style_of_their_own_scene() -> None:
    data = WorldData(**render_arrays(range(12)))
    rows = np.arange(12)
    mixed = data.mixed_pictures(rows, np.random.default_rng(0))
    plain, ink = data.pictures(rows), data.pictures(rows, "ink")
    kinds = {
        ("ink" if np.array_equal(m, i) else "plain" if np.array_equal(m, p) else "neither")
        for m, p, i in zip(mixed, plain, ink, strict=True)
    }
    assert kinds == {"ink", "plain"}
    assert np.array_equal(data.rgb, render_arrays(range(12))["rgb"])


def test_the_tag_loss_is_least_for_the_right_tags() -> None:
    import torch

    table = TagTable()
    truth = torch.zeros(1, len(table.spans), dtype=torch.long)
    scores = torch.zeros(1, len(table.texts))
    even = float(table.loss(scores, truth))
    for span in table.spans:
        scores[0, span.start] = 5.0
    assert float(table.loss(scores, truth)) < 0.1 < even
