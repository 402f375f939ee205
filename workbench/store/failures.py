"""Why pictures of a run failed, by frequency, and what helps where it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.store.schema import Record

ADVICE = (
    (
        ("solid colour", "not numbers"),
        ("float16",),
        "float16 overflows in this model: take dtype: bfloat16 or, where only its VAE overflows as "
        "that of SDXL does, a VAE that is sound in float16 "
        "(vae: {repo: madebyollin/sdxl-vae-fp16-fix} in the family's catalogue entry)",
    ),
    (
        ("out of memory",),
        (),
        "one picture at a time is too large for the memory: close other programs, set dtype: "
        "float16 or runtime: {offload: model}, or take another device",
    ),
    (
        ("safety checker",),
        (),
        "the base model's own checker blocks them: change the prompt, or leave safety_checker out "
        "of the study where you may",
    ),
    (("worker process died",), (), "take fewer workers, or a smaller batch_size"),
)
"""What helps: words of a reason, dtypes for which it holds (all if empty), and the advice."""


@dataclass(frozen=True)
class Failure:
    """One reason, how many pictures failed for it, and what helps ("" if nobody knows)."""

    reason: str
    count: int
    advice: str = ""

    @property
    def text(self) -> str:
        """All of it in one line."""
        way = f". {self.advice[:1].upper()}{self.advice[1:]}" if self.advice else ""
        return f"{self.count} × {self.reason}{way}"


def failures(records: Iterable[Record]) -> tuple[Failure, ...]:
    """The reasons of all failed trials, the most frequent first."""
    found = Counter(
        (record.failed, str(record.made_by.get("dtype", ""))) for record in records if record.failed
    )
    return tuple(
        Failure(reason, count, advice(reason, dtype))
        for (reason, dtype), count in found.most_common()
    )


def advice(reason: str, dtype: str = "") -> str:
    """What helps against a reason in that dtype; "" if nobody knows.

    >>> advice("out of memory")[:45]
    'one picture at a time is too large for the me'
    """
    for words, dtypes, way in ADVICE:
        if any(word in reason for word in words) and (not dtypes or dtype in dtypes):
            return way
    return ""
