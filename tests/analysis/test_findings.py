"""Protects the report's sentences: no direction without an interval that excludes 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from workbench.analysis import (
    Finding,
    control_type,
    controls_in,
    distinct_controls,
    findings,
    primary_metrics,
    tradeoff,
)

Simulate = Callable[..., pd.DataFrame]
OUTLINE = ("a girl", "long hair")


def _of(found: list[Finding], kind: str, metric: str) -> Finding:
    return next(f for f in found if f.kind == kind and f.metric == metric)


def _falling(tag: str, scale: float) -> float:
    return 0.9 - (0.3 * scale if tag in OUTLINE else 0.0)


def test_a_run_with_effects_is_told_with_its_figures(simulate: Simulate) -> None:
    frame = simulate(
        lambda s, n: 0.5 * s - 0.04 * n, lambda s, n: 1 - 0.3 * s, tag=_falling, noise=0.02
    )
    found = findings(frame, silhouette=OUTLINE)

    control = _of(found, "control", "canny_f1")
    assert control.direction == "rises"
    assert control.low < 0.8 < control.high
    assert "control adherence rises with the scale, from" in control.text
    assert "95 % interval" in control.text
    assert "4 sources" in control.text
    assert _of(found, "prompt", "clip_used").direction == "falls"
    assert _of(found, "length", "canny_f1").direction == "falls"
    assert _of(found, "tags", "silhouette").direction == "falls"
    assert _of(found, "tags", "silhouette against others").high < 0
    first = next(f for f in found if f.metric.startswith("tag:"))
    assert '"a girl"' in first.text
    assert '"long hair"' in first.text
    assert '"snow"' not in first.text
    assert [f.kind for f in found].count("sweet spot") == 2


def test_a_run_without_effects_claims_nothing(simulate: Simulate) -> None:
    """A claim may slip through now and then, as 95 % intervals do; most runs make none."""
    claims = total = 0
    for i in range(12):
        frame = simulate(
            lambda s, n: 0.5,
            lambda s, n: 0.5,
            tag=lambda t, s: 0.7,
            slope_sd=0.05,
            rng_seed=100 + i,
        )
        found = [f for f in findings(frame, silhouette=OUTLINE) if f.kind != "sweet spot"]
        claims += sum(f.direction in ("rises", "falls") for f in found)
        total += len(found)
    assert total >= 60
    assert claims / total < 0.15


def test_words_and_figures_never_part(simulate: Simulate) -> None:
    for i in range(6):
        frame = simulate(
            lambda s, n: 0.5 + 0.03 * s, lambda s, n: 0.5 - 0.02 * s, tag=_falling, rng_seed=i
        )
        for finding in findings(frame, silhouette=OUTLINE):
            if finding.direction == "rises":
                assert finding.low > 0
            elif finding.direction == "falls":
                assert finding.high < 0
            elif finding.direction == "no clear effect":
                assert "no clear" in finding.text or "no single tag" in finding.text
                of_all = finding.text.partition(" differ: ")[0]  # then length by length
                assert " rises " not in of_all and " falls " not in of_all


def test_one_source_is_no_finding(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5 * s, lambda s, n: 1 - 0.3 * s, tag=_falling, sources=1)
    for finding in findings(frame, silhouette=OUTLINE):
        assert finding.direction in ("cannot tell", "")
        assert math.isnan(finding.low)
        assert "source" in finding.text


def test_one_scale_tells_nothing_about_the_scale(simulate: Simulate) -> None:
    frame = simulate(lambda s, n: 0.5, lambda s, n: 0.5, scales=(1.0,), tag=_falling)
    kinds = {finding.kind for finding in findings(frame, silhouette=OUTLINE)}
    assert kinds <= {"length"}


def test_an_empty_frame_has_no_findings(simulate: Simulate) -> None:
    assert findings(simulate(lambda s, n: 0, lambda s, n: 0).iloc[:0], silhouette=OUTLINE) == []


def test_two_settings_of_one_control_stay_apart(simulate: Simulate) -> None:
    wide = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5)
    low = simulate(lambda s, n: -0.5 * s, lambda s, n: 0.5)
    frame = pd.concat(
        [
            wide.assign(control_settings='{"high":200,"low":100}'),
            low.assign(control_settings='{"high":200,"low":20}'),
        ]
    )
    assert set(distinct_controls(frame)["control"]) == {"canny (low=100)", "canny (low=20)"}
    found = {
        f.control: f.direction for f in findings(frame, silhouette=OUTLINE) if f.kind == "control"
    }
    assert found == {"canny (low=100)": "rises", "canny (low=20)": "falls"}


def test_two_base_models_stay_apart(simulate: Simulate) -> None:
    """One base obeys more with the scale, the other less: a mean over both would say neither."""
    up = simulate(lambda s, n: 0.5 * s, lambda s, n: 0.5)
    down = simulate(lambda s, n: -0.5 * s, lambda s, n: 0.5).assign(base="ink")
    frame = pd.concat([up, down])
    found = {
        f.control: f.direction for f in findings(frame, silhouette=OUTLINE) if f.kind == "control"
    }
    assert found == {"canny (base render)": "rises", "canny (base ink)": "falls"}
    points = tradeoff(frame).set_index(["control", "length", "scale"])["control_adherence"]
    for base, alone in (("render", up), ("ink", down)):
        mine = tradeoff(alone).set_index(["length", "scale"])["control_adherence"]
        pd.testing.assert_series_equal(points.loc[f"canny (base {base})"], mine)


def test_labels_tell_settings_and_bases_and_labelling_twice_changes_nothing(
    simulate: Simulate,
) -> None:
    one = simulate(lambda s, n: s, lambda s, n: s, sources=1, seeds=1, lengths=(3,))
    frame = pd.concat(
        one.assign(base=base, control_settings=f'{{"low":{low}}}')
        for base in ("render", "ink")
        for low in (20, 100)
    )
    named = distinct_controls(frame)
    assert set(named["control"]) == {
        f"canny (low={low}; base {base})" for base in ("render", "ink") for low in (20, 100)
    }
    assert {control_type(label) for label in named["control"]} == {"canny"}
    assert primary_metrics(named) == dict.fromkeys(controls_in(named), "canny_f1")
    pd.testing.assert_frame_equal(distinct_controls(named), named)
    part = named[named["control"] == "canny (low=20; base ink)"]
    pd.testing.assert_frame_equal(distinct_controls(part), part)
