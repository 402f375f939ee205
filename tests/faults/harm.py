"""Ways of harming a file, for the scripts that read what they left: its bytes, a value in its JSON,
what lies in its place.

Each takes a random generator, so that a case can be repeated.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEEP = 100_000
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, -(10**30), 0.5, -0.0, 1e308, -1e308,
    1e-320, float("nan"), float("inf"), float("-inf"), "", "x", "0", "nan", "x" * 3_000_000,
    "\0", "\x1b[31m", "\ud800", "\u2028\u202e", "é" * 5_000, "../../../etc/passwd", "/dev/zero",
    "..", ".", "a/" * 3_000, "a" * 300, "<script>alert(1)</script>", "$\\frac{a$", "=1+1", "a,b",
    "paperdoll:1", "paperdoll:99999999999", "canny", "depth", "float16", "cuda:9", "{", "{}", "[1]",
    '{"low": NaN}', '{"low": "x"}', "2026-01-01", [], {}, [[]], [None], [{}], {"": None}, {"a": 1},
    [1, "a", None], {"a": {"b": [1]}}, ["a"] * 1_000, [0] * 100_000, {"schema": 2}, 16,
)  # fmt: skip


def truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def spliced(data: bytes, rng: random.Random) -> bytes:
    """Some bytes left out, said twice, or replaced by others of the same file."""
    one, other = sorted(rng.randrange(len(data)) for _ in range(2))
    place = rng.randrange(len(data))
    return data[:place] + data[one : min(other, one + 2_000)] + data[rng.choice((one, place)) :]


def nonsense(data: bytes, rng: random.Random) -> bytes:
    """Something else altogether, or the text in another encoding."""
    text = data.decode("utf-8", "replace")
    number = "9" * 5_000
    return rng.choice((
        lambda: b"", lambda: b"\0" * 3_000, lambda: rng.randbytes(3_000), lambda: b"null",
        lambda: b"[]", lambda: b"{}", lambda: b'""', lambda: b"0", lambda: b"NaN", lambda: b"true",
        lambda: b"[" * DEEP, lambda: b"[" * DEEP + b"]" * DEEP, lambda: b'{"a":' * DEEP,
        lambda: b'[{"a":' * 400 + b"1" + b"}]" * 400, lambda: number.encode(),
        lambda: f'{{"schema": {number}}}'.encode(), lambda: b'{"schema": 2}', lambda: b'{"schema":',
        lambda: b'"' + b"x" * 20_000_000 + b'"', lambda: b"[" + b"[]," * 4_000_000 + b"[]]",
        lambda: b"[" + b"{}," * 4_000_000 + b"{}]", lambda: b"[" + b"1.5," * 4_000_000 + b"1]",
        lambda: b"{" + b",".join(b'"%d":0' % i for i in range(400_000)) + b"}",
        lambda: text.encode("utf-16"), lambda: b"\xef\xbb\xbf" + data, lambda: data + data,
        lambda: text.replace("\n", "\r\n").encode(), lambda: data + b"\0" * 100_000,
    ))()  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places in plain JSON data, the top left out."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [place for key, item in items for place in ((*at, key), *paths(item, (*at, key)))]


def json_value(data: bytes, rng: random.Random) -> bytes:
    """One to three values in a JSON file replaced, taken out, renamed or given another's."""
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = paths(value)
        if not places:
            break
        *above, last = rng.choice(places)
        owner = value
        for key in above:
            owner = owner[key]
        how = rng.randrange(8)
        if how == 0:
            del owner[last]
        elif how == 1 and isinstance(owner, dict):
            name = rng.choice(("", "x", "\x1b[2J", "\ud800", "y" * 5_000, str(last).upper()))
            owner[name] = owner.pop(last)
        elif how == 2:
            other = value
            for key in rng.choice(places):
                if not isinstance(other, dict | list):
                    break
                if isinstance(other, dict) and key not in other:
                    break
                if isinstance(other, list) and not (isinstance(key, int) and key < len(other)):
                    break
                other = other[key]
            owner[last] = copy.deepcopy(other)
        elif how == 3 and isinstance(owner, list):
            owner[:] = owner * rng.choice((2, 50))
        else:
            owner[last] = rng.choice(ODD)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def json_text(data: bytes, rng: random.Random) -> bytes:
    """What `json.dumps` would not write: keys said twice, numbers too long, loose commas."""
    lines = data.decode().split("\n")
    place = rng.randrange(len(lines))
    how = rng.randrange(5)
    if how == 0:
        lines.insert(place, lines[place])
    elif how == 1:
        lines[place] = lines[place].replace(": ", ": " + rng.choice(("9" * 5_000, "1e999", "-")), 1)
    elif how == 2:
        lines[place] += rng.choice((",", "]", "}", "[", "{", '"', "//", "\\u12"))
    elif how == 3:
        head, colon, _ = lines[place].partition(": ")
        odd = ("NaN", "-Infinity", "1e400", "[" * 900 + "]" * 900, "[" * DEEP, "01", '"\\ud800"')
        lines[place] = f"{head}{colon}{rng.choice(odd)},"
    else:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    return "\n".join(lines).encode()


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def displaced(path: Path, outside: Path, rng: random.Random) -> str:
    """Put something that is no ordinary file of the run in its place; says what."""
    data = path.read_bytes()
    path.unlink()
    secret = outside / path.name
    places: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "folder": path.mkdir,
        "link out": lambda: (secret.write_bytes(data), path.symlink_to(secret)),
        "relative link out": lambda: (
            secret.write_bytes(data),
            path.symlink_to(os.path.relpath(secret, path.parent)),
        ),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "dangling": lambda: path.symlink_to(outside / "nothing"),
        "loop": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
        "huge": lambda: (path.touch(), os.truncate(path, 5 * 2**30)),
    }
    name = rng.choice(list(places))
    places[name]()
    return name


def cleared(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
