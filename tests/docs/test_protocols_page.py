"""The page on protocols computes ControlNet++'s pooled F1 of canny from a finished run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import workbench as wb

pytestmark = [pytest.mark.models, pytest.mark.slow]
PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"
STUDY = {
    "name": "edges",
    "sources": ["paperdoll:900001", "paperdoll:900004"],
    "controls": [{"type": "canny", "settings": {"low": 100, "high": 200, "tolerance": 0}}],
    "prompt": "a girl, long hair, snow",
    "scales": [1],
    "seeds": [1, 2, 3],
    "steps": 2,
}


def f1(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))


def test_the_pictures_of_a_prompt_are_pooled_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = wb.run(wb.Study.from_dict(STUDY), "runs/controlnet-plus-plus-edges")
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    names: dict[str, float] = {}
    exec(compile(block, "protocols.md", "exec"), names)

    rows = run.table[run.table.metric == "canny_f1_strict"]
    pooled, values = [], []
    for _, group in rows.groupby("source"):
        pairs = [
            (wb.extract(run.picture(t), "canny", low=100, high=200).data, run.map(t)[..., 0] > 0)
            for t in group.trial
        ]
        pooled.append(f1(*(np.stack(maps) for maps in zip(*pairs, strict=True))))
        values += [f1(*pair) for pair in pairs]
    assert len(values) == 6
    assert rows.value.mean() == pytest.approx(np.mean(values)), "the table scores each picture"
    assert names["pooled_f1"] == pytest.approx(np.mean(pooled))
    assert names["pooled_f1"] != pytest.approx(np.mean(values), abs=1e-6)
