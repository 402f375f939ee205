"""Protects the door through which foreign files come in: every kind of picture arrives as the same
RGB, and every broken, huge or foreign file ends in one clear sentence."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from workbench.images import (
    ImageError,
    as_rgb,
    decode_image,
    encode_png,
    fit_image,
    fit_image_to,
    read_image,
    read_png,
    resize_map,
    sha256_image,
)

RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(PHOTO[:4, :6]).resize((96, 64), Image.Resampling.BICUBIC))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# --- kinds of pictures


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_lossless_kinds_arrive_exactly(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "picture.bin"  # the name says nothing about the contents
    path.write_bytes(saved(Image.fromarray(PHOTO), kind, **options))
    assert np.array_equal(read_image(path), PHOTO)
    assert np.array_equal(read_image(str(path)), PHOTO)


def test_lossless_webp_arrives_exactly() -> None:
    assert np.array_equal(decode_image(saved(Image.fromarray(PHOTO), "WEBP", lossless=True)), PHOTO)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds_arrive_nearly(kind: str) -> None:
    got = decode_image(saved(Image.fromarray(SMOOTH), kind, quality=95))
    assert np.abs(got.astype(int) - SMOOTH).mean() < 3


def test_result_is_a_plain_writable_array() -> None:
    got = decode_image(encode_png(PHOTO))
    assert got.dtype == np.uint8
    assert got.flags.writeable
    assert got.flags.c_contiguous


def test_grey_and_bilevel_become_rgb() -> None:
    grey = PHOTO[:, :, 0]
    assert np.array_equal(
        decode_image(saved(Image.fromarray(grey), "PNG")), np.repeat(grey[:, :, None], 3, 2)
    )
    bits = Image.fromarray(grey > 127)
    assert set(np.unique(decode_image(saved(bits, "PNG")))) == {0, 255}


def test_alpha_is_laid_over_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (255, 128, 0)
    got = decode_image(saved(Image.fromarray(rgba), "PNG"))
    half = 200 * 128 / 255 + 255 * 127 / 255
    assert got[0, 0].tolist() == [200, 0, 0]
    assert got[0, 1].tolist() == [round(half), 127, 127]
    assert got[0, 2].tolist() == [255, 255, 255]


def test_grey_with_alpha() -> None:
    la = np.array([[[0, 0], [0, 255]]], np.uint8)
    got = decode_image(saved(Image.fromarray(la, mode="LA"), "PNG"))
    assert got[0].tolist() == [[255] * 3, [0] * 3]


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert decode_image(saved(image, "PNG"))[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    see_through = decode_image(saved(image, "PNG", transparency=1))
    assert see_through[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_transparent_colour_of_an_rgb_png() -> None:
    image = Image.fromarray(np.array([[[9, 9, 9], [8, 8, 8]]], np.uint8))
    got = decode_image(saved(image, "PNG", transparency=(9, 9, 9)))
    assert got[0].tolist() == [[255] * 3, [8] * 3]


def png16(values: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG written by hand, because Pillow writes only grey ones."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 30000, 65535]], np.uint16)
    wanted = np.round(values / 257)
    assert np.array_equal(decode_image(png16(values, 0))[:, :, 0], wanted)
    for kind in ("PNG", "TIFF"):
        got = decode_image(saved(Image.fromarray(values), kind))
        assert np.array_equal(got[:, :, 1], wanted)


def test_sixteen_bit_big_endian_tiff() -> None:
    values = np.array([[0, 30000, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes())
    got = decode_image(saved(image, "TIFF"))
    assert got[0, :, 0].tolist() == [0, 117, 255]


def test_sixteen_bit_colour() -> None:
    values = np.array([[[0, 30000, 65535], [65535, 0, 257]]], np.uint16)
    got = decode_image(png16(values, 2)).astype(int)
    assert np.abs(got - values / 257).max() <= 1


def test_float_and_wide_integers() -> None:
    unit = np.array([[0, 0.5, 1]], np.float32)
    assert decode_image(saved(Image.fromarray(unit), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    for bad in (unit * 300, unit - 1, np.full((1, 3), np.nan, np.float32)):
        with pytest.raises(ImageError, match="between 0 and 1"):
            decode_image(saved(Image.fromarray(bad), "TIFF"))
    wide = Image.fromarray(np.array([[0, 70000]], np.int32))
    with pytest.raises(ImageError, match="int32"):
        decode_image(saved(wide, "TIFF"))


def test_cmyk_jpeg() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    got = decode_image(saved(red, "JPEG", quality=95))
    assert np.abs(got.astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_rotation(orientation: int, kind: str) -> None:
    turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(PHOTO), kind, exif=exif, **options)
    assert np.array_equal(decode_image(data), turns[orientation](PHOTO))


def test_exif_rotation_of_a_telephone_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    got = decode_image(saved(Image.fromarray(SMOOTH), "JPEG", exif=exif, quality=95))
    assert np.abs(got.astype(int) - np.rot90(SMOOTH, -1)).mean() < 3


def test_broken_exif_does_not_spoil_a_good_picture() -> None:
    data = saved(Image.fromarray(SMOOTH), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    assert decode_image(data).shape == SMOOTH.shape


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(decode_image(data), np.full((4, 5, 3), (255, 0, 0)))


# --- files which must not come in


@pytest.mark.parametrize("kind", ["GIF", "ICO", "PPM", "EPS", "TGA", "PCX"])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ImageError, match="of a kind that can be read: PNG, JPEG"):
        decode_image(saved(Image.fromarray(PHOTO), kind), name="it")


@pytest.mark.parametrize("data", [b"\0", b"hello", b"<svg/>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(data)


def test_missing_empty_and_odd_paths(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "no.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png is empty"):
        read_image(tmp_path / "empty.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_files_cut_short_are_refused(kind: str, share: float) -> None:
    options: dict[str, Any] = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)), kind, **options)
    with pytest.raises(ImageError, match="scan"):
        decode_image(data[: int(len(data) * share)], name="scan")


def test_damaged_png_is_refused() -> None:
    data = bytearray(encode_png(PHOTO))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="broken"):
        decode_image(bytes(data))


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(40 * 2**20)
    with pytest.raises(ImageError, match=r"40\.0 MiB, more than the 32\.0 MiB"):
        read_image(path)
    with pytest.raises(ImageError, match="more than"):
        decode_image(encode_png(PHOTO), max_bytes=100)
    assert decode_image(encode_png(PHOTO), max_bytes=len(encode_png(PHOTO))).shape == PHOTO.shape


def bomb(width: int, height: int) -> bytes:
    """A small PNG which claims to be huge; its pixel data are missing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + struct.pack(">I", 10)
        + b"IDAT"
        + bytes(14)
    )


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="allowed"):
        decode_image(bomb(*size))


def test_the_pixel_cap_is_exact() -> None:
    data = encode_png(PHOTO)
    assert decode_image(data, max_pixels=24 * 36).shape == PHOTO.shape
    with pytest.raises(ImageError, match="36 × 24 pixels"):
        decode_image(data, max_pixels=24 * 36 - 1)


def test_webp_has_a_cap_of_its_own_and_the_message_says_so() -> None:
    image = Image.new("RGB", (6000, 4001))
    with pytest.raises(ImageError, match=r"6000 × 4001 pixels, .* allowed in a WEBP file"):
        decode_image(saved(image, "WEBP", quality=0, method=0))
    assert decode_image(saved(image, "PNG", compress_level=1)).shape == (4001, 6000, 3)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF"]), st.data())
def test_damaged_files_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    good = bytearray(saved(Image.fromarray(PHOTO), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = decode_image(bytes(good), max_pixels=1_000_000)
    except ImageError:
        return
    assert got.dtype == np.uint8
    assert got.ndim == 3
    assert got.shape[2] == 3


# --- arrays


def test_as_rgb_takes_all_kinds_of_arrays() -> None:
    grey = np.array([[0, 51, 255]], np.uint8)
    wanted = np.repeat(grey[:, :, None], 3, 2)
    for same in (grey, grey[:, :, None], wanted, grey / np.float32(255), grey.astype("u2") * 257):
        assert np.array_equal(as_rgb(same), wanted)
    assert as_rgb(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    half = np.array([[[0.0, 0.5]]])
    assert as_rgb(half)[0, 0].tolist() == [127] * 3


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(3, np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((2, 2), np.int64),
        np.full((2, 2), 2.0),
        np.full((2, 2), np.nan),
    ],
)
def test_as_rgb_refuses_the_rest(bad: np.ndarray) -> None:
    with pytest.raises(ImageError):
        as_rgb(bad)


# --- sizes


def test_fitting_a_picture_of_the_right_size_changes_nothing() -> None:
    square = PHOTO[:, :24]
    assert np.array_equal(fit_image(square, 24), square)


def test_fitting_cuts_the_middle() -> None:
    assert np.array_equal(fit_image(PHOTO, 24), PHOTO[:, 6:30])
    assert np.array_equal(fit_image(PHOTO.swapaxes(0, 1), 24), PHOTO[:, 6:30].swapaxes(0, 1))


def test_shrinking_averages_areas() -> None:
    square = RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    blocks = square.reshape(8, 3, 8, 3, 3).mean(axis=(1, 3))
    assert np.abs(fit_image(square, 8) - blocks).max() <= 1


def test_enlarging_keeps_a_plain_colour_and_the_mean() -> None:
    plain = np.full((5, 5, 3), (10, 200, 30), np.uint8)
    assert np.array_equal(fit_image(plain, 17), np.full((17, 17, 3), (10, 200, 30)))
    assert abs(fit_image(SMOOTH, 128).mean() - SMOOTH[:, 16:80].mean()) < 2


@example(7, 7, 25, 25)  # 7 / 25 × 25 is a little more than 7
@example(21, 40, 38, 3)
@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_fitting_works_for_every_size(h: int, w: int, to_h: int, to_w: int) -> None:
    assert fit_image_to(np.zeros((h, w, 3), np.uint8), (to_h, to_w)).shape == (to_h, to_w, 3)


def test_resizing_a_float_map_averages_and_interpolates() -> None:
    data = RNG.random((12, 20))
    small = resize_map(data, (4, 5))
    assert small.dtype == data.dtype
    assert np.allclose(small, data.reshape(4, 3, 5, 4).mean(axis=(1, 3)), atol=1e-6)
    ramp = np.tile(np.arange(6, dtype=np.float32), (3, 1))
    large = resize_map(ramp, (3, 12))
    assert np.allclose(large[0, 1:-1], (np.arange(12)[1:-1] + 0.5) / 2 - 0.5, atol=1e-5)
    planes = np.stack([data, 1 - data], axis=2)
    assert np.allclose(resize_map(planes, (4, 5))[:, :, 1], 1 - small, atol=1e-6)


def test_resizing_labels_invents_none() -> None:
    labels = RNG.choice(np.array([0, 7, 200], np.uint8), (30, 30))
    for shape in ((11, 47), (60, 60)):
        got = resize_map(labels, shape)
        assert got.dtype == np.uint8
        assert set(np.unique(got)) <= {0, 7, 200}
    assert np.array_equal(resize_map(labels, (60, 60))[::2, ::2], labels)
    floats = resize_map(labels.astype(np.float32), (47, 11), labels=True)
    assert set(np.unique(floats)) <= {0, 7, 200}


@settings(deadline=None)
@given(st.integers(8, 50), st.integers(8, 50))
def test_thin_lines_survive_shrinking(height: int, width: int) -> None:
    edges = np.zeros((64, 64), bool)
    edges[31] = edges[:, 40] = True
    small = resize_map(edges, (height, width))
    assert small.any(axis=0).all()
    assert small.any(axis=1).all()
    assert small.sum() <= 2 * (height + width)


def test_resizing_edges_changes_nothing_at_equal_size_and_keeps_emptiness() -> None:
    edges = RNG.random((9, 9)) > 0.5
    assert np.array_equal(resize_map(edges, (9, 9)), edges)
    assert not resize_map(np.zeros((9, 9), bool), (4, 20)).any()
    assert resize_map(np.ones((9, 9), bool), (4, 20)).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, -1)])
def test_sizes_without_pixels_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="at least 1"):
        fit_image_to(PHOTO, shape)
    with pytest.raises(ImageError, match="at least 1"):
        resize_map(PHOTO, shape)


# --- writing


def test_png_text_survives_any_writing(tmp_path: Path) -> None:
    text = {"workbench": '{"prompt": "雪, naïve ☃"}', "parameters": "a girl\nSteps: 20", "e": ""}
    path = tmp_path / "sample.png"
    path.write_bytes(encode_png(PHOTO, text))
    assert read_png(path)[1] == text
    assert np.array_equal(read_image(path), PHOTO)


def test_png_text_of_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(encode_png(PHOTO))
    assert read_png(path)[1] == {}
    path.write_bytes(saved(Image.fromarray(PHOTO), "JPEG"))
    with pytest.raises(ImageError, match="not a PNG"):
        read_png(path)[1]


@pytest.mark.parametrize("key", ["", "k" * 80])
def test_png_text_keys_have_a_length(key: str) -> None:
    with pytest.raises(ImageError, match="1 to 79"):
        encode_png(PHOTO, {key: "x"})


def test_the_same_picture_gives_the_same_png() -> None:
    assert encode_png(PHOTO, {"a": "b"}) == encode_png(PHOTO.copy(), {"a": "b"})


def test_hash_tells_pixels_and_shapes_apart() -> None:
    assert sha256_image(PHOTO) == sha256_image(PHOTO.copy())
    assert sha256_image(PHOTO) == sha256_image(np.asfortranarray(PHOTO))
    changed = PHOTO.copy()
    changed[0, 0, 0] ^= 1
    others = [changed, PHOTO.reshape(36, 24, 3), PHOTO[:, :, 0], PHOTO.view(np.int8)]
    assert len({sha256_image(other) for other in [PHOTO, *others]}) == 5
    assert len(sha256_image(PHOTO)) == 64
