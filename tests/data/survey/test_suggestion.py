from __future__ import annotations

import numpy as np
import pytest
from bad_folder import noise
from PIL import Image

from lehr.data import Arrays, Digits, ImageFolder
from lehr.data.survey import survey

RNG = np.random.default_rng(0)
STROKES = np.where(RNG.random((60, 12, 12)) < 0.2, RNG.integers(200, 256, (60, 12, 12)), 0).astype(np.uint8)
"""Grey as in MNIST: most pixels are black, the others nearly white."""


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (RNG.random((60, 12, 12)) < 0.3, "likelihood=bernoulli data.binarize=none"),
        ((STROKES > 0).astype(np.uint8) * 255, "likelihood=bernoulli data.binarize=none"),
        (STROKES, "likelihood=bernoulli data.binarize=dynamic"),
        (STROKES.astype(np.float32) / 255, "likelihood=bernoulli data.binarize=dynamic"),
        (RNG.integers(0, 256, (60, 12, 12), dtype=np.uint8), "likelihood=discretized_logistic data.binarize=none"),
        (RNG.random((60, 12, 12), dtype=np.float32), "likelihood=gaussian data.binarize=none"),
        (RNG.integers(0, 256, (60, 12, 12, 3), dtype=np.uint8), "likelihood=gaussian data.binarize=none"),
        (RNG.integers(0, 256, (60, 12, 12, 4), dtype=np.uint8), "likelihood=gaussian data.binarize=none"),
    ],
    ids=["bool", "binary", "strokes", "float strokes", "uniform grey", "real", "colour", "rgba"],
)
def test_the_likelihood_that_pixels_ask_for(tmp_path, common, array, words):
    np.save(tmp_path / "images.npy", array)
    assert " ".join(survey(Arrays(path=str(tmp_path / "images.npy"), **common)).suggestion.words) == words


def test_floats_of_even_levels_are_better_saved_as_such(tmp_path, common):
    np.save(tmp_path / "images.npy", RNG.integers(0, 16, (60, 12, 12)).astype(np.float32) / 15)
    found = survey(Arrays(path=str(tmp_path / "images.npy"), **common)).suggestion
    assert found.words == ("likelihood=gaussian", "data.binarize=none")
    assert "16 even levels: saved as uint8" in found.otherwise


def test_levels_other_than_256_are_said(common):
    found = survey(Digits(**common)).suggestion
    assert found.words == ("likelihood=bernoulli", "data.binarize=dynamic")
    assert "likelihood=discretized_logistic likelihood.levels=17 data.binarize=none" in found.otherwise


def test_grey_pictures_in_three_channels_are_better_read_as_one(tmp_path, common):
    for i in range(20):
        Image.fromarray(noise(i, channels=1)).convert("RGB").save(tmp_path / f"{i}.png")
    found = survey(ImageFolder(path=str(tmp_path), size=8, workers=0, **common))
    assert found.suggestion.words == ("data.channels=1", "likelihood=discretized_logistic", "data.binarize=none")
    assert found.finding("grey").n == 20
    assert found.finding("grey among colours") is None
