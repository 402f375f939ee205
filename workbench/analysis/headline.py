"""The answer of a run in a few sentences, however many control types it has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.analysis.frames import control_type, controls_in, distinct_controls, records
from workbench.analysis.ranking import compare_types
from workbench.analysis.tags import tag_slopes
from workbench.analysis.tipping import ALWAYS, NEVER, TIPS, tipping_scales
from workbench.analysis.trends import FALLS
from workbench.analysis.wording import count_sources, plain, title

if TYPE_CHECKING:
    import pandas as pd

FEW = 2
"""Up to so many control types are spoken of one by one; of more, what is said of all of them."""
GIVES = "gives way"
"""What becomes of a word whose score clearly falls, though it has no clear tipping scale."""

Rows = list[dict[str, Any]]


def overridden_words(frame: pd.DataFrame, silhouette: Collection[str] | None = None) -> list[str]:
    """Which words does the control override, in a few sentences.

    One for each of few control types, or for those of which the same is to be said: words with a
    clear tipping scale come first, then those that clearly give way at no clear scale, then those
    that are obeyed throughout although the source contradicts them. With many control types there
    is a sentence for each word, or for words of which the same is to be said. Control types with
    one source, of which nothing is claimed, are left out.
    """
    frame = distinct_controls(frame)
    tipping = tipping_scales(frame, silhouette=silhouette)
    rows = records(tipping[tipping["n_sources"] > 1])
    slopes = tag_slopes(frame, silhouette=silhouette)
    fallen = {(r["control"], r["tag"]) for r in records(slopes) if r["direction"] == FALLS}
    for row in rows:
        if not (row["clear"] and row["answer"] in (ALWAYS, TIPS, NEVER)):
            row["answer"] = GIVES if (row["control"], row["tag"]) in fallen else ""
    asked = list(dict.fromkeys(str(row["control"]) for row in rows))
    if len({control_type(name) for name in asked}) > FEW:
        return list(_by_word(rows, asked))
    answers: dict[str, list[str]] = {}
    for name in asked:
        answer = _of_control([row for row in rows if row["control"] == name])
        answers.setdefault(answer, []).append(name)
    return [f"{_each(controls)} {answer}." for answer, controls in answers.items()]


def most_obeyed(frame: pd.DataFrame, control_metrics: Mapping[str, str] | None = None) -> list[str]:
    """Which of many control types is obeyed most; nothing where there are few.

    A type is called first only where it is, whichever metric is chosen (`ranking.compare_types`).

    Args:
        control_metrics: control type -> metric, in place of the control's primary one.
    """
    if len({control_type(name) for name in controls_in(frame)}) <= FEW:
        return []
    ranks, pairs, _ = compare_types(frame, control_metrics=control_metrics)
    ranks = ranks[ranks["n_sources"] > 1]
    several = frame["base"].nunique() > 1
    places: dict[tuple[str, float], Rows] = {}
    for row in records(ranks.sort_values(["base", "scale", "rank"])):
        places.setdefault((row["base"], row["scale"]), []).append(row)
    leads: dict[str, list[str]] = {}
    for place, rows in places.items():
        mine = pairs[(pairs["base"] == place[0]) & (pairs["scale"] == place[1])]
        first = rows[0]["control"]
        rivals = mine[(mine["first"] == first) | (mine["second"] == first)]
        ahead = len(rivals) > 0 and bool((rivals["better_by_every"] == first).all())
        leads.setdefault(first if ahead else "", []).append(_place(place, several))
    if not places:
        return []
    last = max(places, key=lambda place: place[1])
    high, low = places[last][:2], places[last][-1]
    shown = " and ".join(f"{row['control']} {plain(row['mean'])}" for row in high)
    open_ = leads.pop("", [])
    told = [
        f"{name} {'at every scale' if len(where) == len(places) else _listed(where)}"
        for name, where in leads.items()
    ]
    text = (
        f"Obeyed most, whichever metric is chosen: {'; '.join(told)}"
        if told
        else "No control type is clearly obeyed most, whichever metric is chosen"
    )
    text += f"; no clear first {_listed(open_)}" if told and open_ else ""
    sources = count_sources(high[0]["n_sources"])
    return [
        f"{text}. {title(_place(last, several))} the highest control adherence have {shown}, the "
        f"lowest has {low['control']}, {plain(low['mean'])} ({sources})."
    ]


def _place(place: tuple[str, float], several: bool) -> str:
    return f"at scale {place[1]:g}" + (f" on base model {place[0]}" if several else "")


def _of_control(rows: Rows) -> str:
    """What one control type does to the words."""
    of = {answer: [r for r in rows if r["answer"] == answer] for answer in (ALWAYS, TIPS)}
    lost = [f'"{r["tag"]}" at every scale from {r["x_first"]:g} on' for r in of[ALWAYS]]
    lost += [f'"{r["tag"]}" from scale {r["scale"]:.2f} on' for r in of[TIPS]]
    parts = [f"overrides {', '.join(lost)}" if lost else "overrides no word at a clear scale"]
    for answer, one, many in (
        (GIVES, "clearly gives way, at no clear scale", "clearly give way, at no clear scales"),
        (NEVER, "is obeyed throughout, against the source",
         "are obeyed throughout, against the source"),
    ):  # fmt: skip
        words = [f'"{row["tag"]}"' for row in rows if row["answer"] == answer]
        parts += [f"{', '.join(words)} {one if len(words) == 1 else many}"] if words else []
    return "; ".join(parts)


def _by_word(rows: Rows, asked: Sequence[str]) -> Iterator[str]:
    """What becomes of each word under which control types; the words most often lost first."""
    words: dict[str, Rows] = {}
    for row in rows:
        words.setdefault(str(row["tag"]), []).append(row)
    answers: dict[tuple[str, ...], list[str]] = {}
    for word, mine in words.items():
        of = {answer: [r for r in mine if r["answer"] == answer] for answer in (ALWAYS, TIPS)}
        parts = []
        if of[ALWAYS]:
            start = of[ALWAYS][0]["x_first"]
            parts.append(f"overridden at every scale from {start:g} on {_under(of[ALWAYS], asked)}")
        if of[TIPS]:
            ends = sorted(f"{row['scale']:.2f}" for row in of[TIPS])
            span = ends[0] if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"
            parts.append(f"overridden from scale {span} on {_under(of[TIPS], asked)}")
        for answer, text in (
            (GIVES, "clearly gives way, at no clear scale,"),
            (NEVER, "obeyed throughout, against the source,"),
        ):
            if under := [row for row in mine if row["answer"] == answer]:
                parts.append(f"{text} {_under(under, asked)}")
        answers.setdefault(tuple(parts), []).append(word)
    lost = {word: sum(r["answer"] not in ("", NEVER) for r in mine) for word, mine in words.items()}
    for found, group in sorted(answers.items(), key=lambda one: -lost[one[1][0]]):
        if found:
            names = _listed([f'"{word}"' for word in group])
            yield f"{names}: {'; '.join(found)}."


def _under(rows: Rows, asked: Sequence[str]) -> str:
    """The control types of these rows; those that are not among them, where these are few."""
    there = _kinds([str(row["control"]) for row in rows], asked)
    absent = _kinds([name for name in asked if name not in {r["control"] for r in rows}], asked)
    if not absent:
        return "under every control type"
    if len(absent) <= FEW < len(there):
        return f"under every control type but {_listed(absent)}"
    return f"under {_listed(there)}"


def _kinds(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Labels, in their place the type alone where all labels asked of it are among them."""
    whole = {
        kind
        for kind in map(control_type, names)
        if all(name in names for name in asked if control_type(name) == kind)
    }
    return list(dict.fromkeys(k if (k := control_type(n)) in whole else n for n in names))


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _each(controls: Sequence[str]) -> str:
    """One or more control types as the subject of a sentence in the singular."""
    return f"Each of {_listed(controls)}" if len(controls) > 1 else title(controls[0])
