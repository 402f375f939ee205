"""A run as a person works with it: made by `run`, opened by `open_run`, read through `Run`."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.atomic import check_target, write_atomic
from workbench.controls import MapKey
from workbench.live import Stopped, cancelling, progress_bar
from workbench.store import RunFolder, StoreError
from workbench.study import Study, StudyError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from workbench.analysis import Finding
    from workbench.explorer import LocalNetworks, RunPictures, View, ViewChoice
    from workbench.families.manager import ModelManager
    from workbench.generation import CancelToken
    from workbench.influences import Influence, Ways
    from workbench.judging import Standing
    from workbench.plots import Drawing, Theme
    from workbench.store import Record, RunStatus, Scan
    from workbench.study import Cell
    from workbench.sweep import ExecutorChoice, ProgressCallback
    from workbench.verify import RunDifference, Verification

T = TypeVar("T")
MOST_PANELS = 2
"""Control types whose trade-off a run shows by itself: more panels would be too small to read."""


def run(
    study: Study | str | Path,
    folder: str | Path | None = None,
    *,
    models: str | Path | None = None,
    device: str | None = None,
    manager: ModelManager | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    batch_size: int | None = None,
    executor: ExecutorChoice | None = None,
) -> Run:
    """Run a study, or what its folder lacks of it, and return the run.

    A bar shows how far it is, in a terminal and in a notebook. Ctrl-C (or the notebook's stop
    button) ends it after the present step; what is done is kept, and the same call goes on there.

    Args:
        study: a study, a study file, or the name of one of the package ("demo").
        folder: the run folder; ``runs/<name of the study>`` if None.
        models: folder of the models, if not the usual one; its `families.yaml` counts, too, and the
            run that is returned is verified with them.
        device: where they compute ("cuda"); CUDA where there is some, else the CPU, if None.
        manager: loaded models in place of these two, to keep them from run to run.
        progress: called with `sweep.Progress` in place of the bar.
        cancel: a token of your own; cancelled, it ends the run without an error.
        batch_size: pictures at once; the study's own if None.
        executor: where to compute; in this process if None.

    Raises:
        StudyError: the study has mistakes. StoreError: the folder cannot be used. FamilyError,
        LocateError: models are missing. Stopped (a KeyboardInterrupt): Ctrl-C.
    """
    from contextlib import nullcontext

    from workbench.families import know_families
    from workbench.sweep import ExecutorChoice, run_study
    from workbench.sweep.devices import own_device
    from workbench.sweep.steps import load_manager

    if not isinstance(study, Study | str | Path):
        raise TypeError(f"a study is a Study or the path of its file, not {type(study).__name__}")
    know_families(models)
    if not isinstance(study, Study):
        study = Study.from_yaml(study)
    if (models or device) and (manager or executor):
        raise TypeError("models and device are given with neither a manager nor an executor")
    if device is not None:
        executor = ExecutorChoice(device=device)
        executor.check()
    if models is not None:
        manager = load_manager(study, device or own_device(), models_dir=models)
    place = Path(folder) if folder is not None else Path("runs") / study.name
    bar = progress_bar(study.name) if progress is None else nullcontext(progress)
    with bar as show, cancelling() if cancel is None else nullcontext(cancel) as token:
        made = run_study(
            study, place, manager=manager, progress=show, cancel=token, batch_size=batch_size,
            executor=executor,
        )  # fmt: skip
    if cancel is None and token.cancelled:
        raise Stopped(f"Stopped. What is done is kept in {place}; the same command goes on there.")
    done = Run(place, models)
    if made.final_scan is not None:
        done._known["_scan"] = made.final_scan
    return done


def score(
    pictures: str | Path,
    folder: str | Path | None = None,
    *,
    family: str | None = None,
    judges: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    vae: bool = True,
    manager: ModelManager | None = None,
) -> Run:
    """Measure pictures that are there already, as a run of their own, and return it.

    They may come from any program, or from a run, to be read by other judges. No picture is made or
    changed. The run says where they came from; it can be explored, reported and verified, but not
    made again. Ctrl-C stops after the present group; the same call goes on there.

    Args:
        pictures: a folder, with or without a table ``metadata.csv`` (``.jsonl``, ``.parquet``);
            such a table; or a run folder. `scoring.COLUMNS` are the columns. PNG files of the web
            UI and of ComfyUI tell most of it themselves.
        folder: the run folder to write; ``runs/<name of pictures>-scored`` if None.
        family: lends the judges; the run's own, or the embedded one, if None.
        judges: those of the family's judges that are to read, "clip=vit-b-32" or "vit-b-32".
        defaults: column -> what holds for every picture that says nothing else, as
            ``{"control": "canny", "source": "photo.png"}``.
        vae: whether ceilings come from sources pushed through the family's VAE, which needs its
            base model; if not, from the sources themselves.
        manager: loaded models, to keep them from call to call.

    Raises:
        ScoringError: the pictures or the table are wrong, with every row that is. StudyError,
        StoreError, FamilyError, LocateError: as for `run`. Stopped: Ctrl-C.
    """
    from workbench.scoring import Choice
    from workbench.scoring import score as measure

    place = Path(folder) if folder is not None else scored_folder(pictures)
    choice = Choice(family, tuple(judges), defaults or {}, vae)
    with progress_bar(place.name) as show, cancelling() as token:
        measure(pictures, place, choice, manager=manager, progress=show, cancel=token)
    if token.cancelled:
        raise Stopped(f"Stopped. What is done is kept in {place}; the same command goes on there.")
    return Run(place)


def scored_folder(pictures: str | Path) -> Path:
    """Where the run of scored pictures lies if nobody says it."""
    source = Path(pictures).resolve()
    return Path("runs") / f"{source.name if source.is_dir() else source.stem}-scored"


def open_run(folder: str | Path, models: str | Path | None = None) -> Run:
    """Open a run folder that is there; StoreError if it is none. Nothing is computed or written.

    `models` is the folder of the models that verify it, if not the usual one.
    """
    return Run(folder, models)


def _once(view: Callable[[Run], T]) -> Callable[[Run], T]:
    """Compute a view once for each `Run`. Frames are given out as copies that cost nothing."""

    @wraps(view)
    def known(self: Run) -> T:
        if view.__name__ not in self._known:
            self._known[view.__name__] = view(self)
        found = self._known[view.__name__]
        return found.copy(deep=False) if hasattr(found, "columns") else found

    return known


class Run:
    """One run folder, read only: its pictures and readings, and what follows from them.

    Everything is read and computed once, when it is asked for; `refresh` looks again. No method
    changes the run's pictures, records or table.

    Args:
        folder: the run folder. StoreError if it is none.
        models: folder of the models that read its pictures and make them again, if not the usual
            one; its `families.yaml` counts, too.
    """

    def __init__(self, folder: str | Path, models: str | Path | None = None) -> None:
        from workbench.families import know_families

        know_families(models)
        self.folder, self.models = RunFolder.open(folder), models
        self._known: dict[str, Any] = {}
        self._driving: tuple[Any, Ways | None] | None = None

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    def __reduce__(self) -> tuple[type[Run], tuple[Path, str | Path | None]]:
        """A copy, in another process too, is the same folder opened anew."""
        return type(self), (self.path, self.models)

    def refresh(self) -> Run:
        """Forget what was read, so that a run that grows is read anew; returns itself."""
        self._known.clear()
        return self

    @property
    @_once
    def study(self) -> Study:
        """The study of the run; StudyError if it no longer fits what is installed."""
        return self.folder.study()

    @property
    @_once
    def origin(self) -> str:
        """Where the pictures come from, if the run did not make them itself, in a sentence; else
        ""."""
        from workbench.report.content import origin_of

        return origin_of(self.folder)

    @property
    @_once
    def _scan(self) -> Scan:
        return self.folder.scan()

    @property
    @_once
    def status(self) -> RunStatus:
        """How far the run is, and whether its table is behind; `status.sentence` says it."""
        return self.folder.status(self._scan)

    @property
    def records(self) -> Mapping[str, Record]:
        """Trial id -> its record, of all trials that are there whole, failed ones included."""
        return self._scan.records

    @property
    @_once
    def trials(self) -> pd.DataFrame:
        """One row for each trial: all that determined its picture, and why it failed, or ""."""
        import pandas as pd

        rows = [
            {"trial": trial, **record.trial.to_dict(), "failed": record.failed}
            for trial, record in self.records.items()
        ]
        return pd.DataFrame(rows)

    @property
    @_once
    def table(self) -> pd.DataFrame:
        """The long frame: one row for each number read off a picture (see `analysis.COLUMNS`)."""
        return self.folder.measurements(self._known.get("_scan"))

    @property
    @_once
    def _readable(self) -> pd.DataFrame:
        from workbench.report.usable import usable

        return usable(self.table)

    @property
    @_once
    def _frame(self) -> pd.DataFrame:
        from workbench.analysis import distinct_controls

        return distinct_controls(self._readable)

    @property
    @_once
    def labels(self) -> Mapping[str, str]:
        """Control type, as in `tradeoff`, -> what people call it."""
        from workbench.analysis import controls_in
        from workbench.report.content import control_label

        return {name: control_label(name) for name in controls_in(self._frame)}

    @property
    def pictures(self) -> Mapping[str, np.ndarray]:
        """Trial id -> its picture, uint8 H×W×3; each is read when it is looked up."""
        return _Pictures(self)

    @property
    @_once
    def sources(self) -> Mapping[str, np.ndarray]:
        """Source -> its picture, uint8 H×W×3, cut and sized as it was used."""
        return {label: source.image for label, source in self.folder.read_sources().items()}

    def picture(self, trial: str) -> np.ndarray:
        """A trial's picture, uint8 H×W×3; StoreError if there is none."""
        return self.folder.read_sample(trial)

    def map(self, trial: str, control: str | None = None) -> np.ndarray:
        """The control map that a trial was measured against, uint8 H×W×3.

        Args:
            control: its control type, where several share the picture; the first if None.

        Raises:
            StoreError: there is no such trial or map, or the run is of a version that kept none.
        """
        for facts in self.folder.read_record(trial).cells.values():
            cell = dict(facts)
            if control not in (None, cell["control"]):
                continue
            source = self.folder.read_sources().get(cell["source"])
            if source is None:
                break
            if source.is_map:
                return source.image
            kind, settings = str(cell["control"]), str(cell["control_settings"])
            found = self.folder.read_map(MapKey(source.sha256, kind, settings))
            if found is not None:
                return found
        raise StoreError(f"{self.path} keeps no control map {control or ''} of the trial {trial}")

    @_once
    def tradeoff(self) -> pd.DataFrame:
        """Control and prompt adherence with intervals, for each control, prompt length and scale.

        As `analysis.tradeoff`.
        """
        from workbench import analysis

        return analysis.tradeoff(self._frame)

    @_once
    def sweet_spots(self) -> pd.DataFrame:
        """The scale with the best balance, for each control type and prompt length.

        As `analysis.sweet_spot`.
        """
        from workbench import analysis

        return analysis.sweet_spot(self._frame)

    @_once
    def ranking(self) -> pd.DataFrame:
        """The control types at each scale, the one that is obeyed most first.

        As the first table of `analysis.ranking`.
        """
        from workbench import analysis

        return analysis.ranking(self._readable)[0]

    @_once
    def metrics(self) -> pd.DataFrame:
        """Control adherence by every metric that the control types read, at each scale.

        As `analysis.by_metric`: what a ranking by other metrics would rest on.
        """
        from workbench import analysis

        return analysis.by_metric(self._readable)

    @_once
    def tags(self) -> pd.DataFrame:
        """The score of each tag at each scale, for each control type.

        As `analysis.per_tag`, with a last column `judge`: on what the judge of words was validated.
        """
        from workbench import analysis
        from workbench.judging import WEAKER

        table, judge = analysis.per_tag(self._frame), self._standing
        known = dict.fromkeys(judge.unknown, f"{WEAKER}; {judge.short}")
        return table.assign(judge=[known.get(tag, judge.short) for tag in table["tag"]])

    @property
    def word_judge(self) -> str:
        """Who judges the words of the run, and on what that was validated, in a sentence or two."""
        return self._standing.sentence

    @property
    @_once
    def _standing(self) -> Standing:
        from workbench.judging import standing
        from workbench.report.content import study_family

        return standing(self.folder, study_family(self.folder))

    @_once
    def findings(self) -> Sequence[Finding]:
        """What the readings say, as sentences with their intervals; only what they can bear."""
        from workbench import analysis

        return analysis.findings(self._readable)

    def plot(
        self, kind: str = "tradeoff", control: str | None = None, *, theme: Theme | None = None
    ) -> Drawing:
        """Draw a figure of the run, which shows itself as the last line of a cell.

        Args:
            kind: "tradeoff", "ranking", "effects" (all control types); "curves", "metrics",
                "diversity", "adherence", "tags", "tipping", "pictures" (one control type);
                "pairs" (one pair of controls).
            control: the control type or pair; the first of the run if None. All are shown where
                the figure is of all.
            theme: `plots.LIGHT` (if None) or `plots.DARK`.

        Raises:
            ValueError: no such kind of figure or no such control, with a list of those there are.
            TypeError: a theme that is none.
        """
        from workbench.plots import LIGHT, Theme

        theme = LIGHT if theme is None else theme
        if not isinstance(theme, Theme):
            raise TypeError(f"theme is plots.LIGHT or plots.DARK, not {theme!r}")

        if kind not in _FIGURES:
            raise ValueError(f"there is no figure {kind!r}; there are: {', '.join(_FIGURES)}")
        known = self.pairs if kind == "pairs" else list(self.labels)
        if control is not None and control not in known:
            there = ", ".join(known) or "none"
            raise ValueError(f"the run has no control {control!r} to draw; there are: {there}")
        if control is None and _FIGURES[kind] not in (_tradeoff, _ranking, _effects):
            control = next(iter(known), "")
        return _FIGURES[kind](self, control or "", theme)

    @property
    @_once
    def pairs(self) -> list[str]:
        """The pairs of controls of the run, as `analysis.pair_points` calls them."""
        from workbench.analysis import pair_points

        return [str(name) for name in dict.fromkeys(pair_points(self._readable)["pair"])]

    def report(self, path: str | Path | None = None, *, influence: bool = False) -> Path:
        """Write the report, one HTML file (``report.html`` in the run folder if None).

        With `influence` it has a section that says who is driving, once `influence()` has looked.
        Returns its path. OSError if it cannot be written, StoreError if nobody has looked.
        """
        from workbench.report import write_report

        target = path if path is not None else self.path / "report.html"
        return write_report(self.folder, target, influence=influence)

    def page(self, path: str | Path | None = None, choice: ViewChoice | None = None) -> Path:
        """Write the explorer, one HTML file (``explorer.html`` in the run folder if None).

        It needs no kernel, no server and no network; `wb.explore(run)` shows the same in a cell.

        Args:
            path: where to; an older file there is replaced.
            choice: what is shown; a run of up to 2,000 pictures whole if None.

        Returns:
            Its path. ValueError if the choice names what the run does not have; OSError if the
            file cannot be written.
        """
        from workbench.explorer import explorer_page

        target = Path(path) if path is not None else self.path / "explorer.html"
        check_target(target)  # before the work
        write_atomic(target, explorer_page(self.view(choice)).encode("utf-8"))
        return target

    def view(
        self,
        choice: ViewChoice | None = None,
        *,
        planned: Sequence[Cell] = (),
        before: View | None = None,
        networks: LocalNetworks | None = None,
    ) -> View:
        """What the explorer shows of the run; see `page`. ValueError for a choice it lacks.

        Args:
            planned: cells that are shown even if they have not been made.
            before: an earlier view of this run: the pictures that both have keep their numbers, and
                networks that were loaded for it are used again.
            networks: read control maps back; the family's, where they are on this disk, if None.
        """
        from workbench.analysis import pairs_as_controls
        from workbench.explorer import RunPictures, unmade_rows, view_run

        frame = pairs_as_controls(unmade_rows(planned, self._readable))
        networks = networks or (before.pictures.networks if before else self._networks)
        failed = self._failed(planned)
        seen = {*self._readable["trial"], *failed}
        return view_run(
            RunPictures(self.folder, frame, networks, self._ways),
            frame,
            title=self.path.resolve().name + (" (pictures made elsewhere)" * bool(self.origin)),
            choice=choice,
            failed=failed,
            headline=all(cell.trial_id in seen for cell in planned),
            catalogue=before.catalogue if before else None,
        )

    def _failed(self, planned: Sequence[Cell]) -> dict[str, str]:
        """Trial -> why it has no picture. Only the records that may say so are read."""
        values = self._readable.groupby("trial")["value"].count()
        unread = {cell.trial_id for cell in planned} - set(values.index)
        unread = unread.intersection(self.folder.trial_ids()) if unread else unread
        found = {}
        for trial in (*values.index[values == 0], *sorted(unread)):
            with suppress(StoreError):
                found[str(trial)] = self.folder.read_record(str(trial)).failed
        return {trial: why for trial, why in found.items() if why}

    @property
    @_once
    def _pictures(self) -> RunPictures:
        from workbench.explorer import RunPictures

        return RunPictures(self.folder, self._frame, self._networks)

    @property
    @_once
    def _networks(self) -> LocalNetworks:
        from workbench.explorer import LocalNetworks
        from workbench.report.content import study_family

        judges: Mapping[str, str] = {}
        with suppress(StudyError):
            judges = self.study.judges
        return LocalNetworks(study_family(self.folder), judges, self.models)

    @property
    @_once
    def _ways(self) -> Ways | None:
        """The ways to its pictures; None if nobody looked who is driving.

        They are read again only if something was seen since.
        """
        from workbench.influences import Influence, Ways

        if not (self.path / "influence").is_dir():
            return None
        found = Influence(self.path)
        state = found.state
        if self._driving is None or self._driving[0] != state:
            self._driving = state, None if found.trials.empty else Ways(found)
        return self._driving[1]

    def verify(
        self, *, trials: int = 4, seed: int | None = None, manager: ModelManager | None = None
    ) -> Verification:
        """Check every hash, measure every picture again and make some of them again.

        Args:
            trials: how many pictures are made again; 0 makes none.
            seed: decides which; drawn by chance, and told, if None.
            manager: loaded models; loaded here, from the run's `models`, if None.
        """
        from workbench.verify.run import verify_run

        with progress_bar(f"verify {self.path.name}") as show, cancelling() as cancel:
            result = verify_run(
                self.path, trials=trials, seed=seed, manager=manager, models=self.models,
                progress=show, cancel=cancel,
            )  # fmt: skip
        if result is None:
            raise Stopped("Stopped. Nothing was written.")
        return result

    def influence(
        self, *, maps_at: Sequence[int] | None = None, manager: ModelManager | None = None
    ) -> Influence:
        """Who is driving at each step of its pictures, the text or the control.

        What was not looked at yet is looked at now, and kept beside the pictures; see
        `workbench.influence`, also for the arguments and errors.
        """
        from workbench.influences import influence
        from workbench.sweep.devices import own_device
        from workbench.sweep.steps import load_manager

        if manager is None and self.models is not None:
            manager = load_manager(self.study, own_device(), models_dir=self.models)
        return influence(self.path, maps_at=maps_at, manager=manager)

    def diff(self, other: Run | str | Path) -> RunDifference:
        """How another run differs from this one: settings, pictures, readings, mean adherence.

        StoreError if there is no run there.
        """
        from workbench.verify import diff_runs

        return diff_runs(self.path, other.path if isinstance(other, Run) else other)

    def to_parquet(self, path: str | Path) -> Path:
        """Write `table` as a Parquet file; returns its path."""
        write_atomic(Path(path), self.table.to_parquet(None, index=False))
        return Path(path)

    def to_csv(self, path: str | Path) -> Path:
        """Write `table` as CSV in UTF-8; returns its path.

        Text that a spreadsheet would compute (it begins with = + - @) gets a quote before it.
        """
        from workbench.report.tables import summary_csv

        write_atomic(Path(path), summary_csv(self.table))
        return Path(path)

    def to_imagefolder(self, path: str | Path) -> Path:
        """Write pictures and ``metadata.jsonl`` as ``load_dataset("imagefolder")`` reads them.

        There is a picture ``<cell>.png`` for each cell of the study (a picture that several cells
        share is there for each), with a line of its ``text`` (the prompt), its place in the study,
        and the value of every metric. Returns the folder; StoreError if it is not empty.
        """
        target = Path(path)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(f"{target} is there already: name a folder that is new or empty")
        table, lines = self.table, []
        places = ("source", "control", "base", "setting", "length", "scale", "seed", "trial")
        for cell, rows in table.groupby("cell", sort=False):
            first = rows.iloc[0]
            data = self.folder.contents(self.folder.sample_path(str(first["trial"])), 2**28)
            if data is None:
                continue
            name = f"{cell}.png"
            write_atomic(target / name, data)
            values = {
                metric: None if math.isnan(value) else float(value)
                for metric, value in zip(rows["metric"], rows["value"], strict=True)
            }
            facts = {key: _plain(first[key]) for key in places}
            lines.append({"file_name": name, "text": str(first["prompt"]), **facts, **values})
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomic(target / "metadata.jsonl", text.encode("utf-8"))
        return target

    def __repr__(self) -> str:
        count = self.table["trial"].nunique()
        controls = ", ".join(dict.fromkeys(self.table["control"])) or "nothing measured yet"
        return f"Run({str(self.path)!r}: {count} pictures; {controls})"

    def _repr_html_(self) -> str:
        """A small table and the trade-off plot. Every text is escaped."""
        from workbench.plots import to_png, tradeoff_figure
        from workbench.report.content import facts

        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in facts(self._readable)
        )
        html = f"<b>{escape(str(self.path))}</b>"
        html += "".join(f"<p>{escape(told)}</p>" for told in (self.origin, self.status.sentence))
        html += f"<table>{rows}</table><p>{escape(self.word_judge)}</p>"
        if self.tradeoff().empty:
            return html
        points, spots = self.tradeoff(), self.sweet_spots()
        several = list(dict.fromkeys(points["control"]))
        if len(several) > MOST_PANELS:
            points, spots = (t[t["control"].isin(several[:MOST_PANELS])] for t in (points, spots))
            html += (
                f"<p>The curves of {MOST_PANELS} of {len(several)} control types. "
                f"<code>run.plot(control={escape(repr(several[MOST_PANELS]))})</code> draws those "
                "of another one, <code>wb.explore(run)</code> shows all of them.</p>"
            )
        figure = tradeoff_figure(points, spots, control_labels=self.labels)
        data = base64.b64encode(to_png(figure, 100)).decode("ascii")
        style = "max-width:100%;max-height:420px"
        alt = escape(figure.alt, quote=True)
        return f'{html}<img alt="{alt}" style="{style}" src="data:image/png;base64,{data}">'


class _Pictures(Mapping[str, "np.ndarray"]):
    """The pictures of a run, read one at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ids = tuple(trial for trial, one in run.records.items() if not one.failed)

    def __getitem__(self, trial: str) -> np.ndarray:
        if trial not in self._ids:
            raise KeyError(trial)
        return self._run.picture(trial)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _plain(value: Any) -> Any:
    """A number of NumPy as Python's."""
    return value.item() if hasattr(value, "item") else value


def _tradeoff(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import tradeoff_figure

    points, spots = _only(run.tradeoff(), control), _only(run.sweet_spots(), control)
    return tradeoff_figure(points, spots, control_labels=run.labels, theme=theme)


def _ranking(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import ranking_figure

    return ranking_figure(_only(run.ranking(), control), labels=run.labels, theme=theme)


def _effects(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench import analysis
    from workbench.plots import effects_figure
    from workbench.plots.panels import effect_panels
    from workbench.report.content import control_label

    table = _only(analysis.effects(run._readable), control)
    labels = {name: control_label(name) for name in map(str, table["control"].unique())}
    return effects_figure(effect_panels(table), labels=labels, theme=theme)


def _curves(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import curves_figure
    from workbench.plots.panels import main_panels

    rows = _only(run._frame, control)
    return curves_figure(main_panels(rows, _primary(rows, control)), theme=theme)


def _metrics(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import curves_figure
    from workbench.plots.panels import further_panels

    rows = _only(run._frame, control)
    return curves_figure(further_panels(rows, control, _primary(rows, control)), theme=theme)


def _diversity(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import curves_figure
    from workbench.plots.panels import diversity_panels

    return curves_figure(diversity_panels(_only(run._frame, control)), theme=theme)


def _adherence(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench import analysis
    from workbench.plots import Panel, length_heatmap

    rows = _only(run._frame, control)
    table, title = analysis.curve(rows, _primary(rows, control)), run.labels.get(control, control)
    panel = Panel(table, "Control adherence", "", True, 0.0, 1.0, title)
    return length_heatmap(panel, limits=(0.0, 1.0), theme=theme)


def _tags(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench import analysis
    from workbench.plots import tag_heatmap

    rows = _only(run._frame, control)
    slopes, references = analysis.tag_slopes(rows), analysis.tag_references(rows)
    title = run.labels.get(control, control)
    return tag_heatmap(_only(run.tags(), control), slopes, references, title=title, theme=theme)


def _tipping(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench import analysis
    from workbench.plots import tipping_figure

    table = analysis.tipping_scales(_only(run._frame, control))
    words = [analysis.tipping_words(row) for row in analysis.records(table)]
    return tipping_figure(table, words, title=run.labels.get(control, control), theme=theme)


def _contact_sheet(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench.plots import contact_sheet_figure
    from workbench.report.sheets import control_maps, sheets

    rows, pictures = _only(run._frame, control), run._pictures
    title = run.labels.get(control, control)
    for page in sheets(run.folder, rows, pictures.sources, control_maps(pictures)):
        return contact_sheet_figure(
            page.rows, page.scales, title=f"{title}, seed {page.seed}", theme=theme
        )
    return contact_sheet_figure([], [], title=title, theme=theme)


def _pairs(run: Run, control: str, theme: Theme) -> Drawing:
    from workbench import analysis
    from workbench.plots import pair_heatmap

    points = analysis.pair_points(run._readable)
    points = points[points["pair"] == control]
    longest = points[points["length"] == points["length"].max()]
    return pair_heatmap(longest, title=control, theme=theme)


_FIGURES: dict[str, Callable[[Run, str, Theme], Drawing]] = {
    "tradeoff": _tradeoff,
    "ranking": _ranking,
    "effects": _effects,
    "curves": _curves,
    "metrics": _metrics,
    "diversity": _diversity,
    "adherence": _adherence,
    "tags": _tags,
    "tipping": _tipping,
    "pictures": _contact_sheet,
    "pairs": _pairs,
}


def _only(table: pd.DataFrame, control: str) -> pd.DataFrame:
    """The rows of one control type; all of them if none is named."""
    return table[table["control"] == control] if control else table


def _primary(rows: pd.DataFrame, control: str) -> str:
    from workbench.analysis import primary_metrics

    return primary_metrics(rows).get(control, "")
