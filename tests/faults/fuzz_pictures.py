"""Malformed and unusual pictures, made from a seed, each read under a clock and a memory limit.

python fuzz_pictures.py SEED COUNT: reads COUNT pictures and prints a JSON summary. Case N of a seed
is always the same picture: `python fuzz_pictures.py SEED COUNT N` reads that one alone.
"""

from __future__ import annotations

import io
import json
import random
import signal
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from peak import peak_bytes
from PIL import Image

from workbench.images import MAX_PIXELS, ImageError, decode_image

Expected = np.ndarray | tuple[int, int] | None
"""The exact picture, its height and width, or None: either a picture or an ImageError is right."""
Case = tuple[bytes, Expected]
REFUSED = (-1, -1)
CPU_SECONDS = 2.0
WALL_SECONDS = 60
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")


def picture(rng: random.Random, largest: int = 40) -> np.ndarray:
    noise = np.random.default_rng(rng.getrandbits(32))
    return noise.integers(0, 256, (rng.randint(1, largest), rng.randint(1, largest), 3), np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def good(rng: random.Random) -> bytes:
    """A sound file of any kind."""
    kind = rng.choice(KINDS)
    mode = rng.choice(("RGB", "L", "RGBA", "P", "1", "LA", "CMYK"))
    allowed = {"JPEG": ("RGB", "L", "CMYK"), "WEBP": ("RGB", "RGBA"), "BMP": ("RGB", "L", "P", "1")}
    mode = mode if mode in allowed.get(kind, ("RGB", "L", "RGBA", "P", "1", "LA")) else "RGB"
    options: dict[str, Any] = {}
    if kind == "TIFF":
        options["compression"] = rng.choice(
            (None, "tiff_lzw", "tiff_adobe_deflate", "packbits") + (("group4",) * (mode == "1"))
        )
    if kind == "JPEG":
        options["progressive"] = rng.random() < 0.5
    if kind == "PNG" and rng.random() < 0.3:
        options["exif"] = rotation(rng.randint(0, 9))
    return saved(Image.fromarray(picture(rng)).convert(mode), kind, **options)


def rotation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def truncated(rng: random.Random) -> Case:
    data = good(rng)
    return data[: rng.randrange(len(data))], None


def flipped(rng: random.Random) -> Case:
    data = bytearray(good(rng))
    for _ in range(rng.choice((1, 1, 3, 10, 40))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data), None


def wild_header(rng: random.Random) -> Case:
    data = bytearray(good(rng))
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(4, min(90, len(data) - 4)) if len(data) > 12 else 0
        value = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)))
        data[place : place + 4] = struct.pack(rng.choice("<>") + "I", value)
    return bytes(data), None


def spliced(rng: random.Random) -> Case:
    one, other = good(rng), good(rng)
    cut, paste = rng.randrange(len(one)), rng.randrange(len(other))
    return one[:cut] + other[paste:], None


def wrong_magic(rng: random.Random) -> Case:
    how = rng.randrange(4)
    if how == 0:
        return rng.randbytes(rng.randint(1, 16)) + good(rng)[16:], None
    if how == 1:
        other = rng.choice(("GIF", "PPM", "ICO", "PCX", "TGA", "SGI", "IM", "PDF", "EPS"))
        return saved(Image.fromarray(picture(rng)), other), REFUSED
    if how == 2:
        start = (b"GIF89a", b"PK\x03\x04", b"%PDF-1.7", b"<svg ", b"\x7fELF", b"\0\0\0\x18ftypavif")
        return rng.choice(start) + rng.randbytes(200), REFUSED
    return rng.randbytes(rng.randint(0, 2000)), None


def bomb(rng: random.Random) -> Case:
    """A small file which claims more pixels than are allowed."""
    width = rng.choice((40_001, 65_535, 2**20, 2**31 - 1))
    height = rng.randint(MAX_PIXELS // 40_001 + 1, 65_535)
    how = rng.randrange(4)
    if how == 0:
        return png(width, height, chunk(b"IDAT", zlib.compress(bytes(10**5)))), REFUSED
    if how == 1:
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head, REFUSED
    if how == 2:
        data = bytearray(saved(Image.fromarray(picture(rng)), "JPEG"))
        place = data.index(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", 65_500, 65_500)
        return bytes(data), REFUSED
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, 1), (278, 4, height), (279, 4, 100)]  # fmt: skip
    body = b"".join(struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + body + bytes(104), REFUSED


def zero_size(rng: random.Random) -> Case:
    width, height = rng.choice(((0, 0), (0, 5), (5, 0)))
    how = rng.randrange(3)
    if how == 0:
        return png(width, height, chunk(b"IDAT", zlib.compress(b""))), REFUSED
    if how == 1:
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head, REFUSED
    data = bytearray(saved(Image.fromarray(picture(rng)), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data), REFUSED


def sixteen_bit(rng: random.Random) -> Case:
    shape = picture(rng).shape[:2]
    values = np.random.default_rng(rng.getrandbits(32)).integers(0, 65536, shape, np.uint16)
    wanted = np.repeat(np.round(values / 257).astype(np.uint8)[:, :, None], 3, axis=2)
    return saved(Image.fromarray(values), rng.choice(("PNG", "TIFF"))), wanted


def cmyk(rng: random.Random) -> Case:
    ink = Image.fromarray(picture(rng)).convert("CMYK")
    if rng.random() < 0.5:
        return saved(ink, "TIFF"), np.asarray(ink.convert("RGB"))
    return saved(ink, "JPEG"), (ink.height, ink.width)


def palette(rng: random.Random) -> Case:
    image = Image.new("P", (rng.randint(1, 30), rng.randint(1, 30)))
    colours = np.frombuffer(rng.randbytes(768), np.uint8).reshape(256, 3)
    image.putpalette(colours.tobytes())
    indices = np.frombuffer(rng.randbytes(image.width * image.height), np.uint8)
    indices = indices.reshape(image.height, image.width)
    image.putdata(indices.ravel().tolist())
    alpha = np.frombuffer(rng.randbytes(256), np.uint8)
    mixed = colours * (alpha[:, None] / 255) + 255 - alpha[:, None].astype(float)
    wanted = np.rint(mixed).astype(np.uint8)[indices]
    return saved(image, "PNG", transparency=alpha.tobytes()), wanted


def animated(rng: random.Random) -> Case:
    kind = rng.choice(("PNG", "WEBP", "TIFF"))
    first = picture(rng)
    others = [Image.fromarray(255 - first) for _ in range(rng.randint(1, 5))]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(first), kind, save_all=True, append_images=others, **options)
    return data, first


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


def rotated(rng: random.Random) -> Case:
    orientation = rng.choice((*range(10), 255, 65535))
    first = picture(rng)
    data = saved(Image.fromarray(first), rng.choice(("PNG", "TIFF")), exif=rotation(orientation))
    return data, TURNS.get(orientation, lambda a: a)(first)


def long_and_thin(rng: random.Random) -> Case:
    shape = rng.choice(((1, 60_000), (60_000, 1), (3, 16_000), (9_000, 40)))
    image = np.full((*shape, 3), rng.randrange(256), np.uint8)
    return saved(Image.fromarray(image), rng.choice(("PNG", "BMP", "TIFF"))), image


def odd_chunks(rng: random.Random) -> Case:
    """A sound PNG with further chunks that are wrong, large or compressed out of proportion."""
    image = picture(rng, 20)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image))
    blown = zlib.compress(bytes(rng.choice((10**4, 10**7))))
    extra = (
        chunk(b"zTXt", b"a\0\0" + blown),
        chunk(b"iTXt", b"a\0\1\0\0\0" + blown),
        chunk(b"iCCP", b"a\0\0" + blown),
        chunk(b"tEXt", b"k" * rng.randint(0, 300) + b"\0" + rng.randbytes(rng.randint(0, 2000))),
        chunk(b"eXIf", rng.randbytes(rng.randint(0, 200))),
        chunk(b"eXIf", b"MM\0*" + struct.pack(">LHHHLL", 8, 1, 0x0112, 5, 2**28, 30)),
        chunk(b"tRNS", rng.randbytes(rng.randint(0, 9))),
        chunk(b"gAMA", rng.randbytes(rng.randint(0, 5))),
        chunk(b"PLTE", rng.randbytes(rng.randint(0, 800))),
        chunk(b"acTL", struct.pack(">II", rng.getrandbits(32), rng.getrandbits(32))),
        chunk(b"fcTL", rng.randbytes(26)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", 10**6, 10**6, 8, 2, 0, 0, 0)),
        chunk(rng.randbytes(4), rng.randbytes(rng.randint(0, 100))),
    )
    parts = [*rng.choices(extra, k=rng.randint(1, 4)), chunk(b"IDAT", pixels)]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    return png(image.shape[1], image.shape[0], *parts), None


def decompression_bomb(rng: random.Random) -> Case:
    """Files whose reading would take minutes, because of what they consist of."""
    sound = saved(Image.fromarray(picture(rng)), "JPEG", progressive=True)
    how = rng.randrange(7)
    if how == 0:
        return png(2, 2, *[chunk(b"abCd", b"")] * 400_000), REFUSED
    if how == 1:
        return sound[:2] + b"\xff\xfe\0\2" * 1_000_000 + sound[2:], REFUSED
    if how == 2:
        return sound[:2] + rng.choice((b"\0", b"\xff")) * 8_000_000 + sound[2:], REFUSED
    if how == 3:
        data = bytearray(sound)
        place = data.index(b"\xff\xc2")
        data[place + 5 : place + 9] = struct.pack(">HH", 6_000, 6_000)
        scan = data.rindex(b"\xff\xda")
        return bytes(data[:scan]) + bytes(data[scan:-2]) * 5_000 + b"\xff\xd9", REFUSED
    if how == 4:
        head = struct.pack("<IiiHHIIiiII", 40, 4000, 4000, 1, 8, 1, 0, 0, 0, 256, 0)
        runs = b"\1\7" * 4_000_000
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + head + bytes(1024) + runs, REFUSED
    tags = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 4_000_000, 300), (277, 3, 1, 1), (279, 4, 1, 81)]  # fmt: skip
    if how == 5:
        tags.insert(6, (274, 5, 2_000_000, 300))
        tags[5] = (273, 4, 1, 300)
    body = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    if how == 6 and rng.random() < 0.5:
        entry = struct.pack("<HHQQ", 700, 3, 1, 1)
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 10**6) + entry * 10**6, REFUSED
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + body + bytes(16_000_300), REFUSED


MAKERS = (truncated, flipped, wild_header, spliced, wrong_magic, bomb, zero_size, sixteen_bit, cmyk,
          palette, animated, rotated, long_and_thin, odd_chunks)  # fmt: skip


def maker_of(number: int) -> Callable[[random.Random], Case]:
    return decompression_bomb if number % 100 == 99 else MAKERS[number % len(MAKERS)]


def wrong(data: bytes, expected: Expected) -> tuple[str, bool]:
    """("" or what is wrong with how a picture was read, whether it was refused)."""
    begun = time.process_time()
    refused = False
    try:
        got = decode_image(data, name="it")
    except ImageError as error:
        refused = True
        cause = error.__cause__
        message = str(error)
        if isinstance(cause, MemoryError) or "\n" in message or not message.startswith("it "):
            return f"refused with {message!r} because of {cause!r}", refused
        if expected is not None and expected is not REFUSED:
            return f"refused, though it is sound: {message}", refused
    except Exception:
        return traceback.format_exc(), refused
    seconds = time.process_time() - begun
    if seconds > CPU_SECONDS:
        return f"took {seconds:.1f} s", refused
    if refused:
        return "", refused
    if got.dtype != np.uint8 or got.ndim != 3 or got.shape[2] != 3 or got.size == 0:
        return f"gave {got.dtype} {got.shape}", refused
    if expected is REFUSED:
        return f"gave {got.shape}, should have been refused", refused
    if isinstance(expected, tuple) and got.shape[:2] != expected:
        return f"gave {got.shape}, not {expected}", refused
    if isinstance(expected, np.ndarray) and not np.array_equal(got, expected):
        return "gave another picture", refused
    return "", refused


def main(seed: int, count: int, only: int | None = None) -> None:
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    faults = []
    for number in range(count) if only is None else [only]:
        maker = maker_of(number)
        data, expected = maker(random.Random(f"{seed}/{number}"))
        signal.alarm(WALL_SECONDS)  # kills a hang, which the parent sees
        fault, refused = wrong(data, expected)
        if fault.startswith("took"):  # other work on the machine can take as long: once more
            fault, refused = wrong(data, expected)
        signal.alarm(0)
        counts[f"{maker.__name__} {'refused' if refused else 'read'}"] += 1
        if fault:
            faults.append(f"case {number} ({maker.__name__}): {fault}")
    peak = peak_bytes()
    print(json.dumps({"counts": counts, "faults": faults, "peak": peak}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
