"""Pictures of a run: errors beside what they are of, the worst and the best, and what single latents do."""

from __future__ import annotations

import math
import re

import pytest
import torch
from harness import Tiny
from PIL import Image
from torch import nn

from lehr.evaluation.pictures import ERROR_SCALE
from lehr.models import Autoencoder
from lehr.models.components import Components
from lehr.objective import ELBO, AnnealedKL, Bernoulli, Gaussian, StandardNormalPrior
from lehr.posterior import AggregatePosterior, FixedVariance
from lehr.run.execution import Execution
from lehr.run.pictures import Grids, draw_grids, write_grids

TILE, GAP = 48, 2  # 4 x 4 pixels, 12 times as large


class Grey(Autoencoder):
    """Every picture is grey again."""

    def __init__(self):
        super().__init__((1, 4, 4), (2,))
        self.weight = nn.Parameter(torch.zeros(()))

    def encode(self, x):
        return FixedVariance(x.flatten(1)[:, :2], 0.1)

    def decode(self, z):
        return torch.full((len(z), 1, 4, 4), 0.4)


class Bars(Grey):
    """The upper half of a picture is as bright as the first latent, the lower half as the second."""

    def decode(self, z):
        return z.view(-1, 1, 2, 1).repeat_interleave(2, 2).expand(-1, 1, 4, 4)


def drawn(likelihood, model=None, aggregate=None, **data):
    data, model = Tiny(**data), model or Grey()
    data.setup()
    prior = StandardNormalPrior(model.latent_shape, model.image_shape)
    components = Components(model, likelihood, prior, AnnealedKL(), ELBO())
    grids, execution = Grids(n=8, interpolations=2, steps=3), Execution(torch.device("cpu"))
    pictures = draw_grids(components, data, aggregate, grids, execution)
    images = torch.cat([batch.images for batch in data.evaluation_loader("val", "cpu")])
    return pictures, images


def tile(grid, row, column):
    top, left = (GAP + i * (TILE + GAP) for i in (row, column))
    return grid.pixels[:, top : top + TILE : 12, left : left + TILE : 12].float() / 255


def test_the_worst_reconstruction_comes_first_with_its_error_below():
    pictures, images = drawn(Gaussian(0.1))
    images = images[:4]
    order = (images - 0.4).square().flatten(1).mean(1).argsort(descending=True, stable=True)
    for column, image in enumerate(images[order]):
        expected = (image, torch.full_like(image, 0.4), (4 * (image - 0.4).abs()).clamp(max=1))
        for row, pixels in enumerate(expected):
            torch.testing.assert_close(tile(pictures["error"], row, column), pixels, rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_file_says_its_scale_and_goes_with_the_model(tmp_path):
    pictures, _ = drawn(Gaussian(0.1))
    write_grids(tmp_path, pictures, "an id")
    with Image.open(tmp_path / "error.png") as found:
        assert found.text == {"model": "an id", "Description": ERROR_SCALE}
    write_grids(tmp_path, {name: picture for name, picture in pictures.items() if name != "error"}, "another")
    assert not (tmp_path / "error.png").exists()


@pytest.mark.parametrize("likelihood", [Bernoulli()])
def test_of_binary_pixels_there_is_no_picture_of_errors(likelihood):
    assert drawn(likelihood)[0].keys() == {"prior", "interpolation", "reconstruction", "extremes"}


def numbers(text):
    return [float(word) for word in text.split(", ")]


def said(picture):
    """Of how many images, by what, and the values of the worst and of the best."""
    before, worst, best, _ = re.fullmatch(r"(.*), the worst: (.*); the best: (.*); errors: (.*)", picture.note).groups()
    return before, numbers(worst), numbers(best)


@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize("likelihood", [Gaussian(0.1), Bernoulli()], ids=["real", "binary"])
def test_the_worst_and_the_best_of_all_images_are_shown_with_their_numbers(likelihood, batch):
    pictures, images = drawn(likelihood, n=300, eval_batch_size=batch)
    real, y = isinstance(likelihood, Gaussian), 0.4 if isinstance(likelihood, Gaussian) else 1 / (1 + math.exp(-0.4))
    x = images.double().flatten(1)
    values = -10 * (x - y).square().mean(1).log10() if real else -(x * math.log(y) + (1 - x) * math.log(1 - y)).sum(1)
    order = values.argsort(descending=not real)
    before, worst, best = said(pictures["extremes"])
    what = "PSNR in dB" if real else "distortion in nats"
    assert before == f"of {len(images)} validation images, by {what} at the mean of q(z|x)"
    assert worst == pytest.approx(values[order[:8]].tolist(), abs=0.0051)
    assert best == pytest.approx(values[order[-8:]].tolist(), abs=0.0051)
    for i, image in enumerate(images[torch.cat([order[:8], order[-8:]])]):
        row, column = 3 * (i // 8), i % 8
        expected = (image, torch.full_like(image, y), (4 * (image - y).abs()).clamp(max=1))
        for below, pixels in enumerate(expected):
            shown = tile(pictures["extremes"], row + below, column)
            torch.testing.assert_close(shown, pixels, rtol=0, atol=0.5 / 255 + 1e-6)


def test_of_large_images_fewer_are_looked_at(monkeypatch):
    monkeypatch.setattr("lehr.run.pictures._LOOKED_AT", 0)
    pictures, images = drawn(Gaussian(0.1), n=800)
    assert len(images) > 32
    assert said(pictures["extremes"])[0].startswith("of 32 validation images")


def test_a_single_image_has_no_worst_and_best():
    pictures, images = drawn(Gaussian(0.1), n=10)
    assert len(images) == 1
    assert "extremes" not in pictures


def test_along_the_most_active_latents_the_others_stay_at_their_mean():
    signal = torch.tensor([0.001, 0.02], dtype=torch.float64)
    noise = torch.tensor([0.009, 0.005], dtype=torch.float64)
    mean = torch.tensor([0.4, 0.6], dtype=torch.float64)
    about = AggregatePosterior(n=9, latent_shape=(2,), mean=mean, mean_of_var=noise, var_of_mean=signal, kl=None)
    picture = drawn(Gaussian(0.1), Bars(), about)[0]["traversal"]
    assert picture.note == (
        "rows from above: dimensions 1, 0 of 2 (from 0), by Var(E[z|x]); columns: from E[z] - 2.5 to E[z] + 2.5 "
        "standard deviations of q(z)"
    )
    assert picture.pixels.shape == (1, 2 * (TILE + GAP) + GAP, 9 * (TILE + GAP) + GAP)
    for column in range(9):
        away = 2.5 * (column - 4) / 4
        upper, lower = 0.4 + away * 0.01**0.5, 0.6 + away * 0.025**0.5
        for row, (first, second) in enumerate([(0.4, lower), (upper, 0.6)]):
            found = tile(picture, row, column)[0, ::2, 0].tolist()
            assert found == pytest.approx([min(first, 1), min(second, 1)], abs=0.5 / 255 + 1e-6)
