"""Texts of a study: tags, prompts as lists of them, and the names of sources."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr

from workbench.prompts import parse_tags
from workbench.study.labels import SCENE_SOURCE, is_map, path_of

MAX_TAG_LENGTH = 200
MANY, FEW = 10_000, 1_000
"""How many entries a list may have: sources and seeds, and all others."""


def plain_text(text: str) -> str:
    """Text on one line, without blanks around it; ValueError otherwise."""
    text = text.strip()
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c == "\ufeff" for c in text):
        raise ValueError("has a control character or a line break in it")
    return text


def _one_tag(text: str) -> str:
    text = " ".join(plain_text(text).split())
    if not text:
        raise ValueError("is an empty tag")
    if parse_tags(text) != (text,):
        raise ValueError(f'"{text[:60]}" has a comma in it: make it two tags')
    if len(text) > MAX_TAG_LENGTH:
        raise ValueError(f"is a tag of more than {MAX_TAG_LENGTH} characters")
    return text


def _split_tags(value: Any) -> Any:
    if value is None:
        return ()
    return parse_tags(value) if isinstance(value, str) else value


def _one_source(text: str) -> str:
    text = plain_text(text)
    if not text:
        raise ValueError("is empty")
    if text.startswith("paperdoll:"):
        if not SCENE_SOURCE.fullmatch(text):
            raise ValueError(f'"{text[:60]}" has no seed: write paperdoll:<whole number>')
        return f"paperdoll:{int(text.partition(':')[2])}"
    if is_map(text) and not path_of(text).strip():
        raise ValueError(f'"{text[:60]}" has no path: write map:<path of an image file>')
    return text


Tag = Annotated[StrictStr, AfterValidator(_one_tag)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=FEW), BeforeValidator(_split_tags)]
Source = Annotated[StrictStr, AfterValidator(_one_source)]
