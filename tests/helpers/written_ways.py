"""Ways to the pictures of a written run, made up: nobody predicted anything."""

from __future__ import annotations

import numpy as np

from workbench.influences.stored import Observation, write_observation
from workbench.store import RunFolder

STEPS, KEPT = 6, (1, 4, 6)


def write_ways(run: RunFolder, *, so_far: bool = True, most: int | None = None) -> list[str]:
    """Say of the pictures that a control steers, or so many of them, who was driving.

    The text lets go step by step, the control does not. Returns the trials, in their order.
    """
    rng, seen = np.random.default_rng(3), []
    for record in run.records():
        if not record.trial.controls or record.failed:
            continue
        fall = np.linspace(1, 0.1, STEPS) + rng.uniform(0, 0.05, STEPS)
        products = np.zeros((STEPS, 4, 4))
        products[:, 0, 0], products[:, 1, 1], products[:, 3, 3] = 1.0, 0.25, 0.01
        products[:, 2, 2] = fall**2
        picture = run.read_sample(record.trial.id)
        one = Observation(
            trial=record.trial,
            facts=dict(next(iter(record.cells.values()))),
            made_by=record.made_by,
            times=np.linspace(999, 0, STEPS),
            products=products,
            maps={n: rng.uniform(0, n, (3, 4, 4)).astype(np.float32) for n in KEPT},
            picture=picture,
            so_far={n: np.full_like(picture, 40 * n) for n in KEPT} if so_far else {},
        )
        write_observation(run, one)
        seen.append(record.trial.id)
        if len(seen) == most:
            break
    return seen
