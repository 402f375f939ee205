"""Protects the judge that answers yes or no, loaded through a catalogue entry as any network is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotator_files import family_with
from tiny_networks import blip

from workbench.families import FamilyError, get_family
from workbench.families.annotators.vqa import QUESTION
from workbench.families.manager import ModelManager
from workbench.families.words import WordJudge

WORDS = ["long hair", "a girl with a very red coat", "snow"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(4)
    blip(folder / "model")
    return folder


def judge(models: Path, path: str = "model") -> WordJudge:
    family = family_with({"words": {"loader": "vqa", "path": path}})
    return ModelManager(family, models_dir=models).words()


@pytest.fixture(name="pictures")
def _pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(2)
    sizes = [(48, 64), (64, 48), (40, 40)] * 4  # more than are read at once
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_it_is_yes_against_no_as_the_model_itself_says(
    models: Path, pictures: list[np.ndarray]
) -> None:
    """Against the stock forward pass, whose decoder is listened to."""
    from transformers import AutoTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

    found = judge(models).read(pictures[:1], WORDS)
    assert found.probability.dtype == np.float32 and found.probability.shape == (1, 3)
    assert ((found.probability >= 0.5) == found.seen).all()
    model = BlipForQuestionAnswering.from_pretrained(models / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(models / "model")
    pixels = BlipImageProcessorPil.from_pretrained(models / "model")(
        images=pictures[0], return_tensors="pt"
    )["pixel_values"]
    start = model.decoder_start_token_id
    for column, word in enumerate(WORDS):
        logits: dict[str, Any] = {}

        def keep(module: Any, given: Any, out: Any, logits: dict[str, Any] = logits) -> None:
            logits["last"] = out.logits[0, -1]

        hook = model.text_decoder.register_forward_hook(keep)
        asked = tokenizer(QUESTION.format(word=word), return_tensors="pt")
        with torch.no_grad():
            model(
                input_ids=asked["input_ids"],
                attention_mask=asked["attention_mask"],
                pixel_values=pixels,
                decoder_input_ids=torch.tensor([[start]]),
            )
        hook.remove()
        yes, no = (float(logits["last"][tokenizer.vocab[text]]) for text in ("yes", "no"))
        assert found.probability[0, column] == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-5)


def test_answers_do_not_depend_on_what_is_read_beside(
    models: Path, pictures: list[np.ndarray]
) -> None:
    asks = judge(models)
    together = asks.read(pictures, WORDS).probability
    assert together.std() > 1e-4  # the random network does tell pictures or words apart
    alone = np.array([[asks.read([p], [w]).probability[0, 0] for w in WORDS] for p in pictures])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together[::-1], asks.read(pictures[::-1], WORDS).probability, atol=1e-5)
    assert asks.read([], WORDS).probability.shape == (0, 3)
    assert asks.read(pictures, []).seen.shape == (12, 0)


def test_it_says_what_it_is_and_that_nobody_has_validated_it(models: Path) -> None:
    asks = judge(models)
    assert "model" in asks.name and "Is there … in the picture?" in asks.name
    assert asks.validated == ""
    assert asks.knows("anything") and not asks.knows(" ")
    with pytest.raises(ValueError, match='cannot be asked about " "'):
        asks.read([], [" "])


def test_a_tokenizer_that_does_not_know_the_answers_is_refused(tmp_path: Path) -> None:
    blip(tmp_path / "model", words=("picture",))
    with pytest.raises(FamilyError, match="does not know the answers yes and no"):
        judge(tmp_path)


def test_a_folder_of_something_else_is_told_in_one_sentence(models: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(FamilyError, match="cannot be loaded as a model for vqa") as error:
        judge(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd35", "sd35-medium"])
def test_families_for_photographs_offer_it(name: str) -> None:
    family = get_family(name)
    assert "words" not in family.networks
    chosen = family.with_judges({"words": "blip-vqa"})
    assert chosen.networks["words"].repo == "Salesforce/blip-vqa-base"
