"""Who is driving, as a person works with it: `influence`, `open_influence`, `Influence`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.controls import MapKey
from workbench.formats import printable
from workbench.influences.parts import INFLUENCES
from workbench.influences.stored import Observation, read_observations, stamps
from workbench.live import Stopped, cancelling, progress_bar
from workbench.store import RunFolder, StoreError
from workbench.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from workbench.families.manager import ModelManager
    from workbench.generation import CancelToken
    from workbench.influences.making import Cost, InfluenceJob
    from workbench.plots import Drawing, Theme
    from workbench.sweep import ProgressCallback

FIGURES = ("curves", "maps", "words")


def influence(
    study: Study | str | Path,
    folder: str | Path | None = None,
    *,
    maps_at: Sequence[int] | None = None,
    manager: ModelManager | None = None,
    device: str | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Influence:
    """See who pulls at every step of a study's steered pictures, the text or the control.

    What is seen is kept in the run folder, in `influence/`, picture by picture; the same call goes
    on where an earlier one ended. The run's pictures, records and table stay as they are, and a
    folder that is new is one in which `workbench run` then makes its pictures. It takes four
    predictions a step in place of two; how long that is, is said before it begins.

    Args:
        study: a study, a study file, or a run folder, which keeps its own study and sources.
        folder: the run folder; ``runs/<name of the study>`` if None, or the one that was given.
        maps_at: steps (1, 2, …) whose maps are kept; five between first and last if None.
        manager: loaded models; loaded here if None. device: where to.
        progress: called with `sweep.Progress` in place of the bar, and the cost is not told.
        cancel: a token of your own; cancelled, it ends the work without an error.

    Raises:
        StudyError: the study has mistakes, no guidance, or no picture with a control. StoreError:
            the folder cannot be used, or is the run of another study. FamilyError, LocateError:
            models are missing. Stopped (a KeyboardInterrupt): Ctrl-C.
    """
    job = influence_job(study, folder, maps_at=maps_at, manager=manager, device=device)
    bar = progress_bar(job.study.name) if progress is None else nullcontext(progress)
    with bar as show, cancelling() if cancel is None else nullcontext(cancel) as token:
        job.make(show, token, _tell if progress is None else lambda _: None)
    if cancel is None and token.cancelled:
        raise Stopped(
            f"Stopped. What was seen is kept in {job.run.path}; the same command goes on there."
        )
    return Influence(job.run.path)


def influence_job(
    study: Study | str | Path,
    folder: str | Path | None = None,
    *,
    maps_at: Sequence[int] | None = None,
    manager: ModelManager | None = None,
    device: str | None = None,
) -> InfluenceJob:
    """The work that `influence` would do: its `cost` can be told. Arguments and errors as there."""
    from workbench.influences.making import InfluenceJob

    if not isinstance(study, Study | str | Path):
        raise TypeError(f"a study is a Study, its file or a run, not {type(study).__name__}")
    if isinstance(study, Study):
        place = Path("runs") / study.name
    elif Path(study).is_dir():
        place = Path(study)
        study = RunFolder.open(place).study()
    else:
        study = Study.from_yaml(study)
        place = Path("runs") / study.name
    run = RunFolder(place if folder is None else folder)
    return InfluenceJob(study, run, maps_at, manager, device)


def open_influence(folder: str | Path) -> Influence:
    """What was seen in a run folder; StoreError if nothing was. Nothing is computed or written."""
    found = Influence(folder)
    if found.trials.empty:
        why = next(iter(found._read[1].values()), "")
        raise StoreError(
            f"{found.path} does not say who pulls in its pictures{why and f' ({why})'}: "
            f'"workbench influence {found.path}" looks at them'
        )
    return found


class Influence:
    """Who is driving in the pictures of one run folder, read only.

    Everything is read once, when it is asked for.

    Args:
        folder: the run folder. StoreError if it is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = RunFolder.open(folder)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def state(self) -> tuple[Any, ...]:
        """What it says stays the same as long as this does; no file is read but the plan."""
        planned = self.folder.read_cells()
        return stamps(self.folder), None if planned is None else planned.trials

    @cached_property
    def _read(self) -> tuple[dict[str, Observation], dict[str, str]]:
        return read_observations(self.folder)

    @cached_property
    def _observations(self) -> Mapping[str, Observation]:
        """Of the study at the last start; the folder may hold more, of older forms of it."""
        planned = self.folder.read_cells()
        known = None if planned is None else planned.trials
        return {t: one for t, one in self._read[0].items() if known is None or t in known}

    @property
    def trials(self) -> pd.DataFrame:
        """One row for each picture: trial, where it stands in the study, the steps with maps."""
        import pandas as pd

        rows = [
            {"trial": name, **one.facts, "maps_at": tuple(sorted(one.maps))}
            for name, one in self._observations.items()
        ]
        return pd.DataFrame(rows)

    @property
    def table(self) -> pd.DataFrame:
        """The long frame: one row for each figure at each step of each picture.

        As `influences.long_table`; `influences.figures_of` says what the figures are.
        """
        return self._table.copy(deep=False)

    @cached_property
    def _table(self) -> pd.DataFrame:
        from workbench.influences.driving import long_table

        return long_table(self._observations.values())

    def curves(self) -> pd.DataFrame:
        """Every figure over the steps, with intervals over sources; as `influences.curves`."""
        from workbench.influences.driving import curves

        return curves(self._table)

    def driving(self, *, guided: bool = True) -> pd.DataFrame:
        """Text less control at each step, and which is clearly ahead; as `influences.driving`."""
        from workbench.influences.driving import driving

        return driving(self._table, guided=guided)

    def statement(self) -> str:
        """Until which step who is driving, in sentences with their intervals, one a line."""
        from workbench.influences.driving import sentences

        return "\n".join(sentences(self._table)) or "Nobody looked at any picture."

    def maps(self, trial: str, step: int, *, latent: bool = False) -> dict[str, np.ndarray]:
        """Where in the picture text, control and interaction pull at one step.

        Args:
            trial: a picture, by its trial.
            step: one of the steps whose maps were kept.
            latent: as large as the latent, in place of the picture.

        Returns:
            "text", "control", "interaction" -> root mean square over the latent's channels,
            float32 h×w, on the latent's grid or enlarged to H×W by bilinear interpolation.

        Raises:
            StoreError: there is no such trial or no map of that step, with those there are.
        """
        one = self.observation(trial)
        if step not in one.maps:
            there = ", ".join(map(str, sorted(one.maps)))
            raise StoreError(
                f"no map of step {step} was kept of the trial {trial}; there are: {there} (maps_at "
                "asks for others)"
            )
        found = dict(zip(INFLUENCES, one.maps[step], strict=True))
        if latent:
            return found
        return {name: _enlarged(grid, one.picture.shape) for name, grid in found.items()}

    def words(self, trial: str, *, latent: bool = False) -> dict[str, np.ndarray]:
        """Where each word of the prompt looks, with the control and without it.

        That is the attention which each place of the latent pays to the tokens of the word, mean
        over heads, layers and steps, along the way that was taken with the control. In a model
        without cross-attention (a transformer's is joint), or with compiled blocks, nobody can see
        it.

        Args:
            trial: a picture, by its trial.
            latent: as large as the latent, in place of the picture.

        Returns:
            word -> float32 (2, H, W), shares of all attention: with the control, and without it.

        Raises:
            StoreError: there is no such trial, or nothing was seen of its words.
        """
        one = self.observation(trial)
        if not one.words:
            raise StoreError(
                f"nothing was seen of the words of the trial {trial}: its prompt has none, or the "
                "model has no cross-attention or compiled blocks"
            )
        if latent:
            return dict(one.words)
        return {
            word: np.stack([_enlarged(grid, one.picture.shape) for grid in both])
            for word, both in one.words.items()
        }

    def picture(self, trial: str) -> np.ndarray:
        """The picture at the end of the way, uint8 H×W×3; it is the one that the sweep makes."""
        return self.observation(trial).picture

    def so_far(self, trial: str) -> Mapping[int, np.ndarray]:
        """Step -> what the picture looked like then, uint8 h×w×3, for the steps with maps.

        Empty for pictures that an earlier version looked at; StoreError for no such trial.
        """
        return self.observation(trial).so_far

    def plot(
        self, kind: str = "curves", trial: str | None = None, *, theme: Theme | None = None
    ) -> Drawing:
        """Draw a figure, which shows itself as the last line of a cell.

        Args:
            kind: "curves": influences and shares over the steps; "maps": where they pull in one
                picture; "words": where its words look.
            trial: the picture of "maps" and "words"; the first one if None.
            theme: `plots.LIGHT` (if None) or `plots.DARK`.

        Raises:
            ValueError: no such kind of figure. StoreError: no such trial.
        """
        from workbench.plots import LIGHT, attention_maps, influence_curves, influence_maps

        if kind not in FIGURES:
            raise ValueError(f"there is no figure {kind!r}; there are: {', '.join(FIGURES)}")
        if kind == "curves":
            driving = {guided: self.driving(guided=guided) for guided in (False, True)}
            return influence_curves(self.curves(), driving, theme=theme or LIGHT)
        name = trial if trial is not None else next(iter(self._observations))
        one = self.observation(name)
        title = f"{one.facts['control']}, {one.facts['source']}, seed {one.trial.seed}"
        if kind == "words":
            words = self.words(name)
            return attention_maps(one.picture, words, title=title, theme=theme or LIGHT)
        return influence_maps(
            one.picture,
            {step: self.maps(name, step) for step in sorted(one.maps)},
            self._control_map(one),
            title=title,
            theme=theme or LIGHT,
        )

    def _control_map(self, one: Observation) -> np.ndarray | None:
        """The map of its one control; None for a pair, or where the run kept none."""
        if len(one.trial.controls) != 1:
            return None
        use, settings = one.trial.controls[0], str(one.facts["control_settings"])
        return self.folder.read_map(MapKey(one.trial.source_sha256 or "", use.control, settings))

    def observation(self, trial: str) -> Observation:
        """All that was seen on the way to one picture; StoreError for no such trial."""
        if trial not in self._observations:
            why = self._read[1].get(trial, "nobody looked at it, or it is not steered")
            raise StoreError(f"{self.path} does not say who pulls in the trial {trial}: {why}")
        return self._observations[trial]

    def __repr__(self) -> str:
        count = len(self._observations)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        return f"Influence({str(self.path)!r}: {pictures})"

    def _repr_html_(self) -> str:
        """The statement, a sentence a line. Every text is escaped."""
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.statement().splitlines())
        return f"<b>{escape(str(self.path))}</b><ul>{lines}</ul>"


def _enlarged(grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map on the latent's grid as large as a picture H×W×3, by bilinear interpolation."""
    from PIL import Image

    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BILINEAR))


def _tell(cost: Cost) -> Any:
    sys.stderr.write(printable(cost.sentence) + "\n")
