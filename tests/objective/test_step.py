"""A step names what it minimises: the weighted terms are the loss, whatever the rate term, the bound and the kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rate_terms import TERMS

from lehr import randomness
from lehr.models import MLP, Components
from lehr.models.autoencoder import Autoencoder
from lehr.objective import ELBO, IWAE, Bernoulli, Capacity, FreeBits, MixturePrior, StandardNormalPrior
from lehr.objective.step import AUTOENCODER, StepInputs
from lehr.posterior import Codes, Point

N_TRAIN, B = 50, 6


def model_of_doubles():
    with randomness.seeded(0, "weights"):
        return MLP((1, 3, 3), latent_dim=4, hidden=[5]).double()


def inputs(rate_term, step=3, b=B):
    images = randomness.uniform(0, "x", 0, (b, 1, 3, 3)).double()

    def noise(shape):
        return randomness.normal(0, "noise", 0, (b, *shape)).double()

    values = rate_term.values(step)
    return StepInputs(images, noise, values, step, b, N_TRAIN, world=1, sum_over_ranks=lambda sums: sums)


def parts(rate_term, objective, model=None, prior=StandardNormalPrior):
    model = model or model_of_doubles()
    return Components(model, Bernoulli(), prior(model.latent_shape, model.image_shape).double(), rate_term, objective)


def started(name):
    term = TERMS[name]()
    term.start(total_steps=10, steps_per_epoch=5)
    return term


@pytest.mark.parametrize("objective", [ELBO(), ELBO(3)], ids=["one sample", "three"])
@pytest.mark.parametrize("name", TERMS)
def test_the_weighted_terms_are_the_loss(name, objective):
    term = started(name)
    result = objective.step(inputs(term), parts(term, objective))
    assert result.losses.keys() == {AUTOENCODER}
    assert result.objective() == pytest.approx(result.losses[AUTOENCODER].item() / B, rel=1e-6)
    assert result.numbers()["distortion"] > 0
    assert result.terms["rate"].weight is result.kl_weight


@pytest.mark.parametrize("gradient", ["dreg", "standard"])
def test_of_the_importance_weighted_bound_the_bound_is_the_loss_and_the_elbo_is_shown_beside_it(gradient):
    term, objective = started("annealed"), IWAE(5, gradient)
    result = objective.step(inputs(term), parts(term, objective, prior=lambda *shapes: MixturePrior(*shapes, 3)))
    assert result.objective() == pytest.approx(result.losses[AUTOENCODER].item() / B, rel=1e-6)
    assert {name for name, part in result.terms.items() if part.weight is not None} == {"iwae"}
    numbers = result.numbers()
    assert numbers["iwae"] >= -(numbers["distortion"] + result.kl_weight * numbers["rate"])  # by Jensen's inequality


def test_one_program_serves_other_numbers():
    ours, theirs = FreeBits(0.2, weight=0.5), FreeBits(0.6, weight=2.0)
    given, objective = inputs(ours), ELBO()
    served = objective.step(replace(given, values=theirs.values(3)), parts(ours, objective))
    alone = objective.step(inputs(theirs), parts(theirs, objective))
    assert torch.equal(served.losses[AUTOENCODER], alone.losses[AUTOENCODER])
    assert served.objective() == alone.objective()


def test_numbers_may_be_tensors_with_gradients_and_lanes():
    term, objective = started("annealed"), ELBO()
    given, held = inputs(term), parts(term, objective)

    def loss(weight):
        return objective.step(replace(given, values={"weight": weight}), held).losses[AUTOENCODER]

    weights = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    lanes = torch.func.vmap(loss, randomness="same")(weights)
    assert lanes.tolist() == pytest.approx([loss(weight).item() for weight in weights])
    rate = objective.step(given, held).numbers()["rate"] * B
    assert torch.func.grad(loss)(weights[1]).item() == pytest.approx(rate)


class Deterministic(Autoencoder):
    """x to a point, or to the nearest of two codes, and back."""

    def __init__(self, codes: bool) -> None:
        super().__init__((1, 3, 3), (2,))
        self.encoder = torch.nn.Linear(9, 2, dtype=torch.float64)
        self.decoder = torch.nn.Linear(2, 9, dtype=torch.float64)
        self.codebook = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
        self.codes = codes

    def encode(self, x):
        z = self.encoder(x.flatten(1))
        return Codes.nearest(z, self.codebook) if self.codes else Point(z)

    def decode(self, z):
        return self.decoder(z).view(-1, 1, 3, 3)


@pytest.mark.parametrize(
    ("codes", "names"), [(False, {"distortion"}), (True, {"distortion", "commitment", "codebook"})]
)
def test_without_a_density_there_is_a_loss_and_no_rate(codes, names):
    term, objective = started("annealed"), ELBO()
    held = parts(term, objective, Deterministic(codes))
    result = objective.step(inputs(term), held)
    assert set(result.terms) == {"distortion", *(("commitment", "codebook") if codes else ())}
    assert result.kl_weight is None
    assert result.objective() == pytest.approx(result.losses[AUTOENCODER].item() / B, rel=1e-9)
    result.losses[AUTOENCODER].backward()
    assert held.model.encoder.weight.grad.abs().sum() > 0
    assert (held.model.codebook.grad is not None) == codes


def test_the_loss_of_a_data_set_is_what_is_minimised():
    capacity, free = Capacity(100.0, gamma=1000.0), FreeBits(0.5, weight=2.0)
    kl = torch.tensor([0.1, 0.7, 3.0], dtype=torch.float64)
    # distortion + gamma |rate - capacity|: with the KL weight in effect, -gamma, it would be far below 0
    assert ELBO().average_loss(0, 70.0, 3.8, kl, capacity) == pytest.approx(70 + 1000 * 96.2)
    assert ELBO().average_loss(0, 70.0, 3.8, kl, free) == pytest.approx(70 + 2 * (0.5 + 0.7 + 3.0))
    assert ELBO().average_loss(0, 70.0, 3.8, None, free) is None
    for name in ("beta-tc", "mmd"):  # which compare the examples of a batch
        assert ELBO().average_loss(3, 70.0, 3.8, kl, started(name)) is None
    assert IWAE(3).average_loss(3, 70.0, 3.8, kl, started("annealed")) is None
