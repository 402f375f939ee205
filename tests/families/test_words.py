"""Protects CLIP as a judge of words: bare words, their alternatives alone, on a real CLIP."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.families import get_family
from workbench.families.manager import ModelManager
from workbench.families.words import WordReading
from workbench.paperdoll import TAG_GROUPS, render, sample_scene


@pytest.fixture(scope="module")
def manager() -> ModelManager:
    return ModelManager(get_family("paperdoll").model_copy(update={"networks": {}}))


def test_a_word_stands_alone_against_its_alternatives(manager: ModelManager) -> None:
    """Against transformers' own zero-shot logits, for the family's groups and the study's own."""
    import torch

    pictures = [render(sample_scene(seed)).rgb for seed in (905_000, 905_001, 905_002)]
    judge = manager.words({"black coat": ["red coat", "blue coat"]})
    found = judge.read(pictures, ["black coat", "snow"])
    clip = manager.clip()
    pixels = clip.processor(images=pictures, return_tensors="pt")["pixel_values"]
    for column, texts in enumerate(
        (["black coat", "red coat", "blue coat"], ["snow", "rain", "sunny", "night"])
    ):
        tokens = clip.tokenizer(
            texts, padding="max_length", max_length=clip.text_limit, return_tensors="pt"
        )
        with torch.no_grad():
            said = clip.model(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                pixel_values=pixels,
            )
        wanted = said.logits_per_image.softmax(dim=1)
        assert found.probability[:, column] == pytest.approx(wanted[:, 0].numpy(), abs=1e-4)
        assert (found.seen[:, column] == (wanted.argmax(1) == 0).numpy()).all()


def test_it_knows_what_has_alternatives_and_validates_nothing(manager: ModelManager) -> None:
    judge = manager.words({"fog": ["haze"]})
    assert all(judge.knows(tag) for group in TAG_GROUPS.values() for tag in group)
    assert judge.knows("fog") and not judge.knows("a dog")
    assert judge.validated == "" and judge.name
    with pytest.raises(ValueError, match='cannot be asked about "a dog"'):
        judge.read([], ["a dog"])
    assert judge.read([], ["fog"]).probability.shape == (0, 1)


def test_alternatives_of_a_study_come_before_those_of_the_family() -> None:
    family = get_family("paperdoll")
    assert family.alternatives({})["long hair"] == ("short hair",)
    mine = family.alternatives({"long hair": ["bald head"], "fog": ["haze"]})
    assert mine["long hair"] == ("bald head",) and mine["fog"] == ("haze",)
    assert get_family("sd15").alternatives({}) == {}


def test_a_reading_has_one_shape() -> None:
    with pytest.raises(ValueError, match="must be"):
        WordReading(np.zeros((2, 3), np.float32), np.zeros((3, 2), bool))
