"""Protects: a pair is read over both of its scales, and never mixed into single controls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.analysis import distinct_controls, findings, pair_points, pair_rows, tradeoff

Simulate = Callable[..., pd.DataFrame]
SCALES = (0.0, 0.5, 1.0)
PRIMARY = {"canny": "canny_f1", "depth": "depth_pearson"}


def truth(control: str, own: float, other: float) -> float:
    """Depth gives way to canny, canny does not care; the prompt gives way to both."""
    if control == "prompt":
        return 0.9 - 0.2 * own - 0.1 * other
    return 0.7 * own - (0.2 * other if control == "depth" else 0.0)


def paired(seeds: int = 2, noise: float = 0.01, **columns: Any) -> pd.DataFrame:
    """Both cells of every picture of canny + depth over four sources."""
    rng = np.random.default_rng(1)
    rows = []
    for source in range(4):
        shift = rng.normal(0, 0.05)
        for canny in SCALES:
            for depth in SCALES:
                for seed in range(seeds):
                    scales = {"canny": canny, "depth": depth}
                    prompt = truth("prompt", canny, depth) + shift + rng.normal(0, noise)
                    for control, other in (("canny", "depth"), ("depth", "canny")):
                        mine = truth(control, scales[control], scales[other]) + shift
                        mine += rng.normal(0, noise)
                        for metric, value in ((PRIMARY[control], mine), ("clip_used", prompt)):
                            rows.append(
                                {
                                    "cell": f"{control}{source}{canny}{depth}{seed}",
                                    "trial": f"{source}{canny}{depth}{seed}",
                                    "source": f"s{source}",
                                    "control": control,
                                    "control_settings": "{}",
                                    "partner": other,
                                    "partner_settings": "{}",
                                    "partner_scale": scales[other],
                                    "base": "render",
                                    "setting": "length",
                                    "length": 3,
                                    "prompt": "a girl, snow, winter",
                                    "scale": scales[control],
                                    "seed": seed,
                                    "metric": metric,
                                    "value": value,
                                    "adherence": value,
                                    "reason": "",
                                }
                            )
    facts: dict[str, Any] = {"chance": 0.0, "ceiling": 1.0, "tokens": 11, "truncated": False}
    facts["full_prompt"] = "a girl, snow, winter"
    return pd.DataFrame(rows).assign(**facts | columns)


def test_points_are_the_means_of_each_combination() -> None:
    frame = paired()
    points = pair_points(frame.sample(frac=1, random_state=0))
    assert list(points["pair"].unique()) == ["canny + depth"]
    assert [*zip(points["first_scale"], points["second_scale"], strict=True)] == [
        (a, b) for a in SCALES for b in SCALES
    ]
    assert (points["n_sources"] == 4).all()
    for row in points.to_dict("records"):
        at = (row["first_scale"], row["second_scale"])
        mine = frame[
            (frame["control"] == "canny")
            & (frame["scale"] == at[0])
            & (frame["partner_scale"] == at[1])
        ]
        theirs = frame[
            (frame["control"] == "depth")
            & (frame["scale"] == at[1])
            & (frame["partner_scale"] == at[0])
        ]
        for name, part, metric in (
            ("first", mine, "canny_f1"),
            ("second", theirs, "depth_pearson"),
            ("prompt", mine, "clip_used"),
        ):
            values = part[part["metric"] == metric]["adherence"]
            assert len(values) == 8
            assert row[f"{name}_adherence"] == pytest.approx(values.mean())
            assert row[f"{name}_low"] < values.mean() < row[f"{name}_high"]


def test_findings_say_what_one_control_does_to_the_other() -> None:
    found = {(f.metric, "scale of canny" in f.text): f for f in findings(paired())}
    assert {f.kind for f in found.values()} == {"pair"}
    assert {f.control for f in found.values()} == {"canny + depth"}
    depth = found["depth_pearson", True]
    assert depth.direction == "falls"
    assert depth.estimate == pytest.approx(-0.2, abs=0.02)
    assert depth.text.startswith(
        "Canny + depth: control adherence of depth falls with the scale of canny, from "
    )
    assert found["canny_f1", False].direction == "no clear effect"
    assert found["clip_used", True].estimate == pytest.approx(-0.2, abs=0.02)
    assert found["clip_used", False].estimate == pytest.approx(-0.1, abs=0.02)
    assert len(found) == 4


def test_single_controls_read_the_same_beside_a_pair(simulate: Simulate) -> None:
    alone = simulate(lambda s, n: 0.5 * s, lambda s, n: 1 - 0.3 * s, lengths=(3,))
    alone = alone.assign(
        control_settings="{}", partner="", partner_settings="", partner_scale=np.nan
    )
    both = pd.concat([alone, paired()], ignore_index=True)
    pd.testing.assert_frame_equal(distinct_controls(both), distinct_controls(alone))
    pd.testing.assert_frame_equal(tradeoff(both), tradeoff(alone))
    assert findings(both)[: len(findings(alone))] == findings(alone)
    pd.testing.assert_frame_equal(pair_points(both), pair_points(paired()))


def test_pairs_with_other_settings_or_another_base_stay_apart() -> None:
    fine = paired(control_settings='{"low":20}').query("control == 'canny'")
    fine_other = paired(partner_settings='{"low":20}').query("control == 'depth'")
    fine = pd.concat([fine, fine_other])
    frame = pd.concat([paired(), fine, paired(base="ink")], ignore_index=True)
    frame.loc[
        (frame["control"] == "canny") & (frame["control_settings"] == "{}"), "control_settings"
    ] = '{"low":100}'
    frame.loc[
        (frame["partner"] == "canny") & (frame["partner_settings"] == "{}"), "partner_settings"
    ] = '{"low":100}'
    rows = pair_rows(frame)
    assert set(rows["pair"]) == {
        "canny (low=100) + depth (base render)",
        "canny (low=20) + depth (base render)",
        "canny (low=100) + depth (base ink)",
    }
    assert (rows.groupby("pair")["trial"].size() == len(paired())).all()


def test_a_frame_without_pairs_has_no_points_and_no_findings(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5)
    for one in (frame, frame.assign(partner=""), frame.iloc[:0]):
        assert pair_points(one).empty
        assert "pair" not in {f.kind for f in findings(one)}
