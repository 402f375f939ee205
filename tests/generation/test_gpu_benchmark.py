"""The benchmark that a card is tried with. Protects it from rotting while nobody has a card: every
part runs on the CPU with tiny models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import SIDE
from tiny_run import TINY_WORLD, TinyManager

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu


@pytest.fixture
def bench(models: Path) -> gpu.Bench:
    def make(device: str, **choices: Any) -> TinyManager:
        return TinyManager(TINY_WORLD, device=device, models_dir=models, **choices)

    return gpu.Bench(
        device="cpu",
        embedded=make,
        shaped=make,
        steps=2,
        size=SIDE,
        dtypes=("float32",),
        batches=(1, 2),
        seeds=1,
        controls=("canny",),
    )


def test_every_part_runs_and_prints_one_table(bench: gpu.Bench) -> None:
    rows = list(gpu.measured(bench, list(gpu.PARTS)))
    assert {part for part, _, _ in rows} == set(gpu.PARTS)
    figures = {f"{part}/{what}": figure for part, what, figure in rows}
    assert figures["equal/float32: twice"] == "0/255, median 0/255"
    worst = int(figures["equal/float32: attention math"].partition("/")[0])
    assert worst <= 2
    assert figures["equal/float32: against the CPU in float32"] == "0/255, median 0/255"
    assert "failed 0" in figures["memory/automatic"]
    assert "drawing" in figures["sweep/canny: 3 pictures"]
    lines = gpu.table(bench, rows).splitlines()
    assert len(lines) == len(rows) + 4 and len({line.count("|") for line in lines[2:]}) == 1


def test_a_choice_that_cannot_be_had_is_a_row_and_no_end() -> None:
    def broken() -> str:
        raise RuntimeError("no kernel image is available")

    assert gpu.attempted(broken) == "RuntimeError: no kernel image is available"
