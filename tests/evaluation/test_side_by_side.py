"""The picture of a comparison."""

from __future__ import annotations

import numpy as np
import torch

from lehr.evaluation.side_by_side import CROP, Row, draw, worst_place


def test_of_a_large_image_the_crop_is_where_all_models_together_are_the_worst():
    image = torch.zeros(3, 40, 60)
    first, second = image.clone(), image.clone()
    first[:, 30:34, 50:54] = 0.5  # only the first
    first[:, 2:6, 10:14], second[:, 2:6, 10:14] = 0.4, 0.4  # both
    top, left = worst_place(image, [first, second], 8)
    assert top <= 2 <= top + 4
    assert left <= 10 <= left + 4
    assert worst_place(image, [first], 8)[0] >= 26
    assert worst_place(image, [first], 100) == (0, 0)


def test_the_error_of_a_model_stands_beside_it_four_times_as_large():
    image = torch.full((1, 64, 64), 0.25)
    rows = [Row(("a.jpg", "b is behind"), image, {"a": image, "b": image + 0.125}, {"a": "100 dB", "b": "18 dB"})]
    pixels = np.asarray(draw(rows).convert("L"))
    # tiles of 64 pixels are doubled: the middle of each of image, a, its error, b, its error
    middles = [int(pixels[22 + 64, 112 + i * 134 + 64]) for i in range(5)]
    assert middles == [64, 64, 0, 96, 128]


def test_images_larger_than_a_crop_are_shown_pixel_by_pixel():
    image = torch.rand(3, 3 * CROP, 2 * CROP, generator=torch.Generator().manual_seed(0))
    rows = [Row(("a",), image, {"a": image}, {"a": ""})]
    assert draw(rows).size == (112 + 3 * (CROP + 6) + 6, 22 + CROP + 22 + 22)
