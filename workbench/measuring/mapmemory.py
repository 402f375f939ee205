"""Control maps of samples kept for the comparison across seeds, within a budget of memory."""

from __future__ import annotations

from workbench.controls import ControlMap, MapKey

BUDGET_BYTES = 256 * 1024 * 1024


class MapMemory:
    """(trial id, control, settings as JSON) -> map. Beyond the budget the oldest are forgotten."""

    def __init__(self, budget: int = BUDGET_BYTES) -> None:
        self.budget = budget
        self._bytes = 0
        self._maps: dict[MapKey, ControlMap] = {}

    def __len__(self) -> int:
        return len(self._maps)

    def put(self, key: MapKey, made: ControlMap) -> None:
        """Keep a map; one that alone exceeds the budget is not kept."""
        self.drop(key)
        self._maps[key] = made
        self._bytes += _size(made)
        while self._bytes > self.budget:
            self.drop(next(iter(self._maps)))

    def get(self, key: MapKey) -> ControlMap | None:
        """The map, or None if it was forgotten."""
        return self._maps.get(key)

    def drop(self, key: MapKey) -> None:
        """Forget a map."""
        old = self._maps.pop(key, None)
        if old is not None:
            self._bytes -= _size(old)


def _size(made: ControlMap) -> int:
    return int(made.picture.nbytes + made.data.nbytes)
