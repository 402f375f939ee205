"""Asking a network of the model family about pictures whose sizes may differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.controls.base import ControlError, Networks, check_pictures


def ask(
    images: Sequence[NDArray[np.uint8]],
    networks: Networks,
    needed: str,
    who: str,
    dims: int,
    *,
    may_be_empty: bool = False,
) -> list[np.ndarray]:
    """What a network says of each picture, in one call for each size among them.

    needed: the network's name. who: what needs it, to begin a sentence with.
    dims: how many dimensions the answer to one picture has: 2 for H×W, 3 for H×W×C. Its size is
        the network's own; it may differ from the picture's.
    may_be_empty: whether an answer without a single value is one, as of a picture without people.
    Raises ControlError for what is no picture, if the network is missing, or if it returns
    something else than one array of finite values for each picture.
    """
    check_pictures(images)
    network = networks.get(needed)
    if network is None:
        raise ControlError(f"{who} needs the network {needed!r}, and this model family lends none")
    answers: dict[int, np.ndarray] = {}
    for shape in dict.fromkeys(image.shape for image in images):
        places = [place for place, image in enumerate(images) if image.shape == shape]
        raw = np.asarray(network(np.stack([images[place] for place in places])))
        empty = raw.size == 0 and not may_be_empty
        if raw.ndim != dims + 1 or len(raw) != len(places) or empty:
            raise ControlError(
                f"the network {needed!r} returned {raw.shape} for {len(places)} pictures {shape}"
            )
        if not np.isfinite(raw).all():
            raise ControlError(f"the network {needed!r} returned values which are not finite")
        answers.update(zip(places, raw, strict=True))
    return [answers[place] for place in range(len(images))]
