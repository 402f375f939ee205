"""Protects a run from being killed: whatever the moment, the next start ends where an unbroken run
would have ended, and nothing that was stored is made again or lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import result_of

SEED = 1
KILLS = 20


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_measurement(models: Path, tmp_path: Path) -> None:
    result = result_of("kill_runs.py", models, tmp_path, SEED, KILLS)
    kills = result["kills"]
    assert len(kills) == KILLS
    for number, kill in enumerate(kills):
        assert kill["resumed"] == 0, number
        assert kill["spoilt"] == [] and kill["lost"] == [], number
        assert kill["records"], f"the records of run {number} are not those of the unbroken run"
        assert kill["table"], f"the table of run {number} is not that of the unbroken run"
    stored = [kill["stored"] for kill in kills]
    assert sum(0 < count < result["trials"] for count in stored) > KILLS // 5, stored
