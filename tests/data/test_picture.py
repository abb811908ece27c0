from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_pictures import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, packed, png, tiff

from lehr.data.crop import Form, View
from lehr.data.decode import decode
from lehr.data.picture import holds_several, opened, to_eight_bits
from lehr.errors import DataError


def grey(tmp_path: Path, content: bytes, name: str = "a.png") -> list[int]:
    """The first row of a picture of 4 x 4, in grey."""
    return decoded(tmp_path, content, name, 1)[0, 0].tolist()


def colours(tmp_path: Path, content: bytes, name: str = "a.png") -> list[list[int]]:
    """The first row of a picture of 4 x 4, in colour."""
    return decoded(tmp_path, content, name, 3)[:, 0].T.tolist()


def decoded(tmp_path: Path, content: bytes, name: str, channels: int) -> np.ndarray:
    path = tmp_path / name
    path.write_bytes(content)
    return decode(View(str(path)), Form(4, channels))


def refused(tmp_path: Path, content: bytes, reason: str, name: str = "a.png") -> None:
    with pytest.raises(DataError, match=reason) as caught:
        decoded(tmp_path, content, name, 3)
    assert str(caught.value).startswith(f"{tmp_path / name} cannot be read as an image: ")
    assert "\n" not in str(caught.value)


def ramp(bits: int) -> np.ndarray:
    """4 x 4: nothing, a third, two thirds and all of what so many bits can say, or what is nearest below."""
    top = 2**bits - 1
    return np.broadcast_to(np.array([0, top // 3, 2 * top // 3, top]), (4, 4))


def alone(values: list[object]) -> np.ndarray:
    """4 x 4 (x c) of which every row is this one."""
    return np.array([values] * 4)


LEVELS = [0, 85, 170, 255]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_a_tiff_is_what_its_bits_and_its_interpretation_say(
    tmp_path: Path, bits: int, order: str, zipped: bool, white_is_zero: bool
) -> None:
    raw = packed(ramp(bits), bits, order)
    tags = {259: [8 if zipped else 1], 262: [0 if white_is_zero else 1]}
    content = tiff(zlib.compress(raw) if zipped else raw, (4, 4), bits, tags, order)
    if (bits == 12 and (order == ">" or white_is_zero)) or (bits == 16 and order == ">" and white_is_zero):
        refused(tmp_path, content, "pixels that are not read", "a.tif")  # Pillow does not know them
        return
    levels = [0, 0, 0, 255] if bits == 1 else LEVELS
    assert grey(tmp_path, content, "a.tif") == [255 - level if white_is_zero else level for level in levels]


@pytest.mark.parametrize(("bits", "sample_format"), [(8, 2), (16, 2), (32, 2), (32, 1), (32, 3), (16, 3), (64, 3)])
def test_numbers_without_a_range_of_grey_are_refused(tmp_path: Path, bits: int, sample_format: int) -> None:
    content = tiff(bytes(16 * bits // 8), (4, 4), bits, {339: [sample_format]})
    refused(tmp_path, content, "signed numbers|have mode [IF]|pixels that are not read", "a.tif")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("zipped", [False, True])
def test_sixteen_bits_of_colour_are_scaled(tmp_path: Path, order: str, zipped: bool) -> None:
    pixels = np.stack([ramp(16), 65535 - ramp(16), np.full((4, 4), 0x1234)], -1)
    wanted = [[level, 255 - level, 0x12] for level in LEVELS]
    raw = packed(pixels.reshape(4, -1), 16, order)
    content = tiff(zlib.compress(raw) if zipped else raw, (4, 4, 3), 16, {259: [8 if zipped else 1], 262: [2]}, order)
    assert colours(tmp_path, content, "a.tif") == wanted
    assert colours(tmp_path, png(pixels, RGB, 16)) == wanted


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_the_level_that_a_png_says_is_transparent_is_white(tmp_path: Path, bits: int, k: int) -> None:
    level = int(ramp(bits)[0, k])
    levels = [0, 0, 0, 255] if bits == 1 else LEVELS
    assert grey(tmp_path, png(ramp(bits), GREY, bits)) == levels
    content = png(ramp(bits), GREY, bits, chunk(b"tRNS", struct.pack(">H", level)))
    assert grey(tmp_path, content) == [
        255 if stored == level else shown for stored, shown in zip(ramp(bits)[0].tolist(), levels, strict=True)
    ]


def test_of_sixteen_bits_all_count_for_the_transparent_level(tmp_path: Path) -> None:
    pixels = alone([0x5500, 0x5501, 0x5502, 0xFFFF])
    assert grey(tmp_path, png(pixels, GREY, 16, chunk(b"tRNS", struct.pack(">H", 0x5501)))) == [85, 255, 85, 255]


def test_the_colour_that_a_png_says_is_transparent_is_white_or_refused(tmp_path: Path) -> None:
    pixels = alone([[1, 2, 3], [1, 2, 4], [9, 9, 9], [0, 0, 0]])
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    assert colours(tmp_path, png(pixels, RGB, 8, key)) == [[255, 255, 255], [1, 2, 4], [9, 9, 9], [0, 0, 0]]
    refused(tmp_path, png(pixels, RGB, 16, key), "one colour of 16 bits is transparent")


@pytest.mark.parametrize("bits", [8, 16])
def test_half_transparent_pixels_of_a_png_are_mixed_with_white(tmp_path: Path, bits: int) -> None:
    scale = 257 if bits == 16 else 1
    pixels = scale * alone([[80, 0], [80, 255], [80, 128], [255, 255]])
    assert grey(tmp_path, png(pixels, GREY_ALPHA, bits)) == [255, 80, 167, 255]
    pixels = scale * alone([[80, 80, 80, 0], [80, 80, 80, 255], [80, 80, 80, 128], [9, 8, 7, 255]])
    assert colours(tmp_path, png(pixels, RGBA, bits)) == [[255] * 3, [80] * 3, [167] * 3, [9, 8, 7]]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_transparent_colours_of_a_palette_are_mixed_with_white(tmp_path: Path, bits: int) -> None:
    palette = chunk(b"PLTE", bytes([0, 0, 0, 80, 80, 80, 160, 160, 160, 255, 0, 0]))
    for opacity, wanted in (
        ((0,), [[255] * 3, [80] * 3, [160] * 3, [255, 0, 0]]),
        ((255, 128), [[0] * 3, [167] * 3, [160] * 3, [255, 0, 0]]),
    ):
        content = png(alone([0, 1, 2, 3]), PALETTE, bits, palette, chunk(b"tRNS", bytes(opacity)))
        assert colours(tmp_path, content) == wanted


@pytest.mark.parametrize(("kind", "half"), [(0, 50), (1, 50 + 127), (2, (50 * 128 + 255 * 127) // 255)])
def test_further_samples_of_a_tiff_are_what_the_file_says(tmp_path: Path, kind: int, half: int) -> None:
    """0 says nothing, 1 is opacity that the grey is multiplied by, 2 is opacity."""
    first = 50 if kind == 0 else 255
    raw = bytes([50, 0, 50, 128, 50, 255, 100, 255] * 4)
    assert grey(tmp_path, tiff(raw, (4, 4, 2), 8, {338: [kind]}), "a.tif") == [first, half, 50, 100]
    raw = bytes([50, 50, 50, 0, 50, 50, 50, 128, 50, 50, 50, 255, 100, 100, 100, 255] * 4)
    content = tiff(raw, (4, 4, 4), 8, {262: [2], 338: [kind]})
    assert colours(tmp_path, content, "a.tif") == [[first] * 3, [half] * 3, [50] * 3, [100] * 3]


def test_a_tiff_of_which_parts_are_missing_is_refused(tmp_path: Path) -> None:
    raw = bytes(LEVELS * 4 + [200] * 16 + [7] * 16)
    planes = {262: [2], 284: [2], 273: [0] * 3, 279: [16] * 3}
    assert colours(tmp_path, tiff(raw, (4, 4, 3), 8, planes), "a.tif") == [[level, 200, 7] for level in LEVELS]
    refused(tmp_path, tiff(raw, (4, 4, 3), 8, planes | {273: [0] * 2, 279: [24] * 2}), "are missing", "a.tif")
    halves = {278: [2], 273: [0] * 2, 279: [8] * 2}
    assert grey(tmp_path, tiff(raw[:16], (4, 4), 8, halves), "a.tif") == LEVELS
    refused(tmp_path, tiff(raw[:16], (4, 4), 8, {278: [2]}), "are missing", "a.tif")


def test_a_colour_map_is_of_sixteen_bits_or_refused(tmp_path: Path) -> None:
    up = [level * 257 for level in range(256)]
    content = tiff(bytes(LEVELS * 4), (4, 4), 8, {262: [3], 320: [*up, *up[::-1], *up]})
    assert colours(tmp_path, content, "a.tif") == [[level, 255 - level, level] for level in LEVELS]
    refused(tmp_path, tiff(bytes(LEVELS * 4), (4, 4), 8, {262: [3], 320: [*range(256)] * 3}), "colour map", "a.tif")


def test_other_colour_spaces_are_converted_or_refused(tmp_path: Path) -> None:
    grey_of_444 = tiff(bytes([200, 128, 128] * 16), (4, 4, 3), 8, {262: [6], 530: [1, 1]})
    assert colours(tmp_path, grey_of_444, "a.tif") == [[200] * 3] * 4
    refused(tmp_path, tiff(bytes(24 * 2), (4, 4, 3), 8, {262: [6]}), "lower resolution", "a.tif")
    cmyk = tiff(bytes([0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0] * 4), (4, 4, 4), 8, {262: [5]})
    assert colours(tmp_path, cmyk, "a.tif") == [[255] * 3, [0, 255, 255], [0] * 3, [255] * 3]
    lab = colours(tmp_path, tiff(bytes([255, 0, 0, 0, 0, 0] * 8), (4, 4, 3), 8, {262: [8]}), "a.tif")
    np.testing.assert_allclose(lab, [[255] * 3, [0] * 3] * 2, atol=1)


@pytest.mark.parametrize(
    ("header", "pixels", "wanted"),
    [
        (b"P5 4 4 255\n", bytes(LEVELS * 4), LEVELS),
        (b"P5 4 4 15\n", bytes([0, 5, 10, 15] * 4), LEVELS),
        (b"P5 4 4 4095\n", packed(ramp(12), 16), LEVELS),
        (b"P5 4 4 65535\n", packed(ramp(16), 16), LEVELS),
        (b"P2 4 4 65535\n", b"0 21845 43690 65535\n" * 4, LEVELS),
        (b"P4 4 4\n", bytes([0b01010000] * 4), [255, 0, 255, 0]),
        (b"P6 4 4 4095\n", packed(np.repeat(ramp(12), 3, 1), 16), LEVELS),
    ],
)
def test_portable_maps_are_scaled_by_their_largest_level(
    tmp_path: Path, header: bytes, pixels: bytes, wanted: list[int]
) -> None:
    assert grey(tmp_path, header + pixels, "a.pnm") == wanted


@pytest.mark.parametrize("name", ["a.avif", "a.jp2", "a.tga", "a.pcx", "a.bmp", "a.webp", "a.qoi", "a.ico", "a.jfif"])
def test_other_formats_that_are_listed_are_read(tmp_path: Path, name: str) -> None:
    file = io.BytesIO()
    kind = {"jp2": "JPEG2000", "jfif": "JPEG"}.get(name[2:], name[2:].upper())
    Image.new("RGB", (16, 16), (10, 100, 200)).save(file, kind)
    np.testing.assert_allclose(colours(tmp_path, file.getvalue(), name), [[10, 100, 200]] * 4, atol=6)


def test_of_several_pictures_the_first_is_taken_and_of_an_icon_the_largest(tmp_path: Path) -> None:
    first, second = Image.new("L", (8, 8), 40), Image.new("L", (8, 8), 200)
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        for others in ([], [second]):
            first.convert("RGB").save(tmp_path / name, save_all=True, append_images=others, **options)
            with opened(str(tmp_path / name)) as image:
                assert np.asarray(to_eight_bits(image).convert("L")).mean() == 40
                assert holds_several(image) is bool(others), name
    content = tiff(bytes([77] * 16), (4, 4), 8, {}, pages=3)
    assert grey(tmp_path, content, "b.tif") == [77] * 4
    Image.new("L", (64, 64), 90).save(tmp_path / "a.ico", sizes=[(16, 16), (32, 32)])
    with opened(str(tmp_path / "a.ico")) as image:
        assert to_eight_bits(image).size == (32, 32)
        assert holds_several(image)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"
NEITHER = [b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0", b"%PDF-1.4\n", b"\0"]
METAFILE = bytes.fromhex("d7cdc69a000000000000040004006000000000000000010009000003")


@pytest.mark.parametrize(
    "content", [POSTSCRIPT, METAFILE, b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0", b"%PDF-1.4\n", b"\0"]
)
def test_no_program_is_started_for_a_file_of_another_format(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    refused(tmp_path, content, "not an image, or of a format")


def test_a_name_that_is_no_image_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "null.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(10_000_000_000)
    for name, reason in (
        ("fifo", "it is no file"),
        ("folder", "it is no file"),
        ("null", "it is no file"),
        ("empty", "it is empty"),
        ("huge", "it has 10,000,000,000 bytes"),
        ("absent", "No such file or directory"),
    ):
        with pytest.raises(DataError, match=rf"{name}\.png cannot be read as an image: {reason}$"):
            decode(View(str(tmp_path / f"{name}.png")), Form(8, 3))


def test_a_name_of_any_bytes_stands_in_one_line_of_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/new\nline \xff.png")
    Path(path).write_bytes(b"hello")
    with pytest.raises(DataError) as caught:
        decode(View(path), Form(8, 3))
    assert r"/new\nline \xff.png cannot be read" in str(caught.value)
    Path(path).write_bytes(png(ramp(8), GREY, 8))
    assert decode(View(path), Form(4, 1))[0, 0].tolist() == LEVELS


def test_a_picture_of_too_many_pixels_is_refused_before_they_are_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    refused(tmp_path, bomb + chunk(b"IEND", b""), "10000000000 pixels")


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.99999])
@pytest.mark.parametrize("shape", [(3, 60), (60, 3), (2, 400), (41, 700)])
def test_what_is_cut_from_a_long_picture_is_what_was_cut_after_resizing_all_of_it(
    tmp_path: Path, place: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    # far from 0 and 255: what is clipped depends on which side Pillow resizes first
    Image.fromarray(np.random.default_rng(0).integers(90, 160, (*shape, 3), dtype=np.uint8)).save(path)
    got = decode(View(str(path), place), Form(16, 3))
    monkeypatch.setattr("lehr.data.crop._ELONGATED", 10**9)
    wanted = decode(View(str(path), place), Form(16, 3))
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 2  # two roundings


def test_a_strip_of_one_pixel_takes_no_gigabytes(tmp_path: Path) -> None:
    """167 bytes that took 7.9 GB."""
    (tmp_path / "a.png").write_bytes(png(np.zeros((30_000, 1), int), GREY, 1))
    code = (
        "import resource, sys; from lehr.data.crop import Form, View; from lehr.data.decode import decode\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "decode(View(sys.argv[1]), Form(8, 3)); before = peak()\n"
        "decode(View(sys.argv[1]), Form(256, 3)); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000  # kilobytes


def test_pixels_that_libtiff_makes_up_are_refused_and_it_says_nothing_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).convert("1").save(file, "TIFF", compression="group4")
    content = bytearray(file.getvalue())
    content[100:300] = b"\x55" * 200
    refused(tmp_path, bytes(content), "Fax4Decode: Bad code word", "a.tif")
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_pillow_without_a_format_reads_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF")
    refused(tmp_path, b"hello", "not an image, or of a format")
    assert grey(tmp_path, png(ramp(8), GREY, 8)) == LEVELS
