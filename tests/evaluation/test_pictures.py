"""Grids and files of images, read back with Pillow and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.errors import NonFinite
from lehr.evaluation import image_grid
from lehr.evaluation.pictures import error_images, save_gif, save_npy, save_png


def numbered(n, channels=1, size=50):
    """Images of one level each: k/255, (k+1)/255, ..."""
    return torch.arange(n).view(-1, 1, 1, 1).expand(n, channels, size, size) / 255.0


def test_images_fill_a_grid_row_by_row_from_the_left():
    grid = image_grid(numbered(5), columns=3)
    assert grid.dtype == torch.uint8
    assert grid.shape == (1, 2 * 50 + 3 * 2, 3 * 50 + 4 * 2)
    for k in range(5):
        top, left = 2 + (k // 3) * 52, 2 + (k % 3) * 52
        assert (grid[0, top : top + 50, left : left + 50] == k).all()
    assert (grid[0, 54:, 2 + 2 * 52 :] == 255).all()  # no sixth image


def test_a_grid_is_as_square_as_can_be():
    assert image_grid(numbered(9)).shape == (1, 158, 158)
    assert image_grid(numbered(10, channels=3)).shape == (3, 158, 210)


def test_an_error_is_shown_four_times_as_large_and_white_from_a_quarter_on():
    images = torch.tensor([0.5, 0.5, 0.9]).view(3, 1, 1, 1)
    shown = error_images(images, torch.tensor([0.4, 0.8, 1.7]).view(3, 1, 1, 1))  # of which 1.7 is shown as 1
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.4, 1.0, 0.4]))


def test_the_error_of_an_opacity_can_be_seen():
    images = torch.full((1, 4, 2, 2), 0.5)
    others = images.clone()
    others[:, 3, 0, 0] += 0.1
    others[:, 0, 1, 1] += 0.2
    shown = error_images(images, others)[0]
    assert (shown[3] == 1).all()
    torch.testing.assert_close(shown[:3, 0, 0], torch.full((3,), 0.4))
    torch.testing.assert_close(shown[:3, 1, 1], torch.tensor([0.8, 0.0, 0.0]))


def test_small_images_are_enlarged_without_smoothing():
    image = torch.rand(1, 3, 8, 8)
    grid = image_grid(image)
    assert grid.shape == (3, 52, 52)
    expected = (image[0] * 255).round().to(torch.uint8)
    assert torch.equal(grid[:, 2:50:6, 2:50:6], expected)
    assert len(grid[:, 2:8, 2:8].flatten(1).unique(dim=1).T) == 1


def test_values_outside_the_range_of_pixels_are_cut_and_bfloat16_is_shown():
    image = torch.tensor([-0.5, 0.0, 0.5, 1.7], dtype=torch.bfloat16).view(1, 1, 2, 2)
    grid = image_grid(image)
    assert sorted(grid[0, 2:50, 2:50].unique().tolist()) == [0, 128, 255]


def test_a_png_holds_the_picture(tmp_path):
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        picture = torch.randint(0, 256, (channels, 7, 9), dtype=torch.uint8)
        save_png(tmp_path / "a.png", picture)
        with Image.open(tmp_path / "a.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", mode, (9, 7))
            pixels = np.asarray(image)
        assert np.array_equal(pixels.reshape(7, 9, channels), picture.permute(1, 2, 0).numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(("n", "frames"), [(2, 2), (3, 4), (5, 8)])
def test_a_gif_runs_there_and_back_for_ever(tmp_path, n, frames):
    levels = torch.arange(n).view(-1, 1, 1, 1) / (n - 1)
    save_gif(tmp_path / "a.gif", levels.expand(n, 1, 48, 48))
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == frames
        assert image.info["loop"] == 0
        seen = []
        for k in range(frames):
            image.seek(k)
            seen.append(np.asarray(image.convert("L"))[20, 20])
    there = [round(255 * k / (n - 1)) for k in range(n)]
    assert seen == there + there[-2:0:-1]


def test_a_npy_file_holds_the_pixel_values(tmp_path):
    images = torch.rand(3, 1, 4, 5)
    save_npy(tmp_path / "a.npy", images.double())
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, images.numpy())


@pytest.mark.parametrize("write", [lambda path, images: image_grid(images), save_npy, save_gif])
def test_pixels_that_are_nan_are_no_picture(tmp_path, write):
    images = torch.rand(5, 1, 4, 4)
    images[1, 0, 2, 2] = images[3, 0, 0, 0] = torch.nan
    with pytest.raises(NonFinite, match=r"pictures: \d of \d images have pixels that are NaN"):
        write(tmp_path / "a", images)
    assert not list(tmp_path.iterdir())
