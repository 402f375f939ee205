"""Protects: a word's map is the attention that the network itself pays to its tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention
from tiny_models import FAMILY, PROMPTS, make_maps, make_trial

from workbench.families.manager import ModelManager
from workbench.families.runtime import Runtime
from workbench.influences import Influence
from workbench.influences.making import watch
from workbench.influences.words import AttentionWatch, word_places
from workbench.store import StoreError


def test_places_are_those_of_the_tokens(warm_manager: ModelManager) -> None:
    tokenizer = warm_manager.pipeline(None).tokenizer
    ids = tokenizer(PROMPTS[0])["input_ids"]
    found = word_places(tokenizer, PROMPTS[0], 20)
    assert list(found) == ["a girl", "long hair", "red coat"]
    for word, places in found.items():
        assert tokenizer.decode([ids[i] for i in places]).strip() == word
    last = found["red coat"]
    cut = word_places(tokenizer, PROMPTS[0], last[0] + 1)  # its end token is in that place
    assert list(cut) == ["a girl", "long hair"]
    assert word_places(tokenizer, "", 20) == {}


def test_what_is_seen_is_what_the_network_pays(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With plain attention the network asks the same function, for both halves of the batch."""
    manager = ModelManager(FAMILY, models_dir=models, runtime=Runtime(attention="eager"))
    scores, paid = Attention.get_attention_scores, list[tuple[bool, torch.Tensor]]()

    def recorded(self: Attention, *args: Any) -> torch.Tensor:
        paid.append((self.is_cross_attention, scores(self, *args)))
        return paid[-1][1]

    monkeypatch.setattr(Attention, "get_attention_scores", recorded)
    unet = manager.pipeline(None).unet
    attention = AttentionWatch(unet)
    ends = attention.watch()
    rng = torch.Generator().manual_seed(1)
    latents, text = (torch.randn(s, generator=rng) for s in ((4, 4, 8, 8), (4, 20, 32)))
    with torch.inference_mode():
        unet(latents, 500, encoder_hidden_states=text)
    for end in ends:
        end()
    crossed = [probabilities for cross, probabilities in paid if cross]
    assert len(crossed) >= 4
    for mine, theirs in zip(crossed[::2], crossed[1::2], strict=True):
        torch.testing.assert_close(mine, theirs[len(theirs) // 2 :])
    seen = attention.taken((8, 8))
    assert seen is not None and seen.shape == (2, 20, 8, 8)
    np.testing.assert_allclose(seen.sum(axis=1), 1, rtol=1e-5)
    assert attention.taken((8, 8)) is None


def test_without_a_control_both_maps_are_one(warm_manager: ModelManager) -> None:
    for control, same in ((None, True), ("depth", False)):
        trial = make_trial(control=control)
        ((found,),) = watch([trial], make_maps(), warm_manager, (), batch_size=1)
        assert found.way is not None and len(found.way.words) == 3
        for one, other in found.way.words.values():
            assert (one > 0).all() and np.array_equal(one, other) == same


def test_words_are_kept_and_drawn(seen: Influence) -> None:
    trials = seen.trials.set_index("trial")["length"]
    trial = str(trials[trials == 2].index[0])
    latent, large = seen.words(trial, latent=True), seen.words(trial)
    assert list(latent) == list(large) == ["a girl", "snow"]
    assert {both.shape for both in latent.values()} == {(2, 8, 8)}
    assert {both.shape for both in large.values()} == {(2, *seen.picture(trial).shape[:2])}
    assert "snow" in seen.plot("words", trial).alt
    other = Influence(seen.path)
    other._observations[trial].words.clear()  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="nothing was seen of the words"):
        other.words(trial)
