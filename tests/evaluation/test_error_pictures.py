"""Pictures of a run: errors beside what they are of."""

from __future__ import annotations

import pytest
import torch
from harness import Tiny
from PIL import Image
from torch import nn

from lehr.evaluation.pictures import ERROR_SCALE
from lehr.models import Autoencoder
from lehr.models.components import Components
from lehr.objective import ELBO, AnnealedKL, Bernoulli, Gaussian, StandardNormalPrior
from lehr.posterior import FixedVariance
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


def drawn(likelihood):
    data, model = Tiny(), Grey()
    data.setup()
    prior = StandardNormalPrior(model.latent_shape, model.image_shape)
    components = Components(model, likelihood, prior, AnnealedKL(), ELBO())
    pictures = draw_grids(components, data, None, Grids(n=8, interpolations=2, steps=3), Execution(torch.device("cpu")))
    images = next(iter(data.evaluation_loader("val", "cpu"))).images[:4]
    return pictures, images


def tile(grid, row, column):
    top, left = (GAP + i * (TILE + GAP) for i in (row, column))
    return grid[:, top : top + TILE : 12, left : left + TILE : 12].float() / 255


def test_the_worst_reconstruction_comes_first_with_its_error_below():
    pictures, images = drawn(Gaussian(0.1))
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
    assert drawn(likelihood)[0].keys() == {"prior", "interpolation", "reconstruction"}
