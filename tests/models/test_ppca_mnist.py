"""The linear VAE on the grey levels of MNIST: the closed forms, and a run of `lehr train` that reaches them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from exact_linear import exact_terms
from torch import Tensor

from lehr.config.build import build
from lehr.data import ImageDataModule
from lehr.data.idx import MNIST
from lehr.posterior import linear_vae_optimum
from lehr.posterior.collapse import active_units
from lehr.run.load import load

# 50 latents, KL weight 1: variance of p(x|z), distortion, rate, active units
FIXED = [(1.0, 738.8521, 4.3341, 12), (0.5, 477.4306, 10.1743, 23), (0.25, 219.5734, 20.7668, 39)]


@pytest.fixture(scope="module")
def eigenvalues(data_root) -> Tensor:
    """(784,) of the covariance of all 60,000 training images, descending."""
    common: dict[str, Any] = {"batch_size": 1, "eval_batch_size": 1, "val_fraction": 0.5, "binarize": "none", "seed": 0}
    images = MNIST(root=str(data_root / "mnist"), **common).read().train
    (pixels,) = images.fetch([torch.arange(len(images))], epoch=None, device="cpu")
    covariance = torch.cov(pixels.flatten(1).double().T, correction=0)
    return torch.linalg.eigvalsh(covariance).flip(0)


@pytest.mark.slow
def test_the_spectrum_of_mnist(eigenvalues):
    assert eigenvalues.sum().item() == pytest.approx(52.725035, abs=1e-5)
    first = [5.1168, 3.7413, 3.2527, 2.8416, 2.5671, 2.2736, 1.7251, 1.5205, 1.4563, 1.2427]
    assert eigenvalues[:10].tolist() == pytest.approx(first, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variance", "weight", "distortion", "rate", "active"),
    [
        *((variance, 1.0, *rest) for variance, *rest in FIXED),
        (0.1, 1.0, -110.9380, 42.6060, 50),
        (1.0, 4.0, 746.2519, 0.1231, 1),
        (0.25, 4.0, 250.6377, 4.3341, 12),
        (0.1, 4.0, -51.3454, 13.0117, 28),
    ],
)
def test_the_closed_forms_of_mnist(eigenvalues, variance, weight, distortion, rate, active):
    optimum = linear_vae_optimum(eigenvalues, 50, math.sqrt(variance), weight)
    assert optimum.distortion == pytest.approx(distortion, abs=1e-4)
    assert optimum.rate == pytest.approx(rate, abs=1e-4)
    assert optimum.active == active
    # at variance 1/2 the weakest direction has a signal of 0.0055, below the customary threshold
    assert active_units(optimum.var_of_mean) == (22 if active == 23 else active)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("latent_dim", "variance", "rate", "log_likelihood"),
    [(10, 0.03486734, 21.0298, 182.1547), (32, 0.01797658, 62.4442, 400.4327), (50, 0.01259605, 94.4006, 507.9054)],
)
def test_the_closed_forms_of_mnist_with_a_learned_scale(eigenvalues, latent_dim, variance, rate, log_likelihood):
    optimum = linear_vae_optimum(eigenvalues, latent_dim)
    assert optimum.scale**2 == pytest.approx(variance, abs=1e-8)
    assert optimum.rate == pytest.approx(rate, abs=1e-4)
    assert -optimum.loss == pytest.approx(log_likelihood, abs=1e-4)
    assert optimum.active == latent_dim


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("variance", "distortion", "rate", "active"), FIXED[1:2])  # each takes half a minute
def test_training_on_samples_comes_close_to_the_closed_form(
    lehr, data_root, tmp_path, variance, distortion, rate, active
):
    root = f"data.root={data_root / 'mnist'}"
    scale = f"likelihood.scale={math.sqrt(variance)}"
    quiet = ("logger=none", "callbacks.samples=null", "trainer.accelerator=cpu")
    code, _, err = lehr("train", "experiment=ppca_mnist", scale, root, f"dir={tmp_path / 'run'}", *quiet)
    assert code == 0, err
    run = load(tmp_path / "run")
    data = build(run.config["data"], ImageDataModule, key="data")
    data.setup()
    with torch.no_grad():
        batches = data.evaluation_loader("train", "cpu")
        terms = [exact_terms(batch.images.double(), run.model.double(), run.likelihood) for batch in batches]
    # the closed forms are of all 60,000 images; those of the 59,940 that are trained on differ by less than 0.01%
    assert torch.cat([t.distortion for t in terms]).mean().item() == pytest.approx(distortion, rel=0.005)
    assert torch.cat([t.rate for t in terms]).mean().item() == pytest.approx(run.posterior.kl.sum().item(), rel=1e-5)
    assert run.posterior.kl.sum().item() == pytest.approx(rate, rel=0.02)
    # no step goes below the optimum, and the loss is close to it
    loss = torch.cat([t.elbo for t in terms]).mean().neg().item()
    assert 0 < loss - (distortion + rate) < 0.6
    # the weakest units' signal lies at the threshold, and noise of the gradient puts them on either side
    assert active_units(run.posterior.var_of_mean) == pytest.approx(active, abs=5)
