"""The largest pictures that are allowed, in the forms that cost most to read.

python largest_pictures.py make NAME FILE | read FILE: two processes, so that the memory which
writing takes is not counted.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path

from fuzz_pictures import chunk, png, rotation
from peak import peak_bytes
from PIL import Image

from workbench.imageguard import MAX_WEBP_PIXELS
from workbench.images import MAX_PIXELS, read_image

SIDE = int(MAX_PIXELS**0.5)
WEBP_SIDE = int(MAX_WEBP_PIXELS**0.5)
NAMES = ("png-alpha", "png-palette-turned", "webp-alpha", "jpeg-progressive-cmyk", "tiff-16")


def make(name: str, file: Path) -> None:
    if name == "png-alpha":
        packer = zlib.compressobj(1)
        rows = (packer.compress(b"\0" + bytes([i % 256]) * 4 * SIDE) for i in range(SIDE))
        data = b"".join(rows) + packer.flush()
        file.write_bytes(png(SIDE, SIDE, chunk(b"IDAT", data), colour=6))
    elif name == "png-palette-turned":
        image = Image.new("P", (SIDE, SIDE))
        image.save(file, "PNG", transparency=b"\x80", exif=rotation(6), compress_level=1)
    elif name == "webp-alpha":
        image = Image.new("RGBA", (WEBP_SIDE, WEBP_SIDE), (9, 99, 199, 50))
        image.save(file, "WEBP", quality=0, method=0)
    elif name == "jpeg-progressive-cmyk":
        image = Image.radial_gradient("L").resize((SIDE, SIDE))
        Image.merge("CMYK", [image] * 4).save(file, "JPEG", progressive=True)
    else:
        Image.new("I;16", (SIDE, SIDE), 777).save(file, "TIFF", compression="tiff_lzw")


def read(file: Path) -> None:
    begun = time.process_time()
    shape = read_image(file).shape
    seconds = time.process_time() - begun
    peak = peak_bytes()
    print(json.dumps({"shape": shape, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], Path(sys.argv[3]))
    else:
        read(Path(sys.argv[2]))
