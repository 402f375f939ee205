"""The options of every command that loads models: where they lie, and whether to stay offline."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from workbench.cli.common import Refusal

ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", metavar="PATH", help="Folder of models; WORKBENCH_MODELS if absent."),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Never touch the network, whatever is missing.")
]


def use_models(models: Path | None, offline: bool) -> None:
    """Tell this process, and those it starts, where models lie.

    The environment carries it, as a worker process must know it too. The hub's library reads its
    variable when it is imported, which no command does before this.
    """
    if models is not None:
        if not models.is_dir():
            raise Refusal(f"--models {models}: there is no such folder")
        os.environ["WORKBENCH_MODELS"] = str(models.resolve())
    if offline:
        os.environ["WORKBENCH_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"


def with_models(command: Callable[..., None]) -> Callable[..., None]:
    """The command with --models and --offline among its options."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)

    @functools.wraps(command)
    def wrapped(*args: Any, models: Path | None = None, offline: bool = False, **rest: Any) -> None:
        use_models(models, offline)
        command(*args, **rest)

    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter("models", keyword, default=None, annotation=ModelsOption),
        inspect.Parameter("offline", keyword, default=False, annotation=OfflineOption),
    ]
    own = [
        parameter.replace(annotation=hints.get(name, parameter.annotation), kind=keyword)
        for name, parameter in signature.parameters.items()
    ]
    vars(wrapped)["__signature__"] = signature.replace(
        parameters=[*own, *more], return_annotation=None
    )
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *more]} | {"return": None}
    return wrapped
