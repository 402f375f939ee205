"""Protects the way to a Dask scheduler: what hinders the start leaves no connection behind, and a
scheduler that is lost is not taken for one without workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from workbench.sweep import ExecutorChoice

pytest.importorskip("distributed")

from workbench.sweep import dask
from workbench.sweep.dask import DaskPool

CHOICE = ExecutorChoice("dask", scheduler="tcp://y:1")


def test_ctrl_c_while_workers_are_awaited_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    client = SimpleNamespace(wait_for_workers=interrupted, close=lambda **_: closed.append(True))
    monkeypatch.setattr(dask, "Client", lambda *_, **__: client)
    with pytest.raises(KeyboardInterrupt):
        DaskPool(CHOICE)
    assert closed == [True]


def test_a_scheduler_that_is_lost_is_no_absence_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says nothing at all then; the futures say that it is lost."""
    monkeypatch.setattr("workbench.sweep.dask.LOOK_SECONDS", 0)
    answers: list[dict[str, Any]] = [{"workers": {"tcp://x:1": {}}}, {}, {"workers": {}}]
    client = SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        get_executor=lambda **_: None,
        scheduler_info=lambda n_workers: answers.pop(0),
    )
    monkeypatch.setattr(dask, "Client", lambda *_, **__: client)
    pool = DaskPool(CHOICE)
    assert [pool.present() for _ in range(3)] == [True, True, False]
