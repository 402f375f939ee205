"""A jump is found where one was put, and none where there is none; a training's folder is read.

Protects a class from being shown a moment of sudden convergence that only noise has made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.images import encode_png
from workbench.lessons import (
    Learnt,
    Training,
    compare,
    learning_figure,
    longer_training,
    sudden_convergence,
)
from workbench.lessons.learning import SHORT, learn

STEPS = np.arange(0, 301, 30)
RISING = np.where(STEPS >= 150, 0.7, 0.1)
SLOW = 0.1 + 0.6 * STEPS / 300


def looks(curve: np.ndarray, *, noise: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Eight pictures about a curve, each with a level of its own."""
    rng = np.random.default_rng(seed)
    values = curve[:, None] + noise * (
        rng.standard_normal((len(curve), 8)) + rng.standard_normal(8)
    )
    wide = pd.DataFrame(values, pd.Index(STEPS[: len(curve)], name="step"))
    return wide.rename_axis(columns="picture").stack().rename("adherence").reset_index()


def test_a_jump_is_found_where_it_is() -> None:
    for seed in range(5):
        found = sudden_convergence(looks(RISING, seed=seed))
        assert found.found and (found.low, found.high) == (120, 150)
        assert found.before == pytest.approx(0.1, abs=0.1) and found.after > 0.6
    assert "between steps 120 and 150" in found.text and "8 pictures" in found.text


def test_its_interval_is_wide_where_pictures_disagree() -> None:
    early, late = (np.where(at <= STEPS, 0.7, 0.1) for at in (150, 180))
    mixed = pd.concat(
        [
            looks(curve, noise=0.01).query(f"picture {half}").assign(group=half)
            for curve, half in ((early, "< 4"), (late, ">= 4"))
        ]
    )
    found = sudden_convergence(mixed)
    assert found.found and found.low <= 120 and found.high >= 180


def test_there_is_none_in_noise_in_a_fall_or_in_a_slow_rise() -> None:
    noise = sum(sudden_convergence(looks(0 * RISING, seed=seed)).found for seed in range(20))
    assert noise <= 4  # 1 of 20 is expected at the 5 % that is asked for
    for curve, why in ((RISING[::-1], "does not rise"), (SLOW, "slow and even rise")):
        found = sudden_convergence(looks(curve))
        assert not found.found and why in found.why and why in found.text
        assert np.isnan([found.low, found.high]).all()
    few = sudden_convergence(looks(RISING[:2]))
    assert not few.found and "2 looks" in few.why


def test_the_mean_alone_will_do_and_pictures_that_were_not_read_are_left_out() -> None:
    table = looks(RISING)
    mean = table.groupby("step", as_index=False)["adherence"].mean()
    found = sudden_convergence(mean)
    assert (found.low, found.high, found.pictures) == (120, 150, 1)
    assert "only their mean was kept" in found.text
    table.loc[(table["picture"] == 3) & (table["step"] == 90), "adherence"] = np.nan
    assert sudden_convergence(table).pictures == 7


def test_a_difference_is_clear_where_its_interval_leaves_out_zero() -> None:
    one, other = pd.Series([0.5, 0.6, 0.7, 0.8]), pd.Series([0.1, 0.3, 0.2, 0.5])
    found = compare(one, other)
    assert found.direction == "higher" and compare(other, one).direction == "lower"
    assert found.mean == pytest.approx(0.375)
    # Student's t with 3 degrees of freedom leaves 2.5 % above 3.1824; for few it is wider here.
    assert found.high - found.mean >= 3.182 * (one - other).std() / 2
    assert compare(one, one + [0.1, -0.1, 0.2, -0.2]).direction == "no clear difference"
    assert compare(one[:1], other[:1]).direction == "no clear difference"


def test_a_folder_is_read_and_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "validation"
    folder.mkdir()
    table = pd.DataFrame({"picture": ["a", "b"], "adherence": [0.2, 0.4]})
    grey = [np.full((4, 8, 3), value, np.uint8) for value in (10, 20, 30)]
    for step in (0, 30):
        table.to_csv(folder / f"step-{step:06d}.csv", index=False)
        (folder / f"step-{step:06d}.png").write_bytes(encode_png(np.concatenate(grey)))
    log = pd.DataFrame({"step": [0, 10, 30], "loss": [np.nan, 0.3, 0.2]})
    log.assign(adherence=[0.3, np.nan, 0.3]).to_csv(tmp_path / "curve.csv", index=False)
    found = Learnt(Training(), tmp_path, 30)
    assert list(found.looks["step"]) == [0, 0, 30, 30]
    pictures = found.picture(30, 1)
    assert list(pictures) == ["source", "map", "drawn after step 30"]
    assert [int(one.max()) for one in pictures.values()] == [10, 20, 30]
    moment = sudden_convergence(looks(RISING))
    figure = learning_figure(found.log, pictures, moment)
    assert len(figure.axes) == 5 and moment.text in figure.alt
    assert any(patch.get_gid() == "moment" for patch in figure.axes[1].patches)
    nothing = Learnt(Training(), tmp_path / "none", 0)
    assert learning_figure(nothing.log).axes and nothing.looks.empty


def test_a_training_asks_for_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(control="canny", steps=60, every=20, scenes=50, batch=4, drop=0.25)
    asked = training.asked(tmp_path / "one")
    assert (asked.control, asked.steps, asked.validate_every) == ("canny", 60, 20)
    assert (asked.scenes, asked.batch_size, asked.drop) == (50, 4, 0.25)
    others = replace(training, drop=0.0).asked(tmp_path / "other")
    assert asked.cache == others.cache  # scenes are read once for both trainings of the lesson
    monkeypatch.setenv(SHORT, "1")
    seen = []
    monkeypatch.setattr(
        "workbench.lessons.learning.train_any", lambda asked, **_: seen.append(asked)
    )
    with pytest.raises(AttributeError):  # the stand-in has trained nothing
        learn(training, tmp_path / "out")
    assert seen[0].steps == 2 and seen[0].out == tmp_path / "out-short"


def test_each_prompt_has_pictures_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looks:
        def under(self, prompt: str, folder: Path) -> Callable[..., None]:
            folder.mkdir()
            table = pd.DataFrame({"picture": [prompt]})
            return lambda net, step, _: table.to_csv(folder / f"step-{step:06d}.csv")

    monkeypatch.setattr("workbench.lessons.learning._validation", lambda *_: Looks())
    monkeypatch.setattr(Learnt, "controlnet", lambda self: None)
    found, prompts = Learnt(Training(), tmp_path, 30), ["snow", "rain"]
    assert [found.follows(prompt)["picture"].item() for prompt in prompts] == prompts
    assert len(list(tmp_path.glob("validation-*/*.csv"))) == 2


def test_longer_trainings_began_with_nothing() -> None:
    for control in ("depth", "canny"):
        table = longer_training(control)
        assert table["step"].is_monotonic_increasing and table["step"].iloc[0] == 0
    assert longer_training("normal").empty  # it began with depth
