from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lehr.data.crop import Form, View
from lehr.data.decode import Decoder, decode
from lehr.errors import DataError


def columns(height: int, width: int) -> np.ndarray:
    """A grey image whose levels are the numbers of its columns."""
    return np.broadcast_to(np.arange(width, dtype=np.uint8), (height, width))


def save(path: Path, image: np.ndarray, **options: object) -> str:
    Image.fromarray(image).save(path, **options)
    return str(path)


@pytest.mark.parametrize(("place", "first"), [(0.0, 0), (0.5, 10), (0.99999, 20)])
def test_the_square_is_cut_along_the_longer_side(tmp_path: Path, place: float, first: int) -> None:
    path = save(tmp_path / "a.png", columns(8, 28))
    np.testing.assert_array_equal(decode(View(path, place), Form(8, 1))[0, 0], np.arange(first, first + 8))
    tall = save(tmp_path / "b.png", np.ascontiguousarray(columns(8, 28).T))
    np.testing.assert_array_equal(decode(View(tall, place), Form(8, 1))[0, :, 0], np.arange(first, first + 8))


def test_mirroring_exchanges_left_and_right(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", columns(8, 8))
    np.testing.assert_array_equal(decode(View(path, mirrored=True), Form(8, 1))[0, 0], np.arange(8)[::-1])


@pytest.mark.parametrize("shape", [(40, 17), (17, 40), (3, 50), (8, 8)])
def test_every_shape_comes_out_square_and_of_the_asked_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = save(tmp_path / "a.png", np.full(shape, 77, np.uint8))
    for channels in (1, 3):
        pixels = decode(View(path), Form(8, channels))
        assert pixels.shape == (channels, 8, 8)
        assert (pixels == 77).all()


def test_colours_keep_their_channels(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 50
    pixels = decode(View(save(tmp_path / "a.png", image)), Form(8, 3))
    assert [channel.mean() for channel in pixels] == [200, 0, 50]


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    path = save(tmp_path / "a.png", columns(8, 8), exif=exif)
    np.testing.assert_array_equal(decode(View(path), Form(8, 1))[0, :, 0], np.arange(8))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", columns(8, 8).astype(np.uint16) * 256 * 30)
    np.testing.assert_array_equal(decode(View(path), Form(8, 1))[0, 0], np.arange(8) * 30)


def test_transparent_pixels_are_white_whatever_lies_under_them(tmp_path: Path) -> None:
    image = np.full((8, 8, 4), 90, np.uint8)
    image[..., 3] = 255
    image[:4, :, 3] = 0
    pixels = decode(View(save(tmp_path / "a.png", image)), Form(8, 3))
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == 90).all()


def test_pixels_of_a_kind_that_has_no_range_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", np.zeros((8, 8), np.float32))
    with pytest.raises(DataError, match=r"a\.tiff cannot be read as an image: its pixels have mode F"):
        decode(View(path), Form(8, 1))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_dying_process_is_reported_in_one_line() -> None:
    import os

    decoder = Decoder(Form(8, 1), workers=1)
    with pytest.raises(DataError, match=r"lower data\.workers") as caught:
        list(decoder.map(os._exit, [1]))
    assert "\n" not in str(caught.value)


def test_a_decoding_process_imports_neither_torch_nor_lightning() -> None:
    code = "import sys; import lehr.data.decode; print({'torch', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_lets_the_parent_have_its_images(tmp_path: Path, signum: int) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (4, 4), 7).save(path)
    decoder = Decoder(Form(4, 1), workers=2)
    assert next(decoder.batches([[View(str(path))]])).shape == (1, 1, 4, 4)
    for process in list(decoder._pool._processes):
        os.kill(process, signum)
    for images in decoder.batches([[View(str(path))]] * 8):
        assert (images == 7).all()
    decoder._pool.shutdown()
