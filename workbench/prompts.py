"""Prompts as ordered lists of tags, and the ways to shorten them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["prefix", "random"]
Setting = Literal["length", "empty", "insufficient", "conflicting", "full"]

CAPTION = "caption"
"""The label of prompts that belong to one source each."""

_SEPARATORS = re.compile(r"[,，、\n\r]+")


def parse_tags(text: str) -> tuple[str, ...]:
    """Split a prompt at commas and line ends into tags.

    Runs of white space become one blank, empty tags and repetitions of an earlier tag are dropped,
    and the order is kept. An empty text gives no tags.

    >>> parse_tags("a girl, long  hair,, snow\\na girl")
    ('a girl', 'long hair', 'snow')
    """
    tags = (" ".join(part.split()) for part in _SEPARATORS.split(text))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def join_tags(tags: Sequence[str]) -> str:
    """The prompt text of some tags, as the text encoder gets it: "a girl, long hair"."""
    return ", ".join(tags)


@dataclass(frozen=True)
class PromptVariant:
    """One form of a study's prompt.

    label: what plots and tables call it.
    tags: the tags which it has, in order.
    length: how many tags that is, the place on the prompt-length axis.
    dropped: the tags of the whole prompt which it lacks, in order.
    setting: "length" for a shortened prompt (the whole one included), or one of the four settings
        in which ControlNets are compared: "empty", "insufficient", "conflicting", "full".
    """

    label: str
    tags: tuple[str, ...]
    length: int
    dropped: tuple[str, ...] = ()
    setting: Setting = "length"

    def __post_init__(self) -> None:
        if self.length != len(self.tags):
            raise ValueError(f"length {self.length} does not fit {len(self.tags)} tags")

    @property
    def text(self) -> str:
        """The prompt text."""
        return join_tags(self.tags)

    @property
    def is_caption(self) -> bool:
        """Whether it is a source's own prompt, which is used whole and never taken to pieces."""
        return self.setting == "length" and self.label == CAPTION


def shorten(
    tags: Sequence[str],
    length: int,
    method: Method = "prefix",
    seed: int = 0,
    keep: Sequence[str] = (),
) -> tuple[str, ...]:
    """Keep `length` of the tags (0 … all), in their order.

    "prefix" keeps the first ones, and those in `keep` before all others. "random" keeps a random
    choice; with the same tags and seed the choices are nested, so that a longer prompt only ever
    adds tags to a shorter one.
    Raises ValueError for a length out of range or an unknown method.

    >>> shorten(("a girl", "long hair", "black eyes", "snow"), 2)
    ('a girl', 'long hair')
    >>> shorten(("a girl", "long hair", "black eyes", "snow"), 2, keep=["snow"])
    ('a girl', 'snow')
    """
    if not 0 <= length <= len(tags):
        raise ValueError(f"length must lie between 0 and {len(tags)}, not {length}")
    if method == "prefix":
        first = [tag for tag in dict.fromkeys(keep) if tag in tags]
        order = [*first, *(tag for tag in tags if tag not in first)]
        chosen = set(order[:length])
        return tuple(tag for tag in tags if tag in chosen)
    if method == "random":
        # Random.random() is the one method whose sequence Python promises never to change.
        draw = random.Random(seed)
        keys = [draw.random() for _ in tags]
        kept = sorted(range(len(tags)), key=lambda index: keys[index])[:length]
        return tuple(tags[index] for index in sorted(kept))
    raise ValueError(f"method must be 'prefix' or 'random', not {method!r}")


def shortened_variant(
    tags: Sequence[str],
    length: int,
    method: Method = "prefix",
    seed: int = 0,
    keep: Sequence[str] = (),
) -> PromptVariant:
    """The variant of a prompt that keeps `length` tags; errors as in `shorten`."""
    kept = shorten(tags, length, method, seed, keep)
    dropped = tuple(tag for tag in tags if tag not in kept)
    noun = "tag" if length == 1 else "tags"
    return PromptVariant(f"{length} {noun}", kept, length, dropped)


def caption_variant(tags: Sequence[str]) -> PromptVariant:
    """A source's own prompt. It counts as one tag, for captions of unlike sources have no common
    axis of length."""
    return PromptVariant(CAPTION, (join_tags(tags),), 1)


def leave_one_out(tags: Sequence[str]) -> tuple[PromptVariant, ...]:
    """One variant for each tag, which lacks that tag alone. The whole prompt is not among them."""
    return tuple(
        PromptVariant(
            label=f"without {tag}",
            tags=(*tags[:index], *tags[index + 1 :]),
            length=len(tags) - 1,
            dropped=(tag,),
        )
        for index, tag in enumerate(tags)
    )
