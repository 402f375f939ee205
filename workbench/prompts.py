"""Prompts as they are written, the tags they are made of, and the ways to shorten them."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["prefix", "random"]
Unit = Literal["tags", "words", "sentences", "tokens"]
Count = Callable[[str], int]
"""How many tokens a text has, without those of start and end."""
Setting = Literal["length", "empty", "insufficient", "conflicting", "full"]

CAPTION = "caption"
"""The label of prompts that belong to one source each."""

_SEPARATORS = re.compile(r"(?:(?<!\d),|,(?!\d)|[，、\n\r])+")
_WORDS = re.compile(r"[^\s,，、;；]+(?:,(?=\d)[^\s,，、;；]+)*")
_SENTENCES = re.compile(r"\S.*?(?:[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」』）]*|(?=[\n\r])|$)")
Span = tuple[int, int]
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_SYNTAX = (
    ("a network to load", re.compile(r"<(?:lora|lyco|hypernet|embedding):[^<>]*>", re.IGNORECASE)),
    ("a weight", re.compile(rf"\([^()]*[^()\d\s]\s*:\s*{_NUMBER}\s*\)")),
    # A name that ends in a number has a weight with a point: "(2049:1.3)" in it is no proportion.
    ("a weight", re.compile(r"\([^()]*[^\W\d][^()]*\d\s*:\s*[+-]?\d*\.\d+\s*\)")),
    ("a weight", re.compile(r"\({2,}[^()]+\){2,}")),
    ("a weight", re.compile(r"\[{2,}[^\[\]]+\]{2,}")),
    ("words that change from step to step", re.compile(r"\[[^\[\]]*\|[^\[\]]*\]")),
    (
        "words that change at a step",
        re.compile(
            rf"\[[^\[\]]*:[^\[\]]*:\s*{_NUMBER}\s*\]|\[[^\[\]:]*[^\[\]:\d\s]\s*:\s*{_NUMBER}\s*\]"
        ),
    ),
    ("a bracket that is no weight", re.compile(r"\\[()\[\]]")),
)
_KEYWORD = re.compile(r"(\S*)(\s*)(?<![\w\"'“‘«])(BREAK|AND)(?![\w\"'”’»])(\s*)(\S*)")
_WHOLE = re.compile(r"\[[^\[\]]+\]")


@dataclass(frozen=True)
class Prompt:
    """A prompt as it is written, and where it may be cut.

    text: what goes to the text encoder where nothing is cut.
    spans: where its pieces stand in the text, (start, end) in characters, in order.

    >>> whole = Prompt.of("a red ball，a 1,000 year old tree")
    >>> whole.names
    ('a red ball', 'a 1,000 year old tree')
    >>> whole.cut([1]), whole.cut([0, 1]) == whole.text
    ('a 1,000 year old tree', True)
    """

    text: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, written: str | Sequence[str]) -> Prompt:
        """A prompt of tags: a list of them, joined by ", ", or one text.

        A text is split at commas, those of other scripts included, and at line ends; a comma
        between two digits ("1,000") is part of a number.
        """
        if not isinstance(written, str):
            ends = [sum(map(len, written[: i + 1])) + 2 * i for i in range(len(written))]
            spans = ((end - len(tag), end) for tag, end in zip(written, ends, strict=True))
            return cls(join_tags(written), tuple(spans))
        edges = [0, *(i for found in _SEPARATORS.finditer(written) for i in found.span())]
        edges.append(len(written))
        pieces = (_bare(written, *span) for span in zip(edges[::2], edges[1::2], strict=True))
        return cls(written, tuple((start, end) for start, end in pieces if start < end))

    @property
    def names(self) -> tuple[str, ...]:
        """The pieces, runs of white space in them as one blank."""
        return tuple(" ".join(self.text[start:end].split()) for start, end in self.spans)

    def by(self, unit: Unit) -> Prompt:
        """The same text in other pieces: "words" end at blanks and commas, "sentences" at a full
        stop, question or exclamation mark before a blank, and at line ends; "tokens" are counted
        in whole words.

        >>> Prompt.of("A girl, in the snow. It is 3.5 degrees!").by("sentences").names
        ('A girl, in the snow.', 'It is 3.5 degrees!')
        """
        if unit == "tags":
            return self
        kind = _SENTENCES if unit == "sentences" else _WORDS
        spans = (_bare(self.text, *found.span()) for found in kind.finditer(self.text))
        return Prompt(self.text, tuple((start, end) for start, end in spans if start < end))

    @property
    def value(self) -> str | tuple[str, ...]:
        """What a study says for it: the list of its tags if that gives this text, else the text."""
        return self.names if self.names and join_tags(self.names) == self.text else self.text

    def cut(self, places: Collection[int]) -> str:
        """The text that keeps only the pieces at these places, each with what is written between
        it and the next; all of them give the text as it is written."""
        kept = sorted(places)
        if len(kept) == len(self.spans):
            return self.text
        parts = []
        for place in kept:
            start, end = self.spans[place]
            parts.append(self.text[start : end if place == kept[-1] else self.spans[place + 1][0]])
        return "".join(parts)


def _bare(text: str, start: int, end: int) -> Span:
    """A span without the white space at its ends."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def parse_tags(text: str) -> tuple[str, ...]:
    """The tags of a prompt, each once: its pieces (see `Prompt.of`) in order.

    Runs of white space become one blank. An empty text gives no tags.

    >>> parse_tags("a girl, long  hair,, snow\\na girl")
    ('a girl', 'long hair', 'snow')
    """
    return tuple(dict.fromkeys(Prompt.of(text).names))


def join_tags(tags: Sequence[str]) -> str:
    """The prompt text of some tags, as the text encoder gets it: "a girl, long hair"."""
    return ", ".join(tags)


def webui_syntax(text: str, caption: bool = False) -> str:
    """What in a prompt is syntax of the Stable Diffusion webui, which we would take literally:
    '"(snow:1.3)" (a weight)', the first of it, or "" for none.

    Ordinary brackets are none: "a girl (smiling)", "(ratio 16:9)", "SALT AND PEPPER". A tag wholly
    in square brackets is, but not in a caption.

    >>> webui_syntax("a girl (smiling), (snow:1.3)")
    '"(snow:1.3)" (a weight)'
    """
    found = [(m.start(), m[0], what) for what, kind in _SYNTAX for m in kind.finditer(text)]
    for match in _KEYWORD.finditer(text):
        before, _, word, _, after = match.groups()
        shouted = any(len(near) > 1 and near.isupper() for near in (before, after))
        alone = not match[0].replace(word, "", 1).strip(" ,，\n\r\t") and text.strip() == word
        if not shouted and not alone:
            found.append((match.start(3), word, "parts of a prompt that are read apart"))
    if not caption:
        prompt = Prompt.of(text)
        found += [
            (start, text[start:end], "a weight")
            for start, end in prompt.spans
            if _WHOLE.fullmatch(text[start:end]) and start not in {place for place, *_ in found}
        ]
    if not found:
        return ""
    _, shown, what = min(found)
    return f'"{" ".join(shown.split())[:60]}" ({what})'


@dataclass(frozen=True)
class PromptVariant:
    """One form of a study's prompt.

    label: what plots and tables call it.
    tags: the tags which it has, in order.
    length: the place on the prompt-length axis: how many tags that is, or words, sentences or
        tokens; of the study's own forms which one it is, from 1.
    dropped: the tags of the whole prompt which it lacks, in order.
    setting: "length" for a shortened prompt (the whole one included), or one of the four settings
        in which ControlNets are compared: "empty", "insufficient", "conflicting", "full".
    written: its text, where that is not the tags joined by ", ".
    cut_at: how many tokens of it the text encoder reads, where it is longer; else 0.
    unread: those of its tags which the text encoder does not read to their end.
    is_caption: whether it is a source's own prompt, or a part of it, which is not taken to tags.
    """

    label: str
    tags: tuple[str, ...]
    length: int
    dropped: tuple[str, ...] = ()
    setting: Setting = "length"
    written: str | None = None
    cut_at: int = 0
    unread: tuple[str, ...] = ()
    is_caption: bool = False

    def __post_init__(self) -> None:
        if self.written is None and self.length != len(self.tags):
            raise ValueError(f"length {self.length} does not fit {len(self.tags)} tags")

    @property
    def text(self) -> str:
        """The prompt text."""
        return join_tags(self.tags) if self.written is None else self.written

    @property
    def name(self) -> str:
        """The label, with how much is read where that is not all: "40 tags, cut at 77 tokens".

        Captions of unlike sources share a label, whichever of them are cut.
        """
        cut = self.cut_at and not self.is_caption
        return f"{self.label}, cut at {self.cut_at} tokens" if cut else self.label

    @property
    def read(self) -> tuple[str, ...]:
        """The tags that the text encoder reads."""
        return tuple(tag for tag in self.tags if tag not in self.unread)


def kept_places(
    names: Sequence[str],
    length: int,
    method: Method = "prefix",
    seed: int = 0,
    keep: Sequence[str] = (),
) -> tuple[int, ...]:
    """Where the `length` pieces (0 … all) stand that a shortened prompt keeps, in order.

    "prefix" keeps the first ones, and those in `keep` before all others. "random" keeps a random
    choice; with the same number of pieces and seed the choices are nested, so that a longer prompt
    only ever adds pieces to a shorter one.
    Raises ValueError for a length out of range or an unknown method.
    """
    if not 0 <= length <= len(names):
        raise ValueError(f"length must lie between 0 and {len(names)}, not {length}")
    places = range(len(names))
    if method == "prefix":
        first = [names.index(tag) for tag in dict.fromkeys(keep) if tag in names]
        return tuple(sorted([*first, *(i for i in places if i not in first)][:length]))
    if method == "random":
        # Random.random() is the one method whose sequence Python promises never to change.
        draw = random.Random(seed)
        keys = [draw.random() for _ in places]
        return tuple(sorted(sorted(places, key=lambda place: keys[place])[:length]))
    raise ValueError(f"method must be 'prefix' or 'random', not {method!r}")


def whole_length(prompt: Prompt, unit: Unit = "tags", count: Count | None = None) -> int:
    """How long a prompt is, in units; `count` is needed for tokens."""
    if unit == "tokens" and count is not None:
        return count(prompt.text)
    return len(prompt.by(unit).spans)


def unit_variant(
    prompt: Prompt, length: int, unit: Unit, count: Count | None = None, *, caption: bool = False
) -> PromptVariant:
    """The variant that keeps the first `length` words, sentences or tokens (or tags) of a prompt.

    Of tokens as many whole words are kept as fit into them. A tag is kept if it is so to its end;
    a `caption` has no tags. ValueError for a length out of range.
    """
    pieces = prompt.by(unit)
    whole = whole_length(prompt, unit, count)
    if not 0 <= length <= whole:
        raise ValueError(f"length must lie between 0 and {whole}, not {length}")
    kept = length
    if unit == "tokens" and count is not None:
        places = range(1, len(pieces.spans) + 1)
        fit = bisect_right(places, length, key=lambda n: count(pieces.cut(range(n))))
        kept = len(places) if length == whole else fit
    text = pieces.cut(range(kept))
    end = pieces.spans[kept - 1][1] if kept else 0
    pairs = zip(prompt.names, prompt.spans, strict=True)
    tags = () if caption else tuple(name for name, span in pairs if span[1] <= end)
    dropped = () if caption else tuple(n for n in dict.fromkeys(prompt.names) if n not in tags)
    label = f"{length} {unit[:-1] if length == 1 else unit}"
    return PromptVariant(label, tags, length, dropped, written=text, is_caption=caption)


def form_variants(
    forms: Mapping[str, str | Sequence[str]], whole: Prompt, *, caption: bool = False
) -> tuple[PromptVariant, ...]:
    """A study's own forms of a prompt, name -> text, one after the other on the axis of length.

    A tag of the `whole` prompt is kept where a form has it as a tag of its own; captions have none.
    """
    found = []
    for place, (name, written) in enumerate(forms.items(), start=1):
        prompt = Prompt.of(written)
        tags = () if caption else tuple(t for t in dict.fromkeys(whole.names) if t in prompt.names)
        dropped = () if caption else tuple(t for t in dict.fromkeys(whole.names) if t not in tags)
        found.append(
            PromptVariant(name, tags, place, dropped, written=prompt.text, is_caption=caption)
        )
    return tuple(found)


def shortened_variant(
    prompt: Prompt | Sequence[str],
    length: int,
    method: Method = "prefix",
    seed: int = 0,
    keep: Sequence[str] = (),
) -> PromptVariant:
    """The variant of a prompt (or of a list of tags) that keeps `length` tags; errors as in
    `kept_places`.

    >>> shortened_variant(("a girl", "long hair", "black eyes", "snow"), 2).text
    'a girl, long hair'
    >>> shortened_variant(("a girl", "long hair", "black eyes", "snow"), 2, keep=["snow"]).text
    'a girl, snow'
    """
    prompt = prompt if isinstance(prompt, Prompt) else Prompt.of(prompt)
    places = kept_places(prompt.names, length, method, seed, keep)
    noun = "tag" if length == 1 else "tags"
    return _variant(f"{length} {noun}", prompt, places)


def setting_variant(setting: Setting, written: str | Sequence[str], whole: Prompt) -> PromptVariant:
    """A prompt of its own beside the `whole` one, used in one of the four settings."""
    prompt = Prompt.of(written)
    return _variant(setting, prompt, range(len(prompt.spans)), whole.names, setting)


def _variant(
    label: str,
    prompt: Prompt,
    places: Sequence[int],
    whole: Sequence[str] = (),
    setting: Setting = "length",
) -> PromptVariant:
    names, text = prompt.names, prompt.cut(places)
    kept = tuple(names[i] for i in places)
    dropped = tuple(name for name in dict.fromkeys(whole or names) if name not in kept)
    written = None if text == join_tags(kept) else text
    return PromptVariant(label, kept, len(kept), dropped, setting, written)


def caption_variant(caption: str | Sequence[str]) -> PromptVariant:
    """A source's own prompt, as it is written. It counts as one tag, for captions of unlike sources
    have no common axis of length."""
    return PromptVariant(CAPTION, (Prompt.of(caption).text,), 1, is_caption=True)


def leave_one_out(prompt: Prompt | Sequence[str]) -> tuple[PromptVariant, ...]:
    """One variant for each tag, which lacks that tag alone. The whole prompt is not among them."""
    prompt = prompt if isinstance(prompt, Prompt) else Prompt.of(prompt)
    names, places = prompt.names, range(len(prompt.spans))
    return tuple(
        _variant(f"without {name}", prompt, [i for i in places if names[i] != name])
        for name in dict.fromkeys(names)
    )
