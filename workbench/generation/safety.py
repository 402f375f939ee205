"""What a safety checker blocks is a failed trial with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.families.loading import ModelManager
from workbench.families.safety import BLOCKED
from workbench.generation.events import SampleResult


def without_blocked(results: Sequence[SampleResult], manager: ModelManager) -> list[SampleResult]:
    """The results, of which those fail that the base model's own checker blocks.

    As they are where the manager does not check safety.
    """
    pictures = [result.image for result in results if result.image is not None]
    if not manager.checks_safety or not pictures:
        return list(results)
    blocked = iter(manager.safety_checker().blocked(pictures))
    return [
        replace(result, image=None, failed_reason=BLOCKED)
        if result.image is not None and next(blocked)
        else result
        for result in results
    ]
