"""Who is driving? How hard text and control pull at each step of a picture's way.

`parts` takes the four predictions of a step apart, `making` looks at them while the sweep's own
road makes the pictures, `driving` says with intervals who pulls harder, and `Influence` reads what
was kept.
"""

from workbench.influences.driving import curves, driving, long_table
from workbench.influences.parts import INFLUENCES, PARTS, figures_of, parts_of
from workbench.influences.shown import Ways
from workbench.influences.view import Influence, influence, influence_job, open_influence

__all__ = [
    "INFLUENCES",
    "PARTS",
    "Influence",
    "Ways",
    "curves",
    "driving",
    "figures_of",
    "influence",
    "influence_job",
    "long_table",
    "open_influence",
    "parts_of",
]
