"""Protects the start of a Dask cluster of our own: what hinders it leaves no process and no setting
behind, and one of CUDA devices gets what one of CPU workers gets."""

from __future__ import annotations

import multiprocessing
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.sweep import ExecutorChoice
from workbench.sweep.cluster import DaskCrew

distributed = pytest.importorskip("distributed")


def test_ctrl_c_while_workers_are_awaited_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients: list[Any] = []

    def interrupted(self: Any, *args: Any, **keywords: Any) -> None:
        clients.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(distributed.Client, "wait_for_workers", interrupted)
    environment = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        DaskCrew(ExecutorChoice("dask", "cpu", 1), 1)
    (client,) = clients
    assert client.status == "closed"
    assert not multiprocessing.active_children()
    assert dict(os.environ) == environment


def test_a_scheduler_that_is_lost_is_no_absence_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says nothing at all then; the futures say that it is lost."""
    monkeypatch.setattr("workbench.sweep.cluster.LOOK_SECONDS", 0)
    answers: list[dict[str, Any]] = [{"workers": {"tcp://x:1": {}}}, {}, {"workers": {}}]
    client = SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        get_executor=lambda **_: None,
        scheduler_info=lambda n_workers: answers.pop(0),
    )
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: client)
    crew = DaskCrew(ExecutorChoice("dask", scheduler="tcp://y:1"), 1)
    assert [crew.present() for _ in range(3)] == [True, True, False]


def test_a_cluster_of_cuda_devices_keeps_its_models_and_our_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []
    told: list[Any] = []

    class Cluster:
        def __init__(self, **options: Any) -> None:
            import dask

            made.append(options)
            told.append(dask.config.get("distributed.nanny.pre-spawn-environ"))
            os.environ["PYTHONHASHSEED"] = "6640"  # as Dask does

        def close(self, timeout: float) -> None:
            pass

    client = SimpleNamespace(
        wait_for_workers=lambda *_, **__: None,
        get_executor=lambda **_: None,
        close=lambda **_: None,
    )
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: client)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=Cluster))
    monkeypatch.setattr("workbench.sweep.executors.cuda_devices", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    crew = DaskCrew(ExecutorChoice("dask", "cuda"), 8)
    assert made[0]["memory_limit"] == 0 and made[0]["n_workers"] == 2 and told == [{}]
    crew.close(at_once=False)
    assert "PYTHONHASHSEED" not in os.environ
