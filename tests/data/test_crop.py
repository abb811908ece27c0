"""What is cut of a picture, held against a picture whose pixels say where they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import ImageFolder
from lehr.data.augmentation import Augmentation
from lehr.data.crop import Form, View, random_box, taken
from lehr.data.decode import decode
from lehr.errors import DataError

PLACES = np.stack([*np.meshgrid(np.arange(40), np.arange(30)), np.zeros((30, 40))], axis=-1).astype(np.uint8)
"""A picture of 40 x 30 whose red is the number of the column and whose green is that of the row."""


def corner(view: View, form: Form) -> tuple[int, int]:
    """Where in `PLACES` a crop that is not resized begins."""
    pixels = np.asarray(taken(Image.fromarray(PLACES), view, form))
    left, top, _ = map(int, pixels[0, 0])
    np.testing.assert_array_equal(pixels, PLACES[top : top + form.size, left : left + form.size])
    return left, top


def test_a_random_square_lies_anywhere_along_both_sides_of_what_was_resized() -> None:
    form = Form(10, 3, resize=30)
    assert corner(View("", 0.0, across=0.0), form) == (0, 0)
    assert corner(View("", 0.5, across=0.5), form) == (15, 10)
    assert corner(View("", 0.9999, across=0.9999), form) == (30, 20)
    assert corner(View("", 0.9999, across=0.0), form) == (30, 0)


def test_turning_over_exchanges_the_ends() -> None:
    form, image = Form(30, 3), Image.fromarray(PLACES[:, :30])
    np.testing.assert_array_equal(taken(image, View("", upside_down=True), form), PLACES[::-1, :30])
    np.testing.assert_array_equal(taken(image, View("", mirrored=True), form), PLACES[:, 29::-1])
    both = taken(image, View("", mirrored=True, upside_down=True), form)
    np.testing.assert_array_equal(both, PLACES[::-1, 29::-1])


def test_a_random_box_has_the_area_and_the_ratio_that_were_asked_for_and_fits() -> None:
    form = Form(16, 3, scale=(0.2, 0.6), ratio=(0.5, 2.0))
    boxes = np.array([random_box((400, 300), seed, form) for seed in range(2000)])
    left, top, right, bottom = boxes.T
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 400
    assert bottom.max() <= 300
    width, height = right - left, bottom - top
    area, ratio = width * height / (400 * 300), np.log(width / height)
    assert 0.195 < area.min() < 0.205
    assert 0.59 < area.max() < 0.605
    assert abs(ratio.min() + math.log(2)) < 0.02
    assert abs(ratio.max() - math.log(2)) < 0.02
    # as torchvision draws them: E of a uniform area and log ratio where all fit
    fits = np.random.default_rng(0).uniform([0.2, -math.log(2)], [0.6, math.log(2)], (200_000, 2))
    w, h = (np.sqrt(fits[:, 0] * 120_000 * np.exp(sign * fits[:, 1])) for sign in (1, -1))
    fits = fits[(w <= 400) & (h <= 300)]
    assert abs(area.mean() - fits[:, 0].mean()) < 0.01
    assert abs(ratio.mean() - fits[:, 1].mean()) < 0.03
    assert left[left > 0].size > 1900  # anywhere, not in a corner


def test_where_no_box_fits_the_centre_is_taken_as_large_as_the_ratios_allow() -> None:
    form = Form(16, 3, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    assert random_box((400, 100), 5, form) == (150, 0, 250, 100)
    assert random_box((100, 400), 5, form) == (0, 150, 100, 250)


def test_a_random_box_is_what_cropping_and_then_resizing_gives(tmp_path: Path) -> None:
    Image.fromarray(PLACES).save(tmp_path / "a.png")
    form = Form(8, 3)
    box = random_box((40, 30), 7, form)
    wanted = Image.fromarray(PLACES).crop(box).resize((8, 8), Image.Resampling.BICUBIC)
    got = decode(View(str(tmp_path / "a.png"), box=7), form)
    np.testing.assert_array_equal(got.transpose(1, 2, 0), np.asarray(wanted))


def test_what_is_drawn_is_a_function_of_seed_and_epoch() -> None:
    rows = torch.arange(50)

    def views(epoch: int, seed: int = 1) -> list[View]:
        return Augmentation("random_resized", True, True, seed).of_epoch(epoch, 50).views(["a"] * 50, rows)

    assert views(3) == views(3)
    assert len({view.box for one in (views(0), views(1), views(0, seed=2)) for view in one}) == 150
    assert {(view.mirrored, view.upside_down) for view in views(0)} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert views(3)[10:20] == Augmentation("random_resized", True, True, 1).of_epoch(3, 50).views(
        ["a"] * 10, rows[10:20]
    )


@pytest.mark.parametrize("crop", ["random", "random_resized"])
def test_evaluation_cuts_the_centre_whatever_training_cuts(photos: Path, common: dict[str, Any], crop: str) -> None:
    data = ImageFolder(path=str(photos), workers=0, size=6, resize=8, crop=crop, flip="both", **common)
    plain = ImageFolder(path=str(photos), workers=0, size=6, resize=8, **common)
    for one in (data, plain):
        one.setup()
    rows = [torch.arange(data.n_train)]
    seen, wanted = (next(one.images("train").fetch(rows, epoch=None, device="cpu")) for one in (data, plain))
    assert seen.equal(wanted)
    assert not seen.equal(next(data.images("train").fetch(rows, epoch=0, device="cpu")))


def test_opacity_is_a_fourth_channel_and_what_is_unseen_is_white(tmp_path: Path) -> None:
    image = np.full((8, 8, 4), 90, np.uint8)
    image[..., 3] = 255
    image[:4] = (250, 250, 250, 0)
    Image.fromarray(image).save(tmp_path / "a.png")
    pixels = decode(View(str(tmp_path / "a.png")), Form(8, 4))
    assert (pixels[3, :4] == 0).all()
    assert (pixels[3, 4:] == 255).all()
    assert (pixels[:3, :4] == 255).all()
    assert (pixels[:3, 4:] == 90).all()
    halved = decode(View(str(tmp_path / "a.png")), Form(4, 4))
    seen = halved[:3][:, halved[3] > 100].astype(int)
    assert np.abs(seen - 90).max() <= 2  # no colour that nothing is seen of comes in by resizing
    Image.fromarray(image[..., :3]).save(tmp_path / "b.png")
    assert (decode(View(str(tmp_path / "b.png")), Form(8, 4))[3] == 255).all()


def test_small_pictures_are_enlarged_refused_or_left_out(photos: Path, common: dict[str, Any]) -> None:
    Image.new("RGB", (30, 7)).save(photos / "cat" / "low.png")
    Image.new("RGB", (7, 7)).save(photos / "dog" / "tiny.png")

    def read(small: str, **more: Any) -> ImageFolder:
        data = ImageFolder(path=str(photos), workers=0, size=8, small=small, **more, **common)
        data.setup()
        data.require_readable()
        return data

    assert read("enlarge").n_train == read("enlarge", on_corrupt="skip").n_train
    with pytest.raises(DataError) as caught:
        read("error")
    assert str(caught.value).endswith(
        "photos/cat/low.png has 30 x 7 pixels, less than the 8 that are to be cut (and 1 more); "
        "choose a smaller data.size, or say data.small=enlarge or skip"
    )
    data = read("skip")
    assert data.left_out == {"smaller than what is cut": ["cat/low.png", "dog/tiny.png"]}
    assert data.skipped == []
    assert data.n_train + data.n_val + data.n_test == 30
    (photos / "cat" / "04.PNG").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"04\.PNG cannot be read as an image: .*; repair it"):
        read("skip")
    assert len(read("skip", on_corrupt="skip").skipped) == 1


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"scale": [0.5, 0.2]}, "data.scale=[0.5,0.2]: the first must be at most the second"),
        ({"scale": [0.5, 2.0]}, "data.scale: 2 of a picture's area is more than all of it, which is 1"),
        ({"resize": 4, "size": 8}, "data.resize=4 is less than data.size=8, which is cut of it"),
        ({"flip": "sideways"}, "data.flip=sideways: must be "),
    ],
)
def test_impossible_crops_are_one_line(photos: Path, common: dict[str, Any], values: Any, line: str) -> None:
    (found,) = ImageFolder(path=str(photos), **values, **common).check()
    assert found.startswith(line)
