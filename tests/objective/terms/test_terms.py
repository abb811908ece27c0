"""Terms in the loss: the weighted terms are the loss, LDM's loss is had to the digit, and each begins when it is to."""

from __future__ import annotations

import math

import pytest
import torch

from lehr import randomness
from lehr.compose.components import run_problems
from lehr.compose.composer import Command, composed
from lehr.errors import ConfigError
from lehr.models import Components
from lehr.models.autoencoder import Autoencoder
from lehr.objective import ELBO, IWAE, AnnealedKL, Gaussian, Laplace, StandardNormalPrior
from lehr.objective.step import AUTOENCODER, StepInputs
from lehr.objective.terms import LatentMagnitude, LossTerm, TermResult, TrainingLength, WithTerms
from lehr.objective.terms.balance import of_gradient
from lehr.objective.terms.timing import Onset
from lehr.posterior import DiagonalGaussian

B, SHAPE = 4, (3, 2, 2)


class Small(Autoencoder):
    def __init__(self):
        super().__init__(SHAPE, (2, 1, 1))
        with randomness.seeded(0, "weights"):
            self.encoder = torch.nn.Conv2d(3, 4, 2, dtype=torch.float64)
            self.decoder = torch.nn.ConvTranspose2d(2, 3, 2, dtype=torch.float64)

    def encode(self, x):
        return DiagonalGaussian(*self.encoder(x).chunk(2, dim=1))

    def decode(self, z):
        return self.decoder(z)


class Brightness(LossTerm):
    """Of the mean pixel: compares images, in a way."""

    compares_images = True

    def forward(self, inputs):
        return TermResult((inputs.images - inputs.reconstruction).flatten(1).mean(1).square())


class Player(LossTerm):
    """Brings a network, and remembers what it was weighed against."""

    def __init__(self):
        super().__init__(weight=0.5)
        self.network = torch.nn.Linear(12, 1, dtype=torch.float64)

    @property
    def players(self):
        return {"critic": self.network}

    def forward(self, inputs):
        self.fidelity = inputs.fidelity
        fake = inputs.reconstruction.flatten(1)
        value = torch.func.functional_call(
            self.network, {name: p.detach() for name, p in self.network.named_parameters()}, (fake,)
        )[:, 0]
        loss = (self.network(fake.detach()) - 1).square()[:, 0]
        return TermResult(value, torch.tensor(3.0), {"critic": loss}, {"share": value.detach() * 0 + 0.25})


def step(terms, likelihood=None, weight=1.0, number=3):
    model, term = Small(), AnnealedKL(weight, hold=0, warmup=0)
    prior = StandardNormalPrior(model.latent_shape, model.image_shape).double()
    objective = WithTerms(ELBO(), terms)
    held = Components(model, likelihood or Laplace(0.5), prior, term, objective)
    images = randomness.uniform(0, "x", 0, (B, *SHAPE)).double()
    noise = randomness.normal(0, "noise", 0, (B, 2, 1, 1)).double()
    given = StepInputs(images, lambda shape: noise, term.values(number), number, B, 50, 1, lambda sums: sums)
    return objective.step(given, held), held, images, noise


def test_the_weighted_terms_are_the_loss_of_each_player():
    player = Player()
    result, held, *_ = step({"player": player, "magnitude": LatentMagnitude(weight=0.1), "bright": Brightness(2.0)})
    for name in (AUTOENCODER, "critic"):
        assert result.objective(name) == pytest.approx(result.losses[name].item() / B, rel=1e-6)
    assert float(result.terms["player"].weight) == 1.5
    assert result.numbers()["share"] == 0.25
    assert result.terms["share"].weight is None
    # what compares images comes first, whatever the order, and is part of what others are weighed against
    numbers = result.numbers()
    assert player.fidelity.item() / B == pytest.approx(numbers["distortion"] + 2 * numbers["bright"])
    result.total.backward()
    assert player.network.weight.grad.abs().sum() > 0
    assert held.model.encoder.weight.grad.abs().sum() > 0


def test_the_losses_of_players_do_not_mix():
    alone = step({})[0].losses[AUTOENCODER]
    player = Player()
    result, held, *_ = step({"player": player})
    result.losses["critic"].backward()
    assert held.model.decoder.weight.grad is None
    player.network.weight.grad = None
    (result.losses[AUTOENCODER] - alone.detach()).backward()
    assert player.network.weight.grad is None


@pytest.mark.parametrize(("likelihood", "power"), [(Laplace, 1), (Gaussian, 2)])
@pytest.mark.parametrize("s", [0.0, -1.3])
def test_with_a_term_per_pixel_the_loss_is_that_of_latent_diffusion(likelihood, power, s):
    """sum over pixels of r e^-s + s with r = error of pixels in [-1, 1] + weight * the term (Rombach et al. 2022)."""
    scale = torch.tensor(s).exp().item() / 2 if power == 1 else torch.tensor(s / 2).exp().item() / 8**0.5
    result, held, images, noise = step({"bright": Brightness(0.7, per="pixel")}, likelihood(scale), weight=1e-6)
    q = held.model.encode(images)
    x, y = 2 * images - 1, 2 * held.model.decode(q.sample(noise)) - 1
    term = (images.flatten(1).mean(1) - ((y + 1) / 2).flatten(1).mean(1)).square()
    r = (x - y).abs() ** power + 0.7 * term[:, None, None, None]
    ldm = (r * torch.tensor(-s).exp() + s).flatten(1).sum(1).mean() + 1e-6 * q.kl().mean()
    # -log p of a Laplace has log(2 scale) = s for each pixel; of a Gaussian log(scale sqrt(2 pi)) = s / 2 + a constant
    constant = 0.0 if power == 1 else 12 * (0.5 * torch.log(torch.tensor(2 * torch.pi / 8)).item() - s / 2)
    assert result.losses[AUTOENCODER].item() / B == pytest.approx(ldm.item() + constant, rel=1e-6)


class Absolute(LossTerm):
    """`scale` times the mean of |x - y| over pixels in [-1, 1]."""

    compares_images = True

    def __init__(self, scale, per, weight=0.7):
        super().__init__(weight)
        self.scale, self.per = scale, per

    def forward(self, inputs):
        error = (2 * (inputs.images - inputs.reconstruction)).abs().flatten(1).mean(1)
        return TermResult(self.scale * error)


@pytest.mark.parametrize("likelihood", [Laplace(0.5), Laplace(0.2)])
def test_a_weight_of_the_gradient_is_one_of_the_absolute_error_whatever_the_scale_of_the_term(likelihood):
    def found(scale, per):
        result, held, *_ = step({"own": Absolute(scale, per)}, likelihood)
        result.total.backward()
        return [held.model.encoder.weight.grad, held.model.decoder.weight.grad, result.losses[AUTOENCODER].detach()]

    by_pixel = found(1.0, "pixel")
    for scale in (1.0, 1e3, 1e-3):
        torch.testing.assert_close(found(scale, "gradient"), by_pixel)


def test_a_weight_of_the_gradient_is_of_all_examples_and_0_where_there_is_none():
    y = randomness.uniform(0, "y", 0, (B, *SHAPE)).requires_grad_()
    errors = (y * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(B, 1, 1, 1)).square().flatten(1).sum(1)
    given = StepInputs(y, lambda shape: y, {}, 0, B, 50, 1, lambda sums: sums)
    value, factor = of_gradient(y, errors, given)
    assert torch.equal(value, errors)
    (gradient,) = torch.autograd.grad((factor * value).sum(), y)
    norms = gradient.flatten(1).norm(dim=1)
    assert norms.square().mean().sqrt().item() == pytest.approx(2 * 12**0.5)
    (own,) = torch.autograd.grad((y * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(B, 1, 1, 1)).square().sum(), y)
    torch.testing.assert_close(gradient, factor * own)
    assert of_gradient(y, (0 * y).flatten(1).sum(1), given)[1] == 0


def test_terms_that_are_not_of_the_reconstruction_alone_have_no_such_weight():
    def problems(*words):
        return run_problems(composed(Command("train", None, words))[0].values)

    assert problems("terms=magnitude", "terms.magnitude.per=gradient") == [
        "terms.magnitude.per=gradient: must be 'example' or 'pixel'"
    ]
    words = ["terms=[laplacian,adversarial]", "terms.laplacian.per=gradient", "terms.adversarial.per=gradient"]
    assert problems(*words, "terms.adversarial.adaptive=false") == []
    (line,) = problems(*words)
    assert "adaptive=true and per=gradient: gradients weigh the term; say per=example or adaptive=false" in line


def test_a_learned_scale_is_moved_by_a_term_per_pixel():
    likelihood = Laplace("learned")
    step({"bright": Brightness(1000.0, per="pixel")}, likelihood)[0].losses[AUTOENCODER].backward()
    with_term, likelihood.log_scale.grad = likelihood.log_scale.grad.clone(), None
    step({}, likelihood)[0].losses[AUTOENCODER].backward()
    assert with_term < likelihood.log_scale.grad - 1  # towards a larger scale


LENGTH = TrainingLength(total_steps=40, steps_per_epoch=10, images_per_epoch=95, images_per_step=10)


@pytest.mark.parametrize(
    ("amount", "unit", "steps"),
    [
        (2, "epoch", 20), (7, "step", 7), (0.25, "fraction", 10), (95, "image", 10), (96, "image", 11),
        (91, "image", 10), (60, "image", 6), (61, "image", 7), (200, "image", 21),
    ],
)  # fmt: skip
def test_a_start_is_the_first_step_after_so_much(amount, unit, steps):
    assert LENGTH.in_steps(amount, unit) == steps
    onset = Onset.within(LENGTH, 0.5, amount, 0, unit, "name")
    assert [onset(step) for step in (steps - 1, steps)] == [0.0, 0.5]


def test_a_warmup_ramps_from_the_start():
    onset = Onset.within(LENGTH, 0.5, 10, 10, "step", "name")
    assert [onset(step) for step in (9, 10, 15, 20, 39)] == [0.0, 0.0, 0.25, 0.5, 0.5]
    assert onset.settled == 20


@pytest.mark.parametrize(("amount", "unit"), [(4, "epoch"), (40, "step"), (1, "fraction"), (380, "image")])
def test_a_start_after_the_training_ends_is_refused(amount, unit):
    term = LatentMagnitude(start=amount, unit=unit)
    objective = WithTerms(ELBO(), {"late": term})
    with pytest.raises(ConfigError, match=rf"terms\.late\.start={amount} .*the training ends before that, after"):
        objective.begin(LENGTH)


def test_before_its_start_a_term_is_not_computed():
    term = LatentMagnitude(start=5, unit="step")
    term.begin(LENGTH, "late")
    assert "late" not in step({"late": term}, number=4)[0].terms
    assert "late" in step({"late": term}, number=5)[0].terms


def test_what_cannot_be_together_is_refused():
    with pytest.raises(ConfigError, match="one reconstruction"):
        WithTerms(IWAE(5), {"magnitude": LatentMagnitude()})
    with pytest.raises(ConfigError, match="a player called critic"):
        WithTerms(ELBO(), {"one": Player(), "other": Player()})


def test_a_network_that_is_kept_is_no_part_of_a_checkpoint_and_follows_the_module():
    term = LatentMagnitude()
    term.keep("features", torch.nn.Linear(2, 2))
    objective = WithTerms(ELBO(), {"magnitude": term}).double()
    assert not list(objective.parameters())
    assert not objective.state_dict()
    assert term.features.weight.dtype == torch.float64
    assert not term.features.weight.requires_grad
    objective.bfloat16()  # its features would be too coarse to compare images by
    assert term.features.weight.dtype == torch.float64
    objective.train()
    assert not term.features.training


def test_a_learned_scale_is_settled_where_its_logarithm_is_that_of_error_and_terms_together():
    """r = |x - y| + w p at every pixel value: s -> log of its mean, as sgm learns it."""
    likelihood = Laplace("learned").double()
    terms = {"bright": Brightness(weight=0.7, per="pixel")}

    def slope(s):
        with torch.no_grad():
            likelihood.log_scale.fill_(s - math.log(2))
        likelihood.zero_grad()
        result, held, images, noise = step(terms, likelihood, weight=0.0)
        result.total.backward()
        with torch.no_grad():
            decoded = held.model.decode(held.model.encode(images).sample(noise))
        error = (2 * (images - decoded)).abs().mean() + 0.7 * result.numbers()["bright"]
        return float(likelihood.log_scale.grad), math.log(error)

    _, settled = slope(-1.0)
    below, at, above = (slope(settled + shift)[0] for shift in (-0.1, 0.0, 0.1))
    assert at == pytest.approx(0, abs=1e-5 * B * 12)
    assert below < -1e-2 < 1e-2 < above
