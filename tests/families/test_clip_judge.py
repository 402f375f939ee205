"""Protects: embeddings are those of the plain CLIPModel, and long texts keep their end token."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import FAMILY, SIDE
from transformers import CLIPConfig, CLIPModel

from workbench.families import FamilyError
from workbench.families.clip_judge import ClipJudge, load_clip
from workbench.families.locate import Place
from workbench.families.manager import ModelManager

TEXTS = ["a girl, long hair", "a boy, snow", "", "red coat"]


@pytest.fixture(scope="module")
def judge(models: Path) -> ClipJudge:
    return ModelManager(FAMILY, models_dir=models).clip()


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)]


def test_pictures_by_hand(judge: ClipJudge) -> None:
    images = pictures(3)
    pixels = (torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        pooled = judge.model.vision_model(pixel_values=pixels).pooler_output
        wanted = judge.model.visual_projection(pooled)
    wanted = (wanted / wanted.norm(dim=-1, keepdim=True)).numpy()
    got = judge.embed_images(images)
    assert got.dtype == np.float32
    assert got.shape == (3, judge.dimension)
    assert np.abs(got - wanted).max() < 1e-5


def test_texts_by_hand(judge: ClipJudge) -> None:
    for text, got in zip(TEXTS, judge.embed_texts(TEXTS), strict=True):
        ids = torch.tensor([judge.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            hidden = judge.model.text_model(input_ids=ids).last_hidden_state
            wanted = judge.model.text_projection(hidden[0, -1])
        wanted = (wanted / wanted.norm()).numpy()
        assert np.abs(got - wanted).max() < 1e-5


def test_results_do_not_depend_on_company_or_order(judge: ClipJudge) -> None:
    images = pictures(70)
    together = judge.embed_images(images)
    assert np.abs(together[::-1] - judge.embed_images(images[::-1])).max() < 1e-5
    assert np.abs(together[69] - judge.embed_images(images[69:])[0]).max() < 1e-5
    repeated = judge.embed_texts([TEXTS[1], TEXTS[0], TEXTS[1]])
    assert (repeated[0] == repeated[2]).all()
    assert (repeated[1] == judge.embed_texts(TEXTS)[0]).all()


def test_pictures_of_other_sizes_are_brought_to_the_models(judge: ClipJudge) -> None:
    big = np.kron(pictures(1)[0], np.ones((3, 3, 1), np.uint8))
    assert judge.embed_images([big, *pictures(1)]).shape == (2, judge.dimension)


def test_a_long_text_is_cut_before_its_end_token(judge: ClipJudge) -> None:
    long = "a girl " * 30
    ids = judge.tokenizer(long)["input_ids"]
    cut = torch.tensor([[*ids[: judge.text_limit - 1], judge.tokenizer.eos_token_id]])
    with torch.no_grad():
        hidden = judge.model.text_model(input_ids=cut).last_hidden_state
        wanted = judge.model.text_projection(hidden[0, -1])
    wanted = (wanted / wanted.norm()).numpy()
    assert np.abs(judge.embed_texts([long])[0] - wanted).max() < 1e-5
    count = judge.token_count(long)
    assert (count.tokens, count.truncated) == (len(ids), True)
    assert not judge.token_count("a girl").truncated


@pytest.mark.parametrize("told", [248, 20])
def test_a_long_text_clip_reads_as_many_tokens_as_it_has_positions(
    models: Path, tmp_path: Path, told: int
) -> None:
    """Published Long-CLIPs have 248 positions, a tokenizer of 77 and a configuration that may say
    77 as well; here the short ones say 20."""
    folder = tmp_path / "tiny" / "clip"
    shutil.copytree(models / "tiny" / "clip", folder)
    config = CLIPConfig.from_pretrained(folder)
    config.text_config.max_position_embeddings = 248
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    config.text_config.max_position_embeddings = told
    config.save_pretrained(folder)
    judge = ModelManager(FAMILY, models_dir=tmp_path).clip()
    assert judge.text_limit == 248
    assert judge.tokenizer.model_max_length == 20
    short, long = "a girl " * 60, "a girl " * 60 + "snow"
    tokens = judge.token_count(long)
    assert 77 < tokens.tokens <= 248 and not tokens.truncated
    assert np.abs(judge.embed_texts([long]) - judge.embed_texts([short])).max() > 1e-4
    assert judge.token_count("a girl " * 200).truncated
    for text in (long, "a girl " * 200):
        ids = judge.tokenizer(text)["input_ids"]
        cut = ids if len(ids) <= 248 else [*ids[:247], judge.tokenizer.eos_token_id]
        with torch.no_grad():
            hidden = judge.model.text_model(input_ids=torch.tensor([cut])).last_hidden_state
            wanted = judge.model.text_projection(hidden[0, -1])
        wanted = (wanted / wanted.norm()).numpy()
        assert np.abs(judge.embed_texts([text])[0] - wanted).max() < 1e-5


def test_nothing_in_nothing_out(judge: ClipJudge) -> None:
    assert judge.embed_images([]).shape == judge.embed_texts([]).shape == (0, judge.dimension)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_that_is_no_whole_clip_is_told_in_one_sentence(
    models: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(models / "tiny" / "clip", folder)
    (folder / name).write_bytes(b"") if name.startswith("model") else (folder / name).unlink()
    with pytest.raises(FamilyError, match="clip cannot be loaded as a CLIP") as error:
        load_clip(Place(str(folder), {"local_files_only": True}, folder))
    assert "\n" not in str(error.value)
