"""The exceptions of the store, and what to say when the disk refuses."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class StoreError(Exception):
    """A run folder cannot be used or written. The message is one sentence for the user."""


class SchemaError(StoreError):
    """A run was made by a version of this program that writes its files in another way."""

    def __init__(self, what: str, found: object, mine: int) -> None:
        self.found, self.mine = found, mine
        older = isinstance(found, int) and found < mine
        super().__init__(
            f"{what} was made by {'an older' if older else 'another'} version of this program "
            f"(schema {str(found)[:20]}, this one reads {mine}) and is left as it is: use that "
            "version, or another folder"
        )


@contextmanager
def disk_errors(path: Path, verb: str = "written") -> Iterator[None]:
    """Turn the system's errors about a file into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            advice = "free some space and start again; everything stored until now is kept"
        elif error.errno in _FORBIDDEN:
            advice = "change its permissions or use another folder"
        else:
            advice = "everything stored until now is kept"
        raise StoreError(f"{path} cannot be {verb} ({reason}): {advice}") from error
