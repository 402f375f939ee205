"""Protects what a plan believes of a text encoder: the tokens and limits of the models at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_families import FAMILIES, write_tiny_families

from workbench.families import data_dir, get_family
from workbench.families.manager import ModelManager
from workbench.families.reading import text_reader

TEXTS = ["", "a girl, long hair", "A Girl  with\n 白裙，微风 é it's", "snow " * 90, "🙂"]


def test_the_embedded_tokenizer_is_read_as_the_pipeline_reads_it() -> None:
    reader, manager = text_reader(get_family("paperdoll"), "render"), ModelManager("paperdoll")
    assert reader is not None and reader.limit == 32
    tokenizer = manager.pipeline(None).tokenizer
    for text in TEXTS:
        assert reader.reading(text) == (
            tuple(tokenizer(text, truncation=True, max_length=32)["input_ids"]),
        )
        count = manager.token_count(text)
        assert (reader.tokens(text), reader.is_cut(text)) == (count.tokens, count.truncated)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_families(folder)
    return folder


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-xl", "tiny-flow"])
def test_every_architecture_has_its_limit(name: str, models: Path) -> None:
    family = FAMILIES[name]
    reader = text_reader(family, "one", models)
    manager = ModelManager(family, models_dir=models)
    assert reader is not None
    for text in TEXTS:
        count = manager.token_count(text)
        assert (reader.tokens(text), reader.is_cut(text)) == (count.tokens, count.truncated)


def test_a_model_that_is_not_there_or_broken_has_no_reader(tmp_path: Path) -> None:
    assert text_reader(get_family("sd15"), "v1-5", tmp_path) is None
    tokenizer = tmp_path / "tiny" / "base" / "tokenizer"
    shutil.copytree(data_dir() / "models" / "paperdoll" / "base" / "tokenizer", tokenizer)
    family = FAMILIES["tiny-sd"]
    assert text_reader(family, "one", tmp_path) is not None
    (tokenizer / "tokenizer.json").write_text("{", "utf-8")
    assert text_reader(family, "one", tmp_path) is None
