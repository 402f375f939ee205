"""The embedded world's own judge, as a loader like the others."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.families.annotators import Network
from workbench.families.annotators.weights import Weights
from workbench.families.quiet import told_plainly
from workbench.families.spec import FamilyError


def load(weights: Weights, device: str) -> Mapping[str, Network]:
    """All heads of the judge in a local folder; FamilyError if it holds none."""
    from workbench.families.judge import load_judge

    if weights.place.folder is None:
        raise FamilyError(f"{weights.place.name}: a judge is loaded from a local folder only")
    with told_plainly(weights.place.name, "an embedded judge"):
        return load_judge(weights.place.folder).to(device).networks()
