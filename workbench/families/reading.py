"""What the text encoders of a base model read of a prompt. Nothing but tokenizers is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from workbench.families.catalogue import Family, FamilyError
from workbench.families.locate import LocateError, locate

Encode = Callable[[str], Sequence[int]]
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
T5 = "tokenizer_3"


class UnreadableError(Exception):
    """A tokenizer's file is broken."""


class TextReader:
    """The tokenizers of a base model, each with the number of tokens its encoder reads.

    `encoders` are pairs of a function, text -> token ids with those of start and end, and the
    limit, start and end included. What the encoder with the largest limit does not read, none does.
    """

    def __init__(self, encoders: Sequence[tuple[Encode, int]]) -> None:
        self._encoders = tuple(encoders)
        self._most, self.limit = max(self._encoders, key=lambda pair: pair[1])

    def reading(self, text: str) -> tuple[tuple[int, ...], ...]:
        """What the encoders read: equal for texts that give the same picture."""
        read = []
        for encode, limit in self._encoders:
            ids = tuple(encode(text))
            read.append(ids if len(ids) <= limit else (*ids[: limit - 1], ids[-1]))
        return tuple(read)

    def tokens(self, text: str) -> int:
        """How many tokens the text has for the encoder that reads the most, start and end too."""
        return len(self._most(text))

    def is_cut(self, text: str) -> bool:
        """Whether the end of the text is read by no encoder."""
        return self.tokens(text) > self.limit


def text_reader(family: Family, base: str, models: str | Path | None = None) -> TextReader | None:
    """The reader of a base model; None where its files are not on this disk, or are broken: who
    loads the model says what is wrong with it."""
    try:
        folder = locate(family.base_ref(base), models).folder
        found = [] if folder is None else [folder / name for name in TOKENIZERS]
        there = [_encoder(path, family.text_limit) for path in found if path.is_dir()]
    except (LocateError, FamilyError, OSError, ValueError, TypeError, UnreadableError):
        return None
    return TextReader(there) if there else None


def _encoder(folder: Path, limit: int) -> tuple[Encode, int]:
    """A tokenizer, and how much its encoder reads: diffusers cuts for T5 at the number it is given,
    for CLIP at the tokenizer's own."""
    config = folder / "tokenizer_config.json"
    own = int(json.loads(config.read_text("utf-8")).get("model_max_length") or limit)
    read = min(limit, own) if folder.name == T5 else own
    newest = max(path.stat().st_mtime_ns for path in folder.iterdir())
    return _tokenizer(folder, newest), read


@lru_cache(maxsize=16)
def _tokenizer(folder: Path, newest: int) -> Encode:
    """newest: time of the last change of a file in the folder."""
    whole = folder / "tokenizer.json"
    if whole.is_file():  # at hand at once, where transformers takes seconds to be imported
        from tokenizers import Tokenizer

        try:
            quick = Tokenizer.from_file(str(whole))
        except Exception as error:  # the library has no type of its own for a broken file
            raise UnreadableError(f"{whole} is no tokenizer") from error
        quick.no_truncation()
        quick.no_padding()
        return lru_cache(maxsize=4096)(lambda text: quick.encode(text).ids)
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )
    return lru_cache(maxsize=4096)(lambda text: slow(text, verbose=False)["input_ids"])
