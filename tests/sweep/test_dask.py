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


def test_who_has_no_certificate_reaches_no_scheduler(caplog: pytest.LogCaptureFixture) -> None:
    import distributed
    from pools import certificates

    with (
        certificates() as security,
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tls://", security=security,
            dashboard_address=None, silence_logs=50,
        ) as cluster,
    ):  # fmt: skip
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        with distributed.Client(address, timeout=10, set_as_default=False) as client:
            assert client.scheduler_info()["workers"] == {}
        stranger = distributed.Security.temporary()
        with pytest.raises(OSError):
            distributed.Client(address, security=stranger, timeout=2, set_as_default=False)
        with pytest.raises(OSError):
            distributed.Client(address.replace("tls", "tcp"), timeout=2, set_as_default=False,
                               security=distributed.Security(require_encryption=False))  # fmt: skip


def test_an_open_scheduler_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = SimpleNamespace(wait_for_workers=lambda *_, **__: None, get_executor=lambda **_: None)
    monkeypatch.setattr(dask, "Client", lambda *_, **__: client)
    DaskPool(ExecutorChoice("dask", scheduler="tls://y:1"))
    assert not caplog.records
    DaskPool(CHOICE)
    assert "can run code on its workers as you" in caplog.text
