"""How much the members of a group differ: the samples of one cell of a study over its seeds.

Diversity is the mean distance over all pairs of the group. Looks are compared by image embeddings
(1 − cosine), structure by control maps. NaN stands for fewer than two members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from workbench.metrics.edges import default_tolerance, edge_f1

Distance = Callable[[np.ndarray, np.ndarray], float]


def embedding_diversity(embeddings: np.ndarray | Tensor) -> float:
    """Mean of 1 − cosine over all pairs of embeddings (N×D): 0 (all alike) … 2.

    The embeddings need not have unit length. Raises ValueError if one is zero or not finite.
    """
    vectors = _unit(embeddings)
    count = len(vectors)
    if count < 2:
        return math.nan
    # |Σu|² is the sum of all cosines, the N of each vector with itself among them.
    total = float(vectors.sum(0).square().sum())
    return max(0.0, 1 - (total - count) / (count * (count - 1)))


def map_diversity(maps: Sequence[np.ndarray], distance: Distance | None = None) -> float:
    """Mean distance over all pairs of control maps; without `distance`, `map_distance`.

    Pairs whose distance is NaN are left out; NaN if there is no other.
    """
    measure = distance or map_distance
    distances = [measure(a, b) for a, b in combinations(maps, 2)]
    known = [value for value in distances if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def map_distance(a: np.ndarray, b: np.ndarray) -> float:
    """A symmetric distance of two maps of one shape, 0 … 1.

    Bool edges: 1 − F1 with the default tolerance (NaN if both are empty). Float maps in [0, 1]:
    root mean squared difference. Raises ValueError for shapes that differ and for other types.
    """
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        raise ValueError(
            f"maps must be of one shape and kind, not {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        )
    if a.dtype == np.bool_:
        return 1 - edge_f1(a, b, default_tolerance(*a.shape[-2:])).f1
    if a.dtype.kind == "f":
        return float(np.sqrt(np.mean(np.square(a.astype(np.float64) - b))))
    raise ValueError(f"there is no distance for maps of type {a.dtype}")


class EmbeddingDiversity(Metric):
    """Mean of 1 − cosine over all pairs of the embeddings seen; twin of `embedding_diversity`."""

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 2.0

    embeddings: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("embeddings", [], dist_reduce_fx="cat")

    def update(self, embeddings: np.ndarray | Tensor) -> None:
        """Add embeddings, N×D."""
        self.embeddings.append(_unit(embeddings).to(self.device, torch.float32))

    def compute(self) -> Tensor:
        """The diversity of everything seen, a float32 scalar."""
        # Gathered over processes the state is one tensor, else a list of them.
        seen = self.embeddings
        parts = [seen] if isinstance(seen, Tensor) else seen
        value = embedding_diversity(torch.cat(parts)) if parts else math.nan
        return torch.tensor(value, dtype=torch.float32, device=self.device)


class MapDiversity(Metric):
    """Mean `map_distance` over all pairs of the maps seen (one shape); twin of `map_diversity`."""

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    maps: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("maps", [], dist_reduce_fx="cat")

    def update(self, maps: np.ndarray | Tensor) -> None:
        """Add maps, N×H×W."""
        tensor = maps if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
        if tensor.ndim != 3:
            raise ValueError(f"maps must be N×H×W, not {tuple(tensor.shape)}")
        self.maps.append(tensor.detach().to(self.device))

    def compute(self) -> Tensor:
        """The diversity of everything seen, a float32 scalar."""
        seen = self.maps
        parts = [seen] if isinstance(seen, Tensor) else seen
        arrays = [single for part in parts for single in part.cpu().numpy()]
        return torch.tensor(map_diversity(arrays), dtype=torch.float32, device=self.device)


def _unit(embeddings: np.ndarray | Tensor) -> Tensor:
    vectors = (
        embeddings.detach().cpu()
        if isinstance(embeddings, Tensor)
        else torch.from_numpy(np.array(embeddings))
    ).double()
    if vectors.ndim != 2:
        raise ValueError(f"embeddings must be N×D, not {tuple(vectors.shape)}")
    lengths = vectors.norm(dim=1, keepdim=True)
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        raise ValueError("an embedding is zero or not finite")
    return vectors / lengths
