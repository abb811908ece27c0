"""The second stage of a two-stage VAE: a VAE on the latents of a VAE (Dai & Wipf 2019, section 4).

Its data are z ~ q(z|x), drawn afresh at each presentation; it has as many latents u as z has, and a Gaussian decoder
with one learned scale gamma. Sampling is u ~ N(0, I), z ~ N(decoder(u), gamma^2 I). The latents are standardised
first by the mean and the standard deviation of q(z).

Shapes: n examples or latents, b batch, d numbers in a latent z (and in u), K importance samples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lehr import randomness
from lehr.errors import ConfigError, NonFiniteLoss
from lehr.models.vae import VAE, glorot
from lehr.objective.bounds import LogWeights
from lehr.objective.elbo import elbo_terms
from lehr.objective.likelihood import Gaussian
from lehr.posterior.aggregate import AggregatePosterior, element_moments
from lehr.posterior.density import LatentDensity, StandardNormal
from lehr.posterior.posterior import Posterior, at_least_float32
from lehr.samplers.sampler import FittedDensity, FittedSampler, Report

HIDDEN = (256, 256, 256)
IMPORTANCE_SAMPLES = 64
MAX_LATENTS = 4096
_ROWS = 16_384  # pairs of a latent and an importance sample that are decoded at once
_HELD_OUT = 10  # one example in so many
_SCALE = 0.5  # the scale of the decoder before training
_LOOKS = 10  # how often the held-out bound is looked at


class _Beside(nn.Module):
    """Hidden layers, then a linear layer that sees their input beside their output: (b, d) to (b, o).

    So are the networks of Dai & Wipf's second stage. Before training it is `slope` times the input, followed by
    zeros where o > d.
    """

    def __init__(self, d: int, hidden: Sequence[int], o: int) -> None:
        super().__init__()
        self.d = d
        sizes = [d, *hidden]
        self.hidden = nn.Sequential(*(layer for i, j in pairwise(sizes) for layer in (nn.Linear(i, j), nn.ReLU())))
        self.out = nn.Linear(d + sizes[-1], o)

    @torch.no_grad()
    def start_linear(self, slope: float) -> None:
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.out.weight[: self.d, : self.d] = slope * torch.eye(self.d)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([x, self.hidden(x)], 1))


class TwoStage(LatentDensity):
    """The density of a second-stage VAE: of N(mean, diag(std^2)) before it is trained.

    Args:
        mean: (d,) of q(z), float64, on the device it is to be on.
        std: (d,) of q(z), float64.
        latent_shape: (d,) or (zc, zh, zw).
        hidden: sizes of the encoder's hidden layers; the decoder has them in reverse.
        seed: of the first weights.
        importance_samples: K of the bound that `log_prob` is.

    Attributes:
        model: on standardised latents, as images of (1, 1, d).
        likelihood: of them, Gaussian with one learned scale.
    """

    exact = False

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        latent_shape: tuple[int, ...],
        hidden: Sequence[int] = HIDDEN,
        seed: int = 0,
        importance_samples: int = IMPORTANCE_SAMPLES,
    ) -> None:
        super().__init__(latent_shape)
        self.mean = mean
        self.std = std
        self.hidden = tuple(hidden)
        self.importance_samples = importance_samples
        d = mean.numel()
        with randomness.seeded(seed, "two_stage/weights"):
            encoder, decoder = _Beside(d, self.hidden, 2 * d), _Beside(d, self.hidden[::-1], d)
            model = VAE(
                nn.Sequential(nn.Flatten(), encoder),
                nn.Sequential(decoder, nn.Unflatten(1, (1, 1, d))),
                (1, 1, d),
                (d,),
            ).apply(glorot)
        # Probabilistic PCA of N(0, I): z = slope u + scale e has variance 1, and q(u|z) = N(slope z, scale^2 I). From
        # a scale of 1, where u says nothing of z, training would not get away.
        slope = math.sqrt(1 - _SCALE**2)
        encoder.start_linear(slope)
        decoder.start_linear(slope)
        likelihood = Gaussian("learned")
        with torch.no_grad():
            encoder.out.bias[d:] = 2 * math.log(_SCALE)
            likelihood.log_scale.fill_(math.log(_SCALE))
        self.model = model.float().to(mean.device)
        self.likelihood = likelihood.to(mean.device)

    @property
    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"model": self.model, "likelihood": self.likelihood})

    def tensors(self) -> dict[str, Tensor]:
        """All that `from_tensors` builds the same density from."""
        return {
            "mean": self.mean,
            "std": self.std,
            "hidden": torch.tensor(self.hidden),
            "importance_samples": torch.tensor(self.importance_samples),
            **self.modules.state_dict(),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> TwoStage:
        weights = dict(tensors)
        mean, std = weights.pop("mean"), weights.pop("std")
        hidden, samples = weights.pop("hidden").tolist(), int(weights.pop("importance_samples"))
        density = cls(mean, std, latent_shape, hidden, importance_samples=samples)
        density.modules.requires_grad_(False).load_state_dict(weights)
        return density

    @property
    def scale(self) -> float:
        """gamma, the standard deviation of the decoder, in units of `std`."""
        # log N(0; 0, gamma^2) = -log gamma - log(2 pi) / 2, within the bounds that the likelihood keeps it in
        zero = next(self.model.parameters()).new_zeros(1, 1, 1, 1)
        with torch.no_grad():
            return math.exp(-float(self.likelihood.log_prob(zero, zero)) - 0.5 * math.log(2 * math.pi))

    def log_prob(self, z: Tensor) -> Tensor:
        """The importance-weighted lower bound on log p(z) with K samples (Burda et al. 2016, equation 8): (n,).

        Its noise is a function of the row of `z`.
        """
        x = ((z.flatten(1).to(self.mean.device) - self.mean) / self.std).float()
        rows = max(1, _ROWS // self.importance_samples)
        starts = range(0, max(len(x), 1), rows)
        bounds = torch.cat([self._bound(x[start : start + rows], start) for start in starts])
        return (bounds - self.std.log().sum()).to(z.device, at_least_float32(z).dtype)

    def _bound(self, x: Tensor, start: int) -> Tensor:
        """(b,) for standardised latents (b, d), which are rows `start`.. of their set."""
        k, d = self.importance_samples, x.shape[1]
        x = x.view(-1, 1, 1, d)
        noise = randomness.rows("normal", 0, "two_stage/log_prob", start, start + len(x), (k, d), x.device)
        posterior = self.model.encode(x)
        u = posterior.with_sample_dim().sample(noise)
        weights = LogWeights.of(x, posterior, u, self.model, self.likelihood, StandardNormal((d,)))
        return (weights.log_likelihood - weights.log_ratio).double().logsumexp(1) - math.log(k)

    @torch.no_grad()
    def sample(
        self, n: int, seed: int, device: torch.device | str = "cpu", stream: str = "sample", counter: int = 0
    ) -> Tensor:
        """u ~ N(0, I), then z ~ N(decoder(u), gamma^2 I)."""
        d = self.mean.numel()
        home = self.mean.device
        u, noise = (randomness.normal(seed, s, counter, (n, d), device).to(home) for s in (stream, f"{stream}/noise"))
        white = torch.cat([self.model.decode(part) for part in u.split(_ROWS)]).flatten(1) + self.scale * noise
        return (self.mean + self.std * white).float().view(n, *self.latent_shape).to(device)


class TwoStageSampler(FittedSampler[TwoStage]):
    """A second VAE on the latents."""

    def _fit(self, latents: Posterior, seed: int, progress: Report | None) -> FittedDensity[TwoStage]:
        return fit_two_stage(latents, seed, progress=progress)

    def _tensors(self, density: TwoStage) -> dict[str, Tensor]:
        return density.tensors()

    def _density(self, tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> TwoStage:
        if tensors["mean"].shape != (math.prod(latent_shape),):
            raise ValueError("its tensors do not belong together")
        return TwoStage.from_tensors(tensors, latent_shape)

    def _description(self, density: TwoStage) -> dict[str, Any]:
        return {
            "hidden": density.hidden,
            "scale": density.scale,
            "importance_samples": density.importance_samples,
        }


def fit_two_stage(
    latents: Posterior,
    seed: int = 0,
    hidden: Sequence[int] = HIDDEN,
    steps: int = 6000,
    epochs: int = 100,
    batch_size: int = 256,
    lr: float = 5e-4,
    progress: Report | None = None,
) -> FittedDensity[TwoStage]:
    """A second-stage VAE for the posteriors `latents` (n, *latent) of the training examples, a function of `seed`.

    Adam, the learning rate falling to 0 along a cosine. A tenth of the examples is held out; the weights are those
    of the best bound on them.

    Args:
        latents: q(z|x) of each training example.
        seed: of the weights, the noise and the order.
        hidden: sizes of the encoder's hidden layers; the decoder has them in reverse. Dai & Wipf have 3 of 1024.
        steps: of the optimiser, at most.
        epochs: passes through the examples, at most.
        batch_size: examples a step.
        lr: the first learning rate.
        progress: told in a few words what has been done.

    Returns:
        The density, with the held-out bound (of one importance sample) after each of the steps that were looked at.

    Raises:
        ConfigError: for more latents than can be fitted, some that do not vary, or too few examples.
        NonFiniteLoss: if the loss turns NaN or infinite.
    """
    n, *shape = latents.mean.shape
    d, held = math.prod(shape), n // _HELD_OUT
    if d > MAX_LATENTS:
        raise ConfigError(
            f"samplers=two_stage: {d} latents are too many, at most {MAX_LATENTS} can be fitted; leave it out"
        )
    if held < 1:
        raise ConfigError(f"samplers=two_stage: {n} training examples are too few, at least {_HELD_OUT} are needed")
    # an evaluation may run in inference mode, whose tensors cannot be trained on
    with torch.inference_mode(False), torch.enable_grad():
        q = latents.flat().clone()
        aggregate = AggregatePosterior.from_moments(element_moments(q), (d,))
        mean, std = aggregate.mean, aggregate.var.sqrt()
        if still := int((std == 0).sum()):
            raise ConfigError(f"samplers=two_stage: {still} of {d} latents do not vary; leave it out")
        white = q.standardised(mean, std).to(torch.float32)
        density = TwoStage(mean, std, tuple(shape), hidden, seed)
        order = randomness.permutation(seed, "two_stage/held_out", 0, n).to(mean.device)
        train, val = white[order[held:]], white[order[:held]]
        steps = min(steps, epochs * -(-len(train) // batch_size))
        bounds = _train(density, train, val, seed, steps, batch_size, lr, progress)
    return FittedDensity(density, bounds, max(bounds, key=lambda step: bounds[step]))


def _train(
    density: TwoStage,
    train: Posterior,
    val: Posterior,
    seed: int,
    steps: int,
    batch_size: int,
    lr: float,
    progress: Report | None,
) -> dict[int, float]:
    """Train on standardised posteriors (n, d), leave the best weights, and return the held-out bounds by step."""
    modules = density.modules
    optimizer = torch.optim.Adam(modules.parameters(), lr=lr, fused=True)
    looks = {round(steps * i / _LOOKS) for i in range(_LOOKS + 1)}
    per_epoch = -(-len(train) // batch_size)
    bounds: dict[int, float] = {}
    for step in range(steps + 1):
        if step in looks:  # before the first step too: it is to be no worse than the normal it starts from
            bounds[step] = _held_out(density, val, seed)
            if not math.isfinite(bounds[step]):
                raise NonFiniteLoss(f"samplers=two_stage: the loss turned NaN or infinite within {step} steps")
            if bounds[step] == max(bounds.values()):
                best = copy.deepcopy(modules.state_dict())
            if progress:
                progress(f"two-stage VAE, step {step} of {steps}: {bounds[step]:.3f} nats per held-out latent or more")
        if step == steps:
            break
        epoch, position = divmod(step, per_epoch)
        if position == 0:
            order = randomness.permutation(seed, "two_stage/order", epoch, len(train)).to(train.mean.device)
        rows = order[position * batch_size : (position + 1) * batch_size]
        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = -_elbo(density, train[rows], seed, "train", step).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    modules.requires_grad_(False).load_state_dict(best)
    return bounds


def _held_out(density: TwoStage, val: Posterior, seed: int) -> float:
    """The mean ELBO of standardised posteriors (n, d), as a bound on the density of the latents themselves."""
    with torch.no_grad():
        return float(_elbo(density, val, seed, "held_out", 0).double().mean() - density.std.log().sum())


def _elbo(density: TwoStage, q: Posterior, seed: int, part: str, counter: int) -> Tensor:
    """(b,) the ELBO of standardised latents drawn from `q` (b, d), with one sample of each."""
    (d,), device = q.latent_shape, q.mean.device
    e = randomness.normal(seed, f"two_stage/{part}/z", counter, (len(q), *q.noise_shape), device)
    f = randomness.normal(seed, f"two_stage/{part}/u", counter, (len(q), d), device)
    x = q.sample(e).view(-1, 1, 1, d)
    posterior, parameters = density.model(x, f)
    return elbo_terms(x, posterior, parameters, density.likelihood).elbo
