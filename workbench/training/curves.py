"""The curves that a ControlNet's training leaves: its losses and its adherence over the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.controls import CONTROL_NAMES, get_control
from workbench.training.watch import WATCH_GUIDANCE

if TYPE_CHECKING:
    import pandas as pd


def save_curve(
    history: Sequence[Mapping[str, float]],
    batch: int,
    control: str,
    models_dir: Path,
    *,
    seed: int,
    start: str = "",
) -> None:
    """Write ``curves/<control>.json``: losses and adherence over the steps of the training.

    A ControlNet is made in one go or in several. ``start`` says what a go began with: nothing, the
    ControlNet of another control type, or its own weights; then the earlier goes are kept.
    "shipped": false in a file says that the training it shows was not that of the weights beside
    it, but another one by the same recipe.
    """
    folder = models_dir / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{control}.json"
    about: dict[str, Any] = {"control": control, "batch": batch}
    earlier: list[dict[str, Any]] = []
    if start == control and path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        about |= {key: known[key] for key in ("shipped",) if key in known}
        earlier = known["goes"]
        if (earlier[-1]["start"], earlier[-1]["seed"]) == (start, seed):
            earlier.pop()  # this very go, which was resumed or is exported again
    rounded = [
        {k: round(v, 5) if k != "step" else int(v) for k, v in row.items()} for row in history
    ]
    go = {
        "start": start,
        "seed": seed,
        "guidance_scale": WATCH_GUIDANCE,
        "metric": get_control(control).primary,
        "history": rounded,
    }
    text = json.dumps({**about, "goes": [*earlier, go]}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def learning_table(models_dir: Path) -> pd.DataFrame:
    """Adherence over the training of every ControlNet that has a curve.

    Returns:
        One row for each look: control, go (0, 1, …), start (what the go began with; "" is nothing),
        guidance_scale, metric (label of the one that stood for adherence), step (over all goes),
        adherence, shipped (whether the weights in
        ``models_dir`` came out of this training). Empty if there are no curves.
    """
    import pandas as pd

    rows = []
    for control in CONTROL_NAMES:
        path = models_dir / "curves" / f"{control}.json"
        if not path.is_file():
            continue
        before = 0
        curve = json.loads(path.read_text(encoding="utf-8"))
        shipped = bool(curve.get("shipped", True))
        for number, go in enumerate(curve["goes"]):
            about = {name: go[name] for name in ("start", "guidance_scale")}
            about["metric"] = get_control(control).metric(go["metric"]).label
            rows += [
                {"control": control, "go": number, **about,
                 "step": before + row["step"], "adherence": row["adherence"],
                 "shipped": shipped}
                for row in go["history"]
                if "adherence" in row
            ]  # fmt: skip
            before += max(row["step"] for row in go["history"])
    columns = ["control", "go", "start", "guidance_scale", "metric", "step", "adherence", "shipped"]
    return pd.DataFrame(rows, columns=columns)
