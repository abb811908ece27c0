"""The PSNR that is watched in training: against torchmetrics, in any batches; where there is one, and where not."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from lehr.evaluation.fidelity import PSNRMetric
from lehr.models import MLP
from lehr.models.components import Components
from lehr.objective import ELBO, AnnealedKL, Bernoulli, DiscretizedLogistic, Gaussian, StandardNormalPrior
from lehr.run.measure import has_psnr


@pytest.mark.parametrize("batch", [23, 10, 1])
def test_it_is_the_mean_over_images_of_clipped_reconstructions_in_any_batches(batch):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(23, 3, 6, 5, generator=generator)
    others = images + torch.rand(23, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    metric = PSNRMetric()
    for x, y in zip(images.split(batch), others.split(batch), strict=True):
        metric.update(x, y)
    expected = peak_signal_noise_ratio(others.clamp(0, 1), images, data_range=1.0, dim=(1, 2, 3))
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-6)


def test_an_image_that_is_met_exactly_counts_100_db():
    images = torch.full((2, 1, 4, 4), 0.25)
    metric = PSNRMetric()
    metric.update(images, torch.cat([images[:1], images[1:] + 0.1]))
    assert float(metric.compute()) == pytest.approx((100 + 20) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "is_there"), [(Gaussian(0.1), True), (Bernoulli(), False), (DiscretizedLogistic(256), False)]
)
def test_real_pixels_have_one(likelihood, is_there):
    model = MLP((1, 4, 4), latent_dim=2, hidden=[3])
    prior = StandardNormalPrior(model.latent_shape, model.image_shape)
    assert has_psnr(Components(model, likelihood, prior, AnnealedKL(), ELBO())) == is_there
