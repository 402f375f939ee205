"""Who is next: a fair turn for each visitor of one model, however much each has asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Event

import numpy as np

from workbench.cancel import CancelToken
from workbench.study import Study


@dataclass(eq=False)
class Order:
    """Pictures that a visitor has asked for.

    left: ids of the trials that have not had their turn. total: how many were asked for. done: how
    many of those are there. phase: what is being done for it. error: why it failed. ended: set
    when nothing more will be done for it.
    """

    visitor: str
    study: Study
    folder: Path
    left: Sequence[str]
    total: int
    done: int = 0
    phase: str = ""
    step: tuple[int, int] = (0, 0)
    look: np.ndarray | None = None
    rest_until: float = 0.0
    error: Exception | None = None
    cancel: CancelToken = field(default_factory=CancelToken)
    ended: Event = field(default_factory=Event)


class Turns:
    """Visitors in a ring, each with their orders. Safe from any thread.

    One turn is a part of one order; whoever had it goes to the end of the ring.
    """

    def __init__(self) -> None:
        self._ring: dict[str, deque[Order]] = {}
        self._at_work: Order | None = None
        self._condition = Condition()
        self._closed = False

    def put(self, order: Order) -> None:
        """Queue an order behind the others of its visitor, who joins the end of the ring.

        After `close` it ends at once.
        """
        with self._condition:
            if self._closed:
                order.cancel.cancel()
                order.ended.set()
                return
            self._ring.setdefault(order.visitor, deque()).append(order)
            self._condition.notify()

    def take(self) -> Order | None:
        """The order whose turn it is, as soon as there is one; None after `close`."""
        with self._condition:
            while not self._ring and not self._closed:
                self._condition.wait()
            if self._closed:
                return None
            visitor, mine = next(iter(self._ring.items()))
            del self._ring[visitor]
            self._at_work = mine.popleft()
            if mine:
                self._ring[visitor] = mine
            return self._at_work

    def give_back(self, order: Order) -> None:
        """End the turn of an order. One that has more to be made waits for its visitor's next."""
        with self._condition:
            self._at_work = None
            if order.left and order.error is None and not order.cancel.cancelled:
                mine = self._ring.pop(order.visitor, deque())
                mine.appendleft(order)
                self._ring[order.visitor] = mine
                self._condition.notify()
            else:
                order.ended.set()

    def stop(self, order: Order) -> None:
        """Forget an order that waits; ask the one at work to stop."""
        with self._condition:
            order.cancel.cancel()
            mine = self._ring.get(order.visitor)
            if mine is not None and order in mine:
                mine.remove(order)
                if not mine:
                    del self._ring[order.visitor]
                order.ended.set()

    def before(self, order: Order) -> int:
        """How many visitors have a turn before an order that waits; 0 if it is at work."""
        with self._condition:
            if order is self._at_work:
                return 0
            others = list(self._ring).index(order.visitor) if order.visitor in self._ring else 0
            return others + (self._at_work is not None)

    def waiting(self) -> bool:
        """Whether anybody waits for a turn."""
        with self._condition:
            return bool(self._ring)

    def close(self) -> None:
        """Forget what waits, ask what is at work to stop, and let `take` return None."""
        with self._condition:
            self._closed = True
            waiting = [order for mine in self._ring.values() for order in mine]
            self._ring.clear()
            if self._at_work is not None:
                self._at_work.cancel.cancel()
            self._condition.notify_all()
        for order in waiting:
            order.cancel.cancel()
            order.ended.set()
