"""The Paperdoll world's own byte-pair tokenizer, in CLIP's format."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MAX_TOKENS = 32
"""Longest prompt in tokens, start and end included."""


def train_tokenizer(captions: list[str], vocab_size: int = 700) -> CLIPTokenizer:
    """Train a `CLIPTokenizer` whose byte alphabet is whole, so that unknown words survive.

    A vocabulary that lacks a letter would turn it into the end-of-text token, at which CLIP reads
    the whole text: every single byte, alone and at a word's end, is therefore in the vocabulary.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    start, end = "<|startoftext|>", "<|endoftext|>"
    merges = _merges(captions, vocab_size - len(pieces) - 2)
    vocab = {piece: i for i, piece in enumerate(pieces)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    vocab[start], vocab[end] = len(vocab), len(vocab) + 1
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=end,
        bos_token=start,
        eos_token=end,
        pad_token=end,
        model_max_length=MAX_TOKENS,
    )


def _merges(captions: list[str], room: int) -> list[tuple[str, str]]:
    """Byte-pair merges learnt from captions (Sennrich et al. 2016, algorithm 1)."""
    words: Counter[tuple[str, ...]] = Counter()
    for text in captions:
        for word in text.replace(",", " , ").split():
            words[(*word[:-1], word[-1] + "</w>")] += 1
    merges: list[tuple[str, str]] = []
    while len(merges) < room:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, count in words.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_join(symbols, best): count for symbols, count in words.items()})
    return merges


def _join(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)
