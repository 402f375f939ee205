"""What of a run the explorer shows: all of it, or what was chosen, with its data and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.explorer.data import UNMADE, Catalogue, Shown, explorer_data, with_ways
from workbench.explorer.pictures import SIDE, RunPictures

if TYPE_CHECKING:
    import pandas as pd

MAX_PICTURES = 2000
MAX_WAYS = 200
"""Of so many pictures a page holds the maps of who pulls, with the pictures so far."""
SIDES = ((500, SIDE), (1000, 192), (2000, 144), (5000, 112))
"""Up to so many samples, at most so many pixels a side: a page of 2,000 stays below 25 MB."""
SMALLEST = 96


@dataclass(frozen=True)
class ViewChoice:
    """What of a run is shown.

    pictures: at most so many samples; seeds are left out first, then sources.
    seeds, sources, controls: how many, and which (all if empty).
    maps: whether control maps are read back from the pictures; None: where that costs little (the
        control type needs no network, or the model family is an embedded one and does not have to
        read more than 200 pictures at once).
    at_once: whether all pictures are wanted at once, as in a page. A notebook asks for those that
        are looked at.
    """

    pictures: int = MAX_PICTURES
    seeds: int | None = None
    sources: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    maps: bool | None = None
    at_once: bool = True

    def apply(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """The rows of the chosen cells, and a sentence on what was left out ("" if nothing was).

        ValueError if a source or control type that was named is not in the run.
        """
        from workbench.analysis import control_type

        whole = frame["trial"].nunique()
        for name, wanted, of in (
            ("source", self.sources, lambda rows: rows["source"]),
            ("control type", self.controls, lambda rows: rows["control"].map(control_type)),
        ):
            if not wanted:
                continue
            there = of(frame)
            for value in wanted:
                if value not in set(there):
                    known = ", ".join(map(str, dict.fromkeys(there)))
                    raise ValueError(f"the run has no {name} {value}; it has: {known}")
            frame = frame[there.isin(wanted)]
        seeds = sorted(frame["seed"].unique())[: self.seeds]
        frame = frame[frame["seed"].isin(seeds)]
        while len(seeds) > 1 and frame["trial"].nunique() > self.pictures:
            seeds = seeds[: max(1, len(seeds) // 2)]
            frame = frame[frame["seed"].isin(seeds)]
        sources = list(dict.fromkeys(frame["source"]))
        while len(sources) > 1 and frame["trial"].nunique() > self.pictures:
            sources = sources[: max(1, len(sources) // 2)]
            frame = frame[frame["source"].isin(sources)]
        kept = frame["trial"].nunique()
        if kept == whole:
            return frame, ""
        return frame, (
            f"This shows {kept:,} of the run's {whole:,} pictures: {len(seeds)} of its seeds "
            f"and {len(sources)} of its sources. Its curves are of these."
        )


@dataclass(frozen=True)
class View:
    """A run as the explorer shows it. `side`: pixels a side that a page of it affords a picture.

    `catalogue` numbers its pictures, and may go on to a later view of the same run.
    """

    title: str
    shown: Shown
    pictures: RunPictures
    catalogue: Catalogue
    side: int


def view_run(
    pictures: RunPictures,
    frame: pd.DataFrame,
    *,
    title: str = "",
    choice: ViewChoice | None = None,
    failed: Mapping[str, str] | None = None,
    headline: bool = True,
    catalogue: Catalogue | None = None,
) -> View:
    """Prepare what the explorer shows of a run. No picture is read yet.

    Args:
        pictures: those of the run.
        frame: its labelled long frame, see `analysis.distinct_controls`.
        title: its name.
        choice: what is shown; a run of up to 2,000 pictures whole if None.
        failed: trial -> why it has no picture.
        headline: whether it begins with the answer, which words the control overrides.
        catalogue: of an earlier view of the run: pictures keep their numbers.

    ValueError if the choice names what the run does not have.
    """
    from workbench.analysis import overridden_words

    choice, catalogue = choice or ViewChoice(), catalogue or Catalogue()
    frame, note = choice.apply(frame)
    count = frame["trial"].nunique()
    at_once, costly = count if choice.at_once else 0, bool(choice.maps)
    made = frame[frame["metric"] != UNMADE]
    ways, unseen = _ways(pictures, list(map(str, made["trial"].unique())), choice)
    answer = overridden_words(made) if headline and len(made) else ()
    shown = explorer_data(
        frame,
        title=title,
        sources=pictures.sources,
        failed=failed,
        read_back=() if choice.maps is False else pictures.readable(at_once, costly=costly),
        notes=[*answer, *(told for told in (note, unseen) if told)],
        catalogue=catalogue,
    )
    shown = with_ways(shown, ways, catalogue)
    side = next((s for most, s in SIDES if count <= most), SMALLEST)
    return View(title, shown, pictures, catalogue, side)


def _ways(
    pictures: RunPictures, trials: Sequence[str], choice: ViewChoice
) -> tuple[dict[str, Any], str]:
    """Who is driving, and a sentence on what of it a page leaves out ("" if nothing)."""
    ways = {} if pictures.ways is None else pictures.ways.values(trials)
    seen = ways.get("trials", {})
    if not choice.at_once or len(seen) <= MAX_WAYS:
        return ways, ""
    for way in list(seen.values())[MAX_WAYS:]:
        way["maps_at"] = way["so_far_at"] = []
    return ways, (
        f"Where text and control pull is shown of {MAX_WAYS} of the {len(seen):,} pictures of "
        "which it is known."
    )
