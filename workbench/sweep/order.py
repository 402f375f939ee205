"""In which order a study's pictures are made: a coarse grid over all of it first, then a finer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from workbench.study import Trial

T = TypeVar("T")


def coarse_first(trials: Iterable[Trial]) -> list[Trial]:
    """Trials so that those at the start show the whole trade-off, and those after them refine it.

    Of scales and of a source's prompts the outermost come first, then those that halve the gaps
    between them; of sources one, then two more, then four more. Seeds stay together, as they are
    compared with each other. What a batch must have in common, control types among it, takes turns
    anyway (see `workbench.generation.plan_batches`).
    """
    given = list(trials)
    scales = _levels(sorted({scales for trial in given for scales in _scales(trial)}))
    sources = _first_seen(trial.source_sha256 for trial in given if trial.controls)
    said: dict[str | None, dict[str, None]] = {}  # the prompts of each source, in their order
    for trial in given:
        said.setdefault(trial.source_sha256, {})[trial.prompt] = None
    prompts = {source: _levels(list(mine)) for source, mine in said.items()}
    rounds = {source: (place + 1).bit_length() - 1 for place, source in enumerate(sources)}

    def level(trial: Trial) -> int:
        return max(
            prompts[trial.source_sha256][trial.prompt],
            rounds.get(trial.source_sha256, 0),
            *(scales[scale] for scale in _scales(trial)),
        )

    return sorted(given, key=level)


def _scales(trial: Trial) -> tuple[float, ...]:
    return (trial.scale, *(use.scale for use in trial.also))


def _first_seen(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))


def _levels(values: Sequence[Hashable]) -> dict[Hashable, int]:
    """How late each value of a row comes: 0 for its ends, 1 for what halves the row, and so on."""
    levels = dict.fromkeys(values, 0)
    gaps = [(0, len(values) - 1, 1)]
    while gaps:
        low, high, level = gaps.pop()
        if high - low > 1:
            middle = (low + high) // 2
            levels[values[middle]] = level
            gaps += [(low, middle, level + 1), (middle, high, level + 1)]
    return levels
