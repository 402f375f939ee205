"""A small study on the embedded model, run in a process of its own.

python demo_run.py OUT BATCH_SIZE: two sources, two steps. Its folder tells what it made.
"""

from __future__ import annotations

import sys

from workbench.study import Study
from workbench.sweep import run_study

STUDY = {
    "name": "demo of two steps",
    "sources": ["paperdoll:900001", "paperdoll:900002"],
    "controls": ["depth"],
    "prompt": "a girl, long hair, snow",
    "lengths": [1, 3],
    "scales": [0, 1],
    "seeds": [1, 2],
    "steps": 2,
}

if __name__ == "__main__":
    out, batch_size = sys.argv[1:]
    run_study(Study(**STUDY), out, batch_size=int(batch_size))
