"""Prompts as the text encoders read them: what is read alike is one picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workbench.prompts import Prompt, PromptVariant

if TYPE_CHECKING:
    from workbench.families.reading import TextReader

LEAST_TOKENS = 2
"""Start and end; every other token is a byte of the text or more."""


@dataclass(frozen=True)
class Reading:
    """What one base model reads of a study's prompts.

    forms: source -> the forms of its prompt, without lengths that are read like one before.
    same: text -> the text, first in the study, that is read like it.
    told: what is not read, in a sentence, or "". known: whether that can be told.
    """

    forms: Mapping[str, tuple[PromptVariant, ...]]
    same: Mapping[str, str] = field(default_factory=dict)
    told: str = ""
    known: bool = True


def read_forms(
    forms: Mapping[str, tuple[PromptVariant, ...]], reader: TextReader | None, limit: int
) -> Reading:
    """Read all forms of all sources' prompts.

    Args:
        forms: source -> the forms of its prompt. reader: of the base model, None if there is none.
        limit: how many tokens are read, start and end included.
    """
    texts = dict.fromkeys(variant.text for variants in forms.values() for variant in variants)
    if reader is None:
        longest = max((len(text.encode()) for text in texts), default=0)
        return Reading(forms, known=longest + LEAST_TOKENS <= limit)
    first: dict[object, str] = {}
    same = {text: first.setdefault(reader.reading(text), text) for text in texts}
    cut = {label: tuple(_cut(v, reader) for v in variants) for label, variants in forms.items()}
    kept = {label: tuple(_distinct(variants, same)) for label, variants in cut.items()}
    return Reading(kept, same, _told(cut, kept, reader.limit))


def _distinct(
    variants: Iterable[PromptVariant], same: Mapping[str, str]
) -> Iterator[PromptVariant]:
    """The forms without lengths that are read like one before."""
    seen: set[str] = set()
    for variant in variants:
        if variant.setting == "length":
            if same[variant.text] in seen:
                continue
            seen.add(same[variant.text])
        yield variant


def _cut(variant: PromptVariant, reader: TextReader) -> PromptVariant:
    """The variant with what of it is not read."""
    if not reader.is_cut(variant.text):
        return variant
    prompt = Prompt.of(variant.text)
    ends = {
        name: end for name, (_, end) in reversed([*zip(prompt.names, prompt.spans, strict=True)])
    }
    unread = [
        tag
        for tag in variant.tags
        if reader.tokens(variant.text[: ends.get(tag, len(variant.text))]) > reader.limit
    ]
    return replace(variant, cut_at=reader.limit, unread=tuple(dict.fromkeys(unread)))


def _told(
    forms: Mapping[str, tuple[PromptVariant, ...]],
    kept: Mapping[str, tuple[PromptVariant, ...]],
    limit: int,
) -> str:
    """What is not read of all forms, of which some are kept, in a sentence."""
    made = [variant for variants in kept.values() for variant in variants]
    there = [variant for variants in forms.values() for variant in variants]
    cut = list(dict.fromkeys(variant.label for variant in made if variant.cut_at))
    again = dict.fromkeys(variant.label for variant in there) if len(made) < len(there) else {}
    alike = [label for label in again if label not in {variant.label for variant in made}]
    read = {tag for variant in there for tag in variant.read}
    unread = [t for t in dict.fromkeys(t for v in there for t in v.unread) if t not in read]
    parts = []
    if cut:
        parts.append(f"{_names(cut)} {'is' if len(cut) == 1 else 'are'} cut there")
    if alike:
        one = len(alike) == 1
        parts.append(
            f"{_names(alike)} {'says no more and is' if one else 'say no more and are'} not made"
        )
    if unread:
        rest = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        named = ", ".join(f'"{tag[:60]}"' for tag in unread[:3])
        parts.append(f"what is never read gets no verdict ({named}{rest})")
    if not parts:
        return ""
    return f"The text encoder reads {limit} tokens of a prompt: {'; '.join(parts)}."


def _names(labels: Sequence[str]) -> str:
    shown = [f'"{label}"' for label in labels[:4]]
    if len(labels) > 4:
        shown.append(f"{len(labels) - 4} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def not_known(unit: str, limit: int) -> str:
    """The sentence for prompts that only the tokenizer of a model not yet there can read."""
    if unit == "tokens":
        return (
            "Lengths in tokens cannot be told before the model is downloaded: this plan counts "
            "bytes, and is made anew then."
        )
    return (
        f"The text encoder reads {limit} tokens of a prompt. Whether the longest prompts here have "
        "more, and which then give the same picture, cannot be told before the model is downloaded."
    )
