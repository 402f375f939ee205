"""Messages between a visitor and the one model: JSON and arrays. Nothing in them is run."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

MAX_BYTES = 2**28
"""A longer message ends the connection."""


def send(
    connection: Connection, message: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()
) -> None:
    """Send a message, and arrays after it. OSError if nobody listens any more."""
    head = json.dumps({**message, "arrays": len(arrays)})
    connection.send_bytes(head.encode("utf-8"))
    for array in arrays:
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        connection.send_bytes(buffer.getvalue())


def receive(connection: Connection) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message and its arrays.

    EOFError or OSError if there is none any more, ValueError for what is no message.
    """
    message = json.loads(connection.recv_bytes(MAX_BYTES))
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    count = int(message.pop("arrays", 0))
    parts = (connection.recv_bytes(MAX_BYTES) for _ in range(count))
    return message, [np.load(io.BytesIO(part), allow_pickle=False) for part in parts]
