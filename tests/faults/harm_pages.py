"""Malformed reports, pictures with text, tables and studies, for `fuzz_readers.py`."""

from __future__ import annotations

import base64
import io
import random
import re
import zlib
from collections.abc import Callable

import fuzz_studies
import harm
import pyarrow as pa
import pyarrow.parquet as pq

URI = b"data:application/yaml;base64,"
MIB = 2**20
KEY = b"workbench_study"


def study(rng: random.Random) -> bytes:
    """A malformed or odd study file."""
    number = rng.randrange(2_000)
    return fuzz_studies.maker_of(number)(random.Random(f"study/{number}"))


def report(sound: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A kind of report, and one of that kind."""
    found = re.search(URI + rb"[A-Za-z0-9+/=]*", sound)
    assert found is not None
    start, end = found.span()
    head, link, tail = sound[:start], sound[start:end], sound[end:]
    makers: dict[str, Callable[[], bytes]] = {
        "unharmed": lambda: rng.choice((
            sound, sound.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + sound, head + link + b'">',
            b"<p>" * 1_000 + sound, b"<!-- - -->" + sound, sound.replace(b"<a class", b"<A  class"),
            head + URI + link[len(URI) :].replace(b"/", b"&#x2f;") + tail,
            sound.replace(b"</head>", f"<style>{link.decode()}</style></head>".encode()),
        )),
        "study": lambda: head + URI + base64.b64encode(study(rng)) + tail,
        "truncated": lambda: sound[: rng.randrange(end)],
        "flipped": lambda: head[-2_000:] + harm.flipped(link, rng) + tail[:2_000],
        "base64": lambda: head + URI + rng.choice((
            b"", b"=", b"A", b"AAA", b"A===", b"\xff\xfe", "é".encode(), b"QQ==QQ==", link[29:-5],
            link[29:80] + b" " + link[80:], link[29:80] + b"%2B" + link[80:], b"_-_-", b"/" * 400,
            base64.b64encode(rng.randbytes(3_000)), b"A" * 20_000_000, base64.b64encode(b"\0" * 99),
        )) + tail,
        "markup": lambda: rng.choice((
            head[:-6] + b"src=\"" + link + tail, sound.replace(b"<a ", b"<b "),
            sound.replace(URI, b"data:text/yaml;base64,"), sound.replace(b"href=", b"href = "),
            sound.replace(b'"', b"'"), sound.replace(b'"', b""), sound.replace(b"<", b"&lt;"),
            sound.replace(b"<a ", b"<!-- <a "), b"<script>" + sound, b"<!-- " + sound,
            b"<![CDATA[" + sound, b"<?" + sound, sound[::-1], b"<plaintext>" + sound,
        )),
        "nonsense": lambda: harm.nonsense(sound[:3_000], rng),
        "decompression_bomb": lambda: rng.choice((
            lambda: b"<a " * (4 * MIB), lambda: b"<" * (4 * MIB), lambda: b"<!--" * (5 * MIB),
            lambda: b"<a href=" * (2 * MIB), lambda: b"<a " + b"b " * (8 * MIB) + b">",
            lambda: b'<a b="' + b"x" * (20 * MIB), lambda: b"&#" * (10 * MIB),
            lambda: b"<a href='" * (2 * MIB), lambda: b"<p>" * (4 * MIB), lambda: b"</" * MIB,
            lambda: (b'<a href="' + URI) * MIB, lambda: b"<a" + b" " * (8 * MIB),
            lambda: URI * (3 * MIB), lambda: b'<a href="' + URI + b"A" * (20 * MIB) + b'">',
            lambda: b"<a " + b'href="' * (3 * MIB) + URI, lambda: b"<![" * (5 * MIB),
            lambda: (b'<a href="' + URI + b'!">') * MIB, lambda: b"\xc3\xa9" * (10 * MIB),
            lambda: b"<script>" * MIB, lambda: b"<a/" * (5 * MIB), lambda: b"\0" * (130 * MIB),
            lambda: b'<a b="' + b'"' * (5 * MIB) + URI + b'">', lambda: b"<?" * (2 * MIB),
        ))(),
    }  # fmt: skip
    kinds = [*makers, "study", "study", "truncated"]
    name = rng.choice(kinds) if rng.random() < 0.97 else "decompression_bomb"
    if name == "decompression_bomb" and rng.random() < 0.8:
        name = "flipped"
    return name, makers[name]()


def split(png: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, body) of each chunk."""
    found, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def text_chunk(text: bytes, rng: random.Random, key: bytes = KEY) -> bytes:
    """A text in any of the ways in which a PNG can carry it."""
    return rng.choice((
        lambda: harm.chunk(b"tEXt", key + b"\0" + text),
        lambda: harm.chunk(b"zTXt", key + b"\0\0" + zlib.compress(text)),
        lambda: harm.chunk(b"iTXt", key + b"\0\0\0\0\0" + text),
        lambda: harm.chunk(b"iTXt", key + b"\0\1\0en\0key\0" + zlib.compress(text)),
    ))()  # fmt: skip


def picture(sound: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A kind of picture with text, and one of that kind."""
    parts = split(sound)
    (text,) = [body for kind, body in parts if body.startswith(KEY + b"\0")]
    words = text.partition(b"\0")[2]
    first = harm.chunk(*parts[0])
    rest = b"".join(harm.chunk(*part) for part in parts[1:] if part[1] is not text)
    body = rest[:-12]

    def around(*chunks: bytes) -> bytes:
        """The picture with chunks before or after its pixels."""
        made = b"".join(chunks)
        middle = made + body if rng.random() < 0.5 else body + made
        return sound[:8] + first + middle + harm.chunk(b"IEND", b"")

    packed = zlib.compress(words)
    makers: dict[str, Callable[[], bytes]] = {
        "unharmed": lambda: around(text_chunk(words, rng)),
        "study": lambda: around(text_chunk(study(rng), rng)),
        "truncated": lambda: sound[: rng.randrange(len(sound))],
        "flipped": lambda: harm.flipped(sound, rng),
        "flipped text": lambda: around(text_chunk(harm.flipped(words, rng), rng)),
        "bomb": lambda: around(rng.choice((
            lambda: text_chunk(b"#" * (8 * MIB), rng),
            lambda: harm.chunk(b"zTXt", KEY + b"\0\0" + zlib.compress(b"a" * (60 * MIB))),
            lambda: text_chunk(b"a: " + b"[" * MIB, rng),
            lambda: text_chunk(words, rng) * 15_000,
            lambda: harm.chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000)) * 100,
            lambda: text_chunk(words + b"\n#" + b"x" * (MIB - 1_000), rng),
        ))()),
        "chunk": lambda: around(rng.choice((
            harm.chunk(b"tEXt", KEY), harm.chunk(b"tEXt", b""), harm.chunk(b"zTXt", KEY + b"\0"),
            harm.chunk(b"zTXt", KEY + b"\0\7" + packed), harm.chunk(b"iTXt", KEY + b"\0\1\7\0\0x"),
            harm.chunk(b"zTXt", KEY + b"\0\0" + packed[:-9]), harm.chunk(b"iTXt", KEY + b"\0\1"),
            harm.chunk(b"zTXt", KEY + b"\0\0" + harm.flipped(packed, rng)),
            harm.chunk(b"iTXt", KEY + b"\0\0\0\0\0\xff\xfe" + words), b"\0\0\0\0tEXt",
            harm.chunk(b"tEXt", KEY + b"\0\xff\xfe" + words), harm.chunk(b"tEXt", b"\0" + words),
            harm.chunk(b"tEXt", b"x" * 200 + b"\0" + words), harm.chunk(b"iTXt", b"\0" * 9),
            text_chunk(words, rng)[:-1] + b"\0", b"\xff\xff\xff\xfftEXt" + KEY,
            b"\x7f\xff\xff\xfftEXt" + KEY + b"\0" + words, text_chunk(words, rng)[4:],
            text_chunk(words, rng, b"Workbench_Study"), text_chunk(words, rng, KEY + b" "),
            text_chunk(b"a", rng) + text_chunk(words, rng), text_chunk(words, rng) * 2,
            harm.chunk(b"acTL", b"\0\0\0\2\0\0\0\0") + text_chunk(words, rng),
            harm.chunk(b"acTL", b"\0\0\0\1\0\0\0\0") + harm.chunk(b"fdAT", b"\0\0\0\1x"),
            harm.chunk(b"acTL", b"\0\0\xff\xff\0\0\0\0") + harm.chunk(b"fcTL", b"\0" * 26),
            harm.chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff") + text_chunk(words, rng),
        ))),
    }  # fmt: skip
    name = rng.choice([*makers, "study", "chunk"])
    return name, makers[name]()


def table(sound: bytes, rng: random.Random) -> bytes:
    """A file that is a table, but not one of measurements as they are written."""
    old = pq.read_table(io.BytesIO(sound))
    name = rng.choice(old.column_names)
    place = old.column_names.index(name)
    values: list[object] = [
        None,
        "x",
        1,
        -1,
        2**62,
        float("nan"),
        float("inf"),
        1e308,
        "\0",
        "[",
        "{",
    ]
    other = rng.choice(values)
    rows = len(old)

    def column(array: pa.Array) -> pa.Table:
        return old.set_column(place, name, array)

    def bomb(length: int, count: int) -> pa.Table:
        indices = pa.array([0]).take(pa.array([0] * count, pa.int32())).cast(pa.int32())
        array = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * length]))
        return pa.table(dict.fromkeys(old.column_names, array))

    made = rng.choice((
        lambda: column(pa.array([other] * rows)),
        lambda: column(pa.array([None] * rows, old.schema.field(name).type)),
        lambda: column(pa.array([[1]] * rows)),
        lambda: column(pa.array([b"\xff\xfe"] * rows)),
        lambda: old.drop_columns([name]),
        lambda: old.append_column("more", pa.array(range(rows))),
        lambda: old.select(old.column_names[::-1]),
        lambda: old.slice(0, 0),
        lambda: pa.concat_tables([old] * 2),
        lambda: old.take(pa.array(rng.choices(range(rows), k=rows))),
        lambda: pa.table({name: [1]}),
        lambda: pa.table({key: pa.nulls(500_000) for key in old.column_names}),
        lambda: old.take(pa.array([0] * 300_000)),
        lambda: bomb(100_000, 100_000),
        lambda: old.replace_schema_metadata({b"pandas": b"{"}),
        lambda: old.rename_columns([name] * len(old.column_names)),
        lambda: column(pa.array([2**70] * rows, pa.decimal128(38))),
    ))()  # fmt: skip
    buffer = io.BytesIO()
    plain = rng.random() < 0.5  # without the types that Arrow adds, as the workbench writes it
    pq.write_table(made, buffer, compression="zstd", store_schema=not plain)
    return buffer.getvalue()
