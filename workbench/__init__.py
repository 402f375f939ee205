"""ControlNet workbench: measure how a prompt and a control image share the steering.

    import workbench as wb

    run = wb.run("data/studies/demo.yaml")
    run.plot("tradeoff")

Nothing heavy is imported before it is used: each name below loads when it is looked up.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.threads import wait_asleep

if TYPE_CHECKING:
    from workbench import analysis, controls, families, images, lessons, metrics, plots
    from workbench.app import Workbench, explore, redrawn, slider
    from workbench.influences import influence, open_influence
    from workbench.paths import data_dir
    from workbench.pictures import compare, extract
    from workbench.runs import Run, open_run, run, score
    from workbench.study import Study
    from workbench.training.curves import learning_table

__all__ = [
    "Run",
    "Study",
    "Workbench",
    "analysis",
    "compare",
    "controls",
    "data_dir",
    "explore",
    "extract",
    "families",
    "images",
    "influence",
    "learning_table",
    "lessons",
    "metrics",
    "open_influence",
    "open_run",
    "plots",
    "redrawn",
    "run",
    "score",
    "slider",
]

_HOMES = {
    "Run": "runs",
    "Study": "study",
    "Workbench": "app",
    "compare": "pictures",
    "data_dir": "paths",
    "explore": "app",
    "extract": "pictures",
    "influence": "influences",
    "learning_table": "training.curves",
    "open_influence": "influences",
    "open_run": "runs",
    "redrawn": "app",
    "run": "runs",
    "score": "runs",
    "slider": "app",
}
"""Where a name lives; the others are rooms themselves."""

wait_asleep()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    home = import_module(f"workbench.{_HOMES.get(name, name)}")
    found = globals()[name] = getattr(home, name) if name in _HOMES else home
    return found


def __dir__() -> list[str]:
    """What tab completion offers."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
