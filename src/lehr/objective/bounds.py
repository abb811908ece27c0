"""What is maximised in training: the ELBO, or the importance-weighted bound (the `objective` group).

Shapes: b examples of this rank, k samples of z for each, `*latent` (d,) or (zc, zh, zw), c h w image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from lehr.limits import PositiveInt, check_word
from lehr.needs import DENSITY, RATE, Need
from lehr.objective.elbo import Terms, elbo_terms
from lehr.objective.likelihood import Likelihood
from lehr.objective.rate import RateInputs, RateTerm
from lehr.objective.step import AUTOENCODER, EncoderDecoder, Parts, StepInputs, StepResult, Term
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior

if TYPE_CHECKING:
    from lehr.objective.terms.term import PlayerOptions
    from lehr.objective.terms.timing import TrainingLength

Gradient = Literal["dreg", "standard"]


@dataclass(frozen=True)
class Draw:
    """A batch, sampled and decoded.

    Attributes:
        z: (b, *latent), the first sample of each.
        distortion: (b,) -log p(x|z) in nats, averaged over the samples.
        terms: of the ELBO, averaged over the samples; None for a posterior that has no density.
        weights: what the importance-weighted bound is made of; None for the ELBO.
        parameters: (b, c, h, w) what `z` is decoded to; None where there are several samples.
    """

    z: Tensor
    distortion: Tensor
    terms: Terms | None
    weights: LogWeights | None = None
    parameters: Tensor | None = None


@dataclass(frozen=True)
class LogWeights:
    """log w = log p(x|z) + log p(z) - log q(z|x) of k samples an example.

    Attributes:
        z: (b, k, *latent)
        log_likelihood: (b, k) log p(x|z)
        log_ratio: (b, k) log q(z|x) - log p(z)
    """

    z: Tensor
    log_likelihood: Tensor
    log_ratio: Tensor

    @classmethod
    def of(
        cls, x: Tensor, q: Posterior, z: Tensor, model: EncoderDecoder, likelihood: Likelihood, prior: LatentDensity
    ) -> LogWeights:
        """At z (b, k, *latent), decoded all at once."""
        b, k = z.shape[:2]
        flat = z.flatten(0, 1)
        images = x.repeat_interleave(k, 0)
        log_likelihood = likelihood.log_prob(images, model.decode(flat))
        log_ratio = q.repeat_interleave(k).log_prob(flat) - prior.log_prob(flat)
        return cls(z, log_likelihood.view(b, k), log_ratio.view(b, k))

    def terms(self, posterior: Posterior, prior: LatentDensity) -> Terms:
        """The terms of the ELBO (b,), averaged over the samples; the rate is exact where it has a closed form."""
        exact = posterior.kl_to(prior)
        return Terms(-self.log_likelihood.mean(1), self.log_ratio.mean(1) if exact is None else exact)


class Objective(nn.Module):
    """Says how many samples of z an example gets, and what becomes of them: the losses that are minimised.

    A subclass may hold networks of other players, such as a discriminator, as submodules that it names in `players`.

    Args:
        samples: k >= 1.
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    provides: ClassVar[tuple[Need, ...]] = ()

    def __init__(self, samples: int) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"objective.samples={samples}: must be at least 1")
        self.samples = samples

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The networks, by player, that are trained on losses of their own, beside the autoencoder."""
        return {}

    @property
    def player_options(self) -> Mapping[str, PlayerOptions]:
        """How `players` are trained of which nothing else says it."""
        return {}

    def begin(self, length: TrainingLength) -> None:
        """Called before training.

        Raises:
            ConfigError: if something that is scheduled would not happen within it.
        """

    def compile_networks(self) -> None:
        """torch.compile the networks of the other players."""

    @property
    def settled(self) -> int:
        """The first optimiser step from which on nothing is scheduled any more."""
        return 0

    def noise_shape(self, posterior: Posterior) -> tuple[int, ...]:
        """The noise that `draw` wants for one example: (*latent) for one sample, (k, *latent) for several."""
        one = self.samples == 1 or not posterior.has_density
        return posterior.noise_shape if one else (self.samples, *posterior.noise_shape)

    def draw(self, x: Tensor, posterior: Posterior, noise: Tensor, parts: Parts, prior: LatentDensity) -> Draw:
        """Sample the `posterior` of images (b, c, h, w) with `noise` (b, *noise_shape) and decode."""
        raise NotImplementedError

    def step(self, inputs: StepInputs, parts: Parts) -> StepResult:
        """The loss of each player for a batch, and what it is made of. Called once a batch, on each rank."""
        posterior = parts.model.encode(inputs.images)
        prior = parts.prior.density(parts.model.encode)
        noise = inputs.noise(self.noise_shape(posterior))
        draw = self.draw(inputs.images, posterior, noise, parts, prior)
        return self.losses(inputs, posterior, draw, parts)

    def losses(self, inputs: StepInputs, posterior: Posterior, draw: Draw, parts: Parts) -> StepResult:
        """What becomes of a batch that has been encoded, sampled and decoded."""
        raise NotImplementedError

    def average_loss(
        self, step: int, distortion: float, rate: float, kl: Tensor | None, rate_term: RateTerm
    ) -> float | None:
        """The loss of a data set at the values of optimiser step `step`, in nats per example.

        None where it does not follow from averages over the data set: see `RateTerm.average_cost`.
        """
        return None


class ELBO(Objective):
    """The evidence lower bound, estimated by the mean over k samples of z (Kingma & Welling 2014, equation 7).

    Args:
        samples: k.
    """

    provides = (RATE,)

    def __init__(self, samples: PositiveInt = 1) -> None:
        super().__init__(samples)

    def draw(self, x: Tensor, posterior: Posterior, noise: Tensor, parts: Parts, prior: LatentDensity) -> Draw:
        if self.samples == 1 or not posterior.has_density:  # of which all samples are the same
            z = posterior.sample(noise)
            parameters = parts.model.decode(z)
            if not posterior.has_density:
                return Draw(z, -parts.likelihood.log_prob(x, parameters), None, parameters=parameters)
            terms = elbo_terms(x, posterior, parameters, parts.likelihood, z, prior)
            return Draw(z, terms.distortion, terms, parameters=parameters)
        z = posterior.with_sample_dim().sample(noise)
        weights = LogWeights.of(x, posterior, z, parts.model, parts.likelihood, prior)
        terms = weights.terms(posterior, prior)
        return Draw(z[:, 0], terms.distortion, terms)

    def losses(self, inputs: StepInputs, posterior: Posterior, draw: Draw, parts: Parts) -> StepResult:
        if draw.terms is None:  # without a density there is no rate to weigh
            loss = draw.distortion.sum()
            result = StepResult({AUTOENCODER: loss}, {"distortion": Term()}, inputs.mean(loss[None]), None, posterior)
        else:
            result = _with_rate(inputs, posterior, draw.z, draw.terms, parts.rate_term)
        charges = posterior.charges()
        return _charged(result, charges, inputs) if charges else result

    def average_loss(
        self, step: int, distortion: float, rate: float, kl: Tensor | None, rate_term: RateTerm
    ) -> float | None:
        cost = rate_term.average_cost(step, rate, kl)
        return None if cost is None else distortion + cost


def _with_rate(inputs: StepInputs, posterior: Posterior, z: Tensor, terms: Terms, rate_term: RateTerm) -> StepResult:
    """distortion + the cost of the rate."""
    distortion = terms.distortion.sum()
    values = inputs.mean(torch.stack([distortion.detach(), terms.rate.detach().sum()]))
    rate_inputs = RateInputs(
        inputs.step, posterior, z, terms, values, inputs.total, inputs.n_train, inputs.sum_over_ranks, inputs.of_step
    )
    cost = rate_term(rate_inputs, inputs.values)
    named = {"distortion": Term(), "rate": Term(cost.kl_weight)}
    if cost.others:
        named |= {name: Term(part.weight, part.unit) for name, part in cost.others.items()}
        values = torch.cat([values, torch.stack([part.value.to(values) for part in cost.others.values()])])
    return StepResult({AUTOENCODER: distortion + cost.value}, named, values, cost.kl_weight, posterior)


def _charged(result: StepResult, charges: Mapping[str, Tensor], inputs: StepInputs) -> StepResult:
    """The result with what the kind of posterior charges, such as a commitment loss, added to the loss as it is."""
    sums = torch.stack([charge.sum() for charge in charges.values()])
    return replace(
        result,
        losses={**result.losses, AUTOENCODER: result.losses[AUTOENCODER] + sums.sum()},
        terms={**result.terms, **{name: Term(unit="squared latent units per example") for name in charges}},
        values=torch.cat([result.values, inputs.mean(sums).to(result.values)]),
    )


class IWAE(Objective):
    """The importance-weighted bound log 1/k sum_i p(x, z_i) / q(z_i|x) (Burda et al. 2016, equation 8).

    With a KL weight w other than 1 the weights are p(x|z) (p(z) / q(z|x))^w, so that annealing works as for the ELBO.

    Args:
        samples: k.
        gradient: "dreg", the doubly reparameterised gradient of the encoder (Tucker et al. 2019, equation 8), whose
            signal does not vanish as k grows (Rainforth et al. 2018), or "standard", that of Burda et al. The
            gradient of the decoder is the same.
    """

    needs = (DENSITY,)

    def __init__(self, samples: PositiveInt = 50, gradient: Gradient = "dreg") -> None:
        super().__init__(samples)
        check_word("objective.gradient", gradient, Gradient)
        self.gradient = gradient

    def noise_shape(self, posterior: Posterior) -> tuple[int, ...]:
        return (self.samples, *posterior.noise_shape)

    def draw(self, x: Tensor, posterior: Posterior, noise: Tensor, parts: Parts, prior: LatentDensity) -> Draw:
        z = posterior.with_sample_dim().sample(noise)
        # of the doubly reparameterised gradient z alone leads back to the encoder
        q = posterior.detach() if self.gradient == "dreg" else posterior
        weights = LogWeights.of(x, q, z, parts.model, parts.likelihood, prior)
        with torch.no_grad():
            terms = weights.terms(posterior, prior)
        return Draw(z[:, 0], terms.distortion, terms, weights)

    def losses(self, inputs: StepInputs, posterior: Posterior, draw: Draw, parts: Parts) -> StepResult:
        assert draw.weights is not None
        assert draw.terms is not None
        weight = inputs.values["weight"]
        loss = self.bound_loss(draw.weights, weight)
        sums = torch.stack([draw.terms.distortion.sum(), draw.terms.rate.sum(), -loss.detach()])
        terms = {"distortion": Term(None), "rate": Term(None), "iwae": Term(-1.0)}
        return StepResult({AUTOENCODER: loss}, terms, inputs.mean(sums), weight, posterior)

    def bound_loss(self, weights: LogWeights, kl_weight: float | Tensor) -> Tensor:
        """-bound in nats, the sum over examples: a scalar whose gradient is the one that was asked for.

        To be called once, and before the backward pass.
        """
        log_w = weights.log_likelihood - kl_weight * weights.log_ratio
        bound = (log_w.logsumexp(1) - math.log(self.samples)).sum()
        if self.gradient == "standard":
            return -bound
        share = log_w.detach().softmax(1)
        if weights.z.requires_grad:
            # the decoder's gradient has each sample's share once, that of z, and so of the encoder, twice; the second
            # stands for the score of q, which is in the weights with the KL weight as its factor
            again = (1 - kl_weight + kl_weight * share).view(*share.shape, *[1] * (weights.z.ndim - 2))
            weights.z.register_hook(lambda gradient: gradient * again.to(gradient))
        surrogate = (share * log_w).sum()
        return -(surrogate + (bound - surrogate).detach())
