"""Protects what was seen: made once, kept through a stop, read without a trace, told with care.

And words: nobody is called the driver where the interval over sources does not say so.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_run import TinyManager, make_study

import workbench as wb
from workbench.families.manager import ModelManager
from workbench.generation import CancelToken
from workbench.images import encode_png
from workbench.influences import Influence, driving, influence, influence_job, open_influence
from workbench.influences.driving import ranges, sentences
from workbench.store import StoreError
from workbench.study import Study, StudyError
from workbench.sweep import Progress


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def look(study: Study | Path, folder: Path | None, manager: Any, **more: Any) -> Influence:
    options = {"progress": lambda _: None, "cancel": CancelToken(), **more}
    return influence(study, folder, manager=manager, **options)


class Nothing(ModelManager):
    """Models that must not be asked for."""

    def pipeline(self, control: str | None = None, *more: str) -> Any:
        raise AssertionError("a model was loaded")


@pytest.fixture
def copy(seen: Influence, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seen.path, tmp_path / "copy"))


def test_a_second_call_makes_nothing_and_a_damaged_file_is_made_again(
    copy: Path, manager: TinyManager, caplog: pytest.LogCaptureFixture
) -> None:
    before, idle = files(copy), Nothing(manager.family, models_dir=manager.models_dir)
    assert len(look(make_study(), copy, idle).trials) == 8
    assert len(wb.open_run(copy).influence(manager=idle).trials) == 8
    assert files(copy) == before
    first = sorted((copy / "influence").iterdir())[0]
    first.write_bytes(first.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING):
        assert first.stem not in set(open_influence(copy).trials["trial"])
        look(make_study(), copy, manager)
    assert "is made anew" in caplog.text
    assert len(open_influence(copy).trials) == 8
    others = {name: sha for name, sha in files(copy).items() if name != f"influence/{first.name}"}
    assert others.items() <= before.items()


def test_what_was_seen_before_a_stop_is_kept(tmp_path: Path, manager: TinyManager) -> None:
    token, counts = CancelToken(), list[int]()

    def stop(progress: Progress) -> None:
        counts.append(progress.done)
        if progress.done == 4:
            token.cancel()

    half = look(make_study(), tmp_path / "run", manager, progress=stop, cancel=token)
    kept = files(half.path / "influence")
    assert len(half.trials) == len(kept) == 4
    job = influence_job(make_study(), half.path, manager=manager)
    assert [trial.id in set(half.trials["trial"]) for trial in job.missing()] == [False] * 4
    cost = job.cost()
    assert (cost.pictures, cost.stored, cost.steps) == (8, 4, 2) and cost.seconds
    assert "4 pictures (4 of 8 are there), about" in cost.sentence
    whole = look(make_study(), half.path, manager)
    assert len(whole.trials) == 8 and kept.items() <= files(whole.path / "influence").items()
    assert wb.open_run(half.path).status.records == 0


def test_reading_changes_no_byte(seen: Influence) -> None:
    before = files(seen.path)
    found = open_influence(seen.path)
    trial = found.trials["trial"].iloc[0]
    assert found.statement() and found.plot().alt and found.plot("maps", trial).alt
    assert found._repr_html_().startswith("<b>") and "8 pictures" in repr(found)
    latent, large = found.maps(trial, 2, latent=True), found.maps(trial, 2)
    assert {name: grid.shape for name, grid in latent.items()} == dict.fromkeys(large, (8, 8))
    assert {grid.shape for grid in large.values()} == {found.picture(trial).shape[:2]}
    assert len(found.table) == 8 * 2 * found.table["metric"].nunique()
    assert files(seen.path) == before


def test_a_report_says_who_is_driving_on_request(seen: Influence, tmp_path: Path) -> None:
    run = wb.open_run(seen.path)
    page = run.report(tmp_path / "with.html", influence=True).read_text("utf-8")
    section = page.split('<section id="driving">')[1].split("</section>")[0]
    assert seen.statement().splitlines()[0] in section and section.count("<img") == 2
    assert 'id="driving"' not in run.report(tmp_path / "without.html").read_text("utf-8")
    shutil.copytree(seen.path, tmp_path / "plain", ignore=shutil.ignore_patterns("influence"))
    with pytest.raises(StoreError, match="does not say who pulls"):
        wb.open_run(tmp_path / "plain").report(tmp_path / "none.html", influence=True)


def test_a_run_keeps_its_own_sources(tmp_path: Path, manager: TinyManager) -> None:
    rng = np.random.default_rng(1)
    blocks = np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    for name, picture in (("a.png", blocks), ("b.png", blocks[::-1])):
        (tmp_path / name).write_bytes(encode_png(np.ascontiguousarray(picture)))
    file = tmp_path / "own.yaml"
    fields = {"scales": [1], "seeds": [1], "lengths": [2], "sources": ["a.png", "b.png"]}
    file.write_text(make_study(**fields).to_yaml(), "utf-8")
    run = wb.run(file, tmp_path / "run", manager=manager, progress=lambda _: None)
    (tmp_path / "a.png").unlink()
    with pytest.raises(StudyError, match=r"a\.png"):
        look(file, run.path, manager)
    before = files(run.path)
    found = look(run.path, None, manager)
    assert set(found.trials["trial"]) == set(run.pictures)
    for trial in run.pictures:
        np.testing.assert_array_equal(found.picture(trial), run.picture(trial))
    assert before.items() <= files(run.path).items()
    (tmp_path / "a.png").write_bytes(encode_png(np.roll(blocks, 16, axis=0)))
    with pytest.raises(StoreError, match="sources are no longer those"):
        look(file, run.path, manager, maps_at=[2])


def test_what_cannot_be_asked_is_refused_in_a_sentence(
    seen: Influence, manager: TinyManager, tmp_path: Path
) -> None:
    for changes, more, said in (
        ({"guidance_scale": 1}, {}, "guidance_scale: without guidance"),
        ({"scales": [0]}, {}, "no picture is steered by a control"),
        ({}, {"maps_at": [3]}, "the study has no step 3"),
    ):
        with pytest.raises(StudyError, match=said):
            look(make_study(**changes), tmp_path / "new", manager, **more)
    assert not (tmp_path / "new").exists()
    with pytest.raises(StoreError, match="the run of another study"):
        look(make_study(seeds=[1, 2, 3]), seen.path, manager)
    with pytest.raises(StoreError, match="not a run folder"):
        open_influence(tmp_path)
    (tmp_path / "trials").mkdir()
    with pytest.raises(StoreError, match="does not say who pulls"):
        open_influence(tmp_path)
    trial = seen.trials["trial"].iloc[0]
    with pytest.raises(StoreError, match=r"no map of step 7 .* there are: 1, 2"):
        seen.maps(trial, 7)
    with pytest.raises(StoreError, match="who pulls in the trial 0"):
        seen.picture("0")
    with pytest.raises(ValueError, match="there are: curves, maps, words"):
        seen.plot("map")
    with pytest.raises(TypeError, match="its file or a run"):
        influence(3)  # type: ignore[arg-type]


def made_up(ahead: Sequence[float], sources: int = 4, spread: float = 0.01) -> pd.DataFrame:
    """A long table in which the text leads by so much at each step, give or take a little."""
    rng = np.random.default_rng(3)
    rows = []
    for source in range(sources):
        for seed in (1, 2):
            for step, lead in enumerate(ahead, start=1):
                lead += rng.normal(0, spread)
                values = {"text": 1 + lead, "control": 1.0}
                values |= {f"guided {name}": value for name, value in values.items()}
                facts = {"trial": f"{source}-{seed}", "source": f"s{source}", "seed": seed}
                facts |= {"control": "depth", "control_settings": "{}", "base": "render"}
                facts |= {"label": "7 tags", "scale": 1.0, "step": step, "guidance_scale": 2.0}
                rows += [facts | {"metric": m, "value": value} for m, value in values.items()]
    return pd.DataFrame(rows)


def test_words_follow_the_interval() -> None:
    table = made_up([0.5, 0.4, 0.0, -0.2, -0.3])
    table.loc[table["step"] == 3, "value"] = 1.0
    assert driving(table)["driver"].tolist() == ["text", "text", "", "control", "control"]
    (said,) = sentences(table)
    clause = "the text pulls harder in steps 1–2 of 5, the control in steps 4–5, and elsewhere"
    assert said.startswith(f"Depth, 7 tags, scale 1, guidance 2: in the step taken {clause}")
    assert "over 4 sources" in said and "text less control" in said
    assert "elsewhere" not in sentences(made_up([0.5, 0.5]))[0]
    # The same leads, with sources that do not agree.
    (vague,) = sentences(made_up([0.1, -0.1], spread=2.0))
    assert "it is clear at none of 2 steps" in vague and "harder in step" not in vague
    (one,) = sentences(made_up([0.5, -0.5], sources=1))
    assert "nobody can tell" in one and "harder" not in one
    assert ranges([1, 2, 3, 7, 12, 13]) == "1–3, 7, 12–13"


def test_seeds_of_a_source_are_no_further_evidence() -> None:
    table = made_up([0.3, -0.3], spread=0.2)
    again = pd.concat(
        [table, *(table.assign(seed=table["seed"] + k, trial=table["trial"] + str(k))
                  for k in (10, 20, 30))]
    )  # fmt: skip
    columns = ["mean", "low", "high", "n_sources", "driver"]
    pd.testing.assert_frame_equal(driving(table)[columns], driving(again)[columns])
