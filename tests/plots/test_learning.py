"""Learning curves: one panel a control type, one line a go, and every beginning is named."""

from __future__ import annotations

import pandas as pd

from workbench import plots


def looks(control: str, go: int, start: str, steps: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "control": control,
            "go": go,
            "start": start,
            "guidance_scale": 5.0 - go,
            "step": steps,
            "adherence": [0.1 + step / 1000 for step in steps],
            "metric": "Agreement",
            "shipped": control != "pose",
        }
    )


def test_every_go_has_its_line_and_says_what_it_began_with() -> None:
    table = pd.concat(
        [
            looks("canny", 0, "", [0, 50, 100]),
            looks("canny", 1, "canny", [100, 200]),
            looks("pose", 0, "depth", [0, 100]),
        ]
    )
    figure = plots.learning_figure(table, labels={"pose": "Human pose"})
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title("left") for axes in shown] == ["canny", "Human pose"]
    lines = {line.get_gid(): line for line in shown[0].lines if line.get_gid()}
    assert list(lines["go-0"].get_xdata()) == [0, 50, 100]
    assert list(lines["go-1"].get_xdata()) == [100, 200]
    words = " ".join(text.get_text() for axes in shown for text in axes.texts)
    for part in (
        "from nothing",
        "improved",
        "from depth",
        "guidance 5, then 4",
        "not the shipped",
        "Agreement",
        "Agreement",
    ):
        assert part in words
    assert plots.to_png(figure, dpi=40)


def test_no_curves_are_said() -> None:
    figure = plots.learning_figure(looks("canny", 0, "", []))
    assert any("no curves" in text.get_text() for text in figure.axes[0].texts)
