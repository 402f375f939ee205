"""The tokenizer and the text tower: no word may vanish without an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from workbench.training.captions import corpus
from workbench.training.clip import embed_texts, new_clip
from workbench.training.tokenizer import MAX_TOKENS, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(list(corpus(1, 500)))


def test_words_of_the_world_are_one_token_each(tokenizer: CLIPTokenizer) -> None:
    text = "a girl, long hair, blond hair, black eyes, black coat, winter, snow, mountain"
    words, commas = 13, 7
    assert len(tokenizer.tokenize(text)) == words + commas


@pytest.mark.parametrize("text", ["Zürich", "żółw qq", "x_y @ 42!", "日本", "a 🙂 b"])
def test_unknown_words_survive(tokenizer: CLIPTokenizer, text: str) -> None:
    """An unknown letter must not become the end-of-text token, at which CLIP reads the text."""
    ids = tokenizer(text).input_ids
    assert tokenizer.eos_token_id not in ids[1:-1]
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == text.lower().replace(" ", "")


def test_the_last_tag_reaches_the_pooled_embedding(tokenizer: CLIPTokenizer) -> None:
    """With the wrong end-of-text id the text is read at its highest id and later tags are lost."""
    model = new_clip(tokenizer).eval()
    with torch.no_grad():
        texts = embed_texts(model, tokenizer, ["a girl, winter, snow", "a girl, winter, house"])
    assert float(texts[0] @ texts[1]) < 1 - 1e-4


def test_saved_and_loaded_it_is_the_same(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = "a boy, red hair, unheard-of words"
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.model_max_length == MAX_TOKENS
