"""Safe reading of pictures from files nobody vouches for, and writing them back as PNG.

Inside the workbench a picture is a uint8 H×W×3 RGB array. Everything else a file can hold (alpha,
palettes, 16 bits, CMYK, EXIF rotation, several frames) is brought to that form here and only here.
Colour profiles are not applied.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from workbench.formats import mebibytes
from workbench.imageguard import decompression_bomb, most_pixels

Picture = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""What the names of such files end with."""
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
_MAX_EXIF_BYTES = 256 * 2**10
_BAND_PIXELS = 1_000_000


class ImageError(ValueError):
    """A picture cannot be used. The message is one sentence for the user."""


def read_image(
    path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Read a PNG, JPEG, WebP, BMP or TIFF file as uint8 H×W×3 RGB.

    EXIF rotation is applied, transparency is laid over white, 16 bits are scaled to 8, and of an
    animation the first frame is taken. The file's kind is told from its contents, not its name.
    Raises ImageError for a file which is missing, larger than `max_bytes`, of more pixels than
    `most_pixels` (checked before anything is decoded), of another kind, cut short or broken.
    """
    path = Path(path)
    return decode_image(
        _read_bytes(path, max_bytes), name=str(path), max_bytes=max_bytes, max_pixels=max_pixels
    )


def decode_image(
    data: bytes, *, name: str = "image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Decode a picture held in memory, under the rules of `read_image`; `name` is for messages."""
    return _to_rgb(_upright(_decoded(data, name, max_bytes, max_pixels)), name)


def read_values(path: str | Path) -> NDArray[np.float32] | None:
    """The numbers of a picture of one channel with more than 8 bits (16-bit or float PNG, TIFF).

    H×W as they are in the file, upright; None for every other picture. Raises ImageError under the
    rules of `read_image`.
    """
    path = Path(path)
    image = _decoded(_read_bytes(path, MAX_BYTES), str(path), MAX_BYTES, MAX_PIXELS)
    if not image.mode.startswith(("I", "F")):
        return None
    return np.asarray(_upright(image)).astype(np.float32)


def _decoded(data: bytes, name: str, max_bytes: int, max_pixels: int) -> Image.Image:
    """A picture held in memory, its pixels read; ImageError under the rules of `read_image`."""
    if not data:
        raise ImageError(f"{name} is empty")
    _refuse_large(name, len(data), max_bytes)
    if reason := decompression_bomb(data):
        raise ImageError(f"{name} {reason}: save it anew with another program")
    # Decoders of broken files raise all sorts of things (struct.error, IndexError, zlib.error …),
    # and every one of them means the same to the user.
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not a picture of a kind that can be read: {', '.join(FORMATS)}"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than the {max_pixels} allowed pixels") from error
    except Exception as error:
        raise ImageError(f"{name} is cut short or broken: {error}") from error
    width, height = opened.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has {width} × {height} pixels: there is nothing in it")
    if width * height > (allowed := most_pixels(opened.format, max_pixels)):
        excess = f"{width} × {height} pixels, more than the {allowed}"
        raise ImageError(f"{name} has {excess} allowed in a {opened.format} file")
    try:
        opened.load()
    except Exception as error:
        raise ImageError(f"{name} is cut short or broken: {error}") from error
    return opened


def as_rgb(image: np.ndarray, name: str = "image") -> Picture:
    """Bring an array to a picture: uint8 H×W×3 RGB.

    Takes H×W or H×W×C with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels, of type bool,
    uint8, uint16, or float in [0, 1]. Alpha is laid over white. Raises ImageError for the rest.
    """
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.size == 0:
        raise ImageError(f"{name} must be H×W or H×W×1…4, not {tuple(np.shape(image))}")
    array = _to_uint8(array, name)
    if array.shape[2] in (2, 4):
        array = _over_white(array)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def fit_image(image: np.ndarray, size: int) -> Picture:
    """Cut the largest centred square out of a picture and resample it to `size` × `size`."""
    return fit_image_to(image, (size, size))


def fit_image_to(image: np.ndarray, shape_hw: tuple[int, int]) -> Picture:
    """Cut out the largest centred part with the wanted proportions and resample it to that size.

    Shrinking averages areas, enlarging is Lanczos. A picture which has the size comes back as is.
    """
    picture = as_rgb(image)
    height, width = shape_hw
    if height < 1 or width < 1:
        raise ImageError(f"a size must be at least 1 × 1 pixel, not {height} × {width}")
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(picture.shape[0] / height, picture.shape[1] / width)
    # The products may overshoot the picture by a rounding error, which Pillow refuses.
    cut_h = min(height * scale, float(picture.shape[0]))
    cut_w = min(width * scale, float(picture.shape[1]))
    top, left = (picture.shape[0] - cut_h) / 2, (picture.shape[1] - cut_w) / 2
    if cut_h.is_integer() and cut_w.is_integer():
        top, left = float(int(top)), float(int(left))
    box = (left, top, left + cut_w, top + cut_h)
    method = Image.Resampling.BOX if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((width, height), method, box=box)).copy()


def resize_map(data: np.ndarray, shape_hw: tuple[int, int], *, labels: bool = False) -> np.ndarray:
    """Resample a map (H×W or H×W×C) to another size so that it can be compared; the type is kept.

    Float maps: area mean where they shrink, linear where they grow. Maps of labels (`labels=True`,
    or any integer type): nearest. Bool maps: nearest, and every true pixel stays true somewhere,
    so that lines of one pixel do not break when they shrink.
    """
    height, width = shape_hw
    if height < 1 or width < 1:
        raise ImageError(f"a size must be at least 1 × 1 pixel, not {height} × {width}")
    if data.shape[:2] == (height, width):
        return data
    if labels or data.dtype == np.bool_ or np.issubdtype(data.dtype, np.integer):
        rows, columns = _nearest(data.shape[0], height), _nearest(data.shape[1], width)
        out: np.ndarray = data[rows][:, columns]
        if data.dtype == np.bool_:
            where = np.nonzero(data)
            down = ((2 * where[0] + 1) * height) // (2 * data.shape[0])
            across = ((2 * where[1] + 1) * width) // (2 * data.shape[1])
            out[(down, across, *where[2:])] = True
        return out
    if data.ndim == 3:
        planes = [resize_map(data[:, :, i], shape_hw) for i in range(data.shape[2])]
        return np.stack(planes, axis=2)
    plane = Image.fromarray(data.astype(np.float32))
    for size in ((width, plane.height), (width, height)):
        shrinks = size < plane.size
        plane = plane.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
    return np.array(plane).astype(data.dtype)


def encode_png(image: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """A picture as the bytes of a PNG file, with `text` as its text chunks (any Unicode)."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        if not 1 <= len(key.encode("latin-1", "replace")) <= 79:
            raise ImageError(f"a PNG text key must have 1 to 79 characters, not {len(key)}")
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(as_rgb(image)).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def read_png(path: str | Path) -> tuple[Picture, dict[str, str]]:
    """The picture and the text chunks of a PNG file; ImageError under the rules of `read_image`."""
    picture, text = _with_text(path)
    if text is None:
        raise ImageError(f"{path} is not a PNG file")
    return picture, text


def read_with_text(path: str | Path) -> tuple[Picture, dict[str, str]]:
    """The picture of any file that `read_image` takes, and the text chunks of a PNG, else none."""
    picture, text = _with_text(path)
    return picture, text or {}


def _with_text(path: str | Path) -> tuple[Picture, dict[str, str] | None]:
    """A picture and its text chunks, which are None for what is no PNG."""
    data = _read_bytes(Path(path), MAX_BYTES)
    picture = decode_image(data, name=str(path))
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if not isinstance(image, PngImagePlugin.PngImageFile):
            return picture, None
        with suppress(OSError, SyntaxError, ValueError, EOFError):  # frames of a broken animation
            return picture, {str(key): str(value) for key, value in image.text.items()}
    raise ImageError(f"{path} is cut short or broken after its picture")


def sha256_image(image: np.ndarray) -> str:
    """SHA-256 (hex) of an array's type, shape and values: the same picture, the same hash."""
    digest = hashlib.sha256(f"{image.dtype.str}{image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.exists():
            raise ImageError(f"{path} does not exist")
        if not path.is_file():
            raise ImageError(f"{path} is not a file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _refuse_large(str(path), size, max_bytes)
            return file.read(max_bytes + 1) if size else b""  # files of /proc have no size
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error


def _refuse_large(name: str, size: int, limit: int) -> None:
    if size > limit:
        has, allowed = mebibytes(size), mebibytes(limit)
        raise ImageError(f"{name} has {has}, more than the {allowed} that are allowed")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation; a picture whose EXIF data are broken or huge stays as it is."""
    with suppress(Exception):
        if len(image.info.get("exif") or b"") <= _MAX_EXIF_BYTES:
            ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_rgb(image: Image.Image, name: str) -> Picture:
    """Convert band by band: whole, a large picture would need several copies of itself at once."""
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        try:
            out[top:bottom] = _band_to_rgb(image.crop((0, top, width, bottom)), name)
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"{name} has pixels of an unread kind: {image.mode}") from error
    return out


def _band_to_rgb(band: Image.Image, name: str) -> Picture:
    if band.mode.startswith(("I", "F")):
        values = np.asarray(band)
        if band.mode == "I" and values.min() >= 0 and values.max() <= 65535:
            values = values.astype(np.uint16)
        return as_rgb(values.astype(values.dtype.newbyteorder("=")), name)
    if not band.has_transparency_data:
        return np.asarray(band.convert("RGB"))
    clear = band.convert("RGBA")
    white = Image.new("RGB", band.size, "white")
    white.paste(clear, mask=clear)
    return np.asarray(white)


def _to_uint8(array: np.ndarray, name: str) -> Picture:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(f"{name} holds floating-point pixels that are not between 0 and 1")
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    raise ImageError(f"{name} holds pixels of a kind that is not read: {array.dtype}")


def _over_white(array: Picture) -> Picture:
    alpha = array[:, :, -1:].astype(np.uint32)
    mixed = array[:, :, :-1] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    return ((2 * np.arange(new) + 1) * old) // (2 * new)
