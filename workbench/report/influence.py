"""Who is driving, as a section of the page: statement, curves, and maps of a picture or two."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.influences import open_influence
from workbench.report.embed import Picture, drawing, photograph
from workbench.store import RunFolder


@dataclass(frozen=True)
class InfluenceFigures:
    """The section: its sentences, the curves, and for each control the maps of one picture."""

    statement: tuple[str, ...]
    curves: Picture
    maps: tuple[Picture, ...]


def draw_influence(run: RunFolder, limit: int) -> InfluenceFigures:
    """Draw what was seen in a run; the maps are those of the first picture of each control.

    Args:
        limit: bytes of a figure of maps, about.

    Raises:
        StoreError: nobody looked at the run's pictures.
    """
    found = open_influence(run.path)
    figure, trials = found.plot(), found.trials
    first = trials.sort_values(["control", "source", "seed"]).drop_duplicates("control")["trial"]
    drawn = [found.plot("maps", str(trial)) for trial in first]
    return InfluenceFigures(
        tuple(found.statement().splitlines()),
        drawing(figure, figure.alt),
        tuple(photograph(one, one.alt, limit=limit) for one in drawn),
    )
