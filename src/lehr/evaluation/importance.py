"""The importance-weighted bound on log p(x) (Burda, Grosse & Salakhutdinov 2016, equation 8), example by example.

L_K = E[ln 1/K sum_k w_k] with w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x), so ELBO = L_1 <= L_K <= log p(x).

Shapes: b examples, s samples of z of each; sample k of all examples comes before sample k + 1 of any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood
from lehr.posterior.density import LatentDensity

# noise is drawn in tiles of samples x rows of the data set: a draw for each example would cost more than decoding
_TILE_SAMPLES = 16
_TILE_ROWS = 32
# however small the images: hidden layers may be larger, and those of 512 rows stay in the cache of a core
_MOST_ROWS, _MOST_ROWS_CPU, _ROWS_A_CORE = 20_000, 4096, 512
_VALUES_CPU, _VALUES_GPU = 2**19, 2**24  # of a decoder's output, 2 and 64 MB


@dataclass(frozen=True)
class ImportanceWeighted:
    """What K importance weights say of each example; every tensor is (b,) float64.

    Attributes:
        samples: K.
        bound: L_K in nats, one draw of it: unbiased for L_K, and below log p(x) by about Var(w) / (2 K E[w]^2).
        ess: effective sample size (sum w)^2 / sum w^2, between 1 and K. Near 1 one weight has all the say.
        distortion: mean of -log p(x|z) over the K samples, in nats.
        rate: KL(q(z|x) || p(z)) in nats: exact where it has a closed form, as for p(z) = N(0, I), else the mean of
            log q - log p over the samples.
        curve: L_k for each k that was asked for, from the first k of the same weights; K is the last.
    """

    samples: int
    bound: Tensor
    ess: Tensor
    distortion: Tensor
    rate: Tensor
    curve: dict[int, Tensor]

    @property
    def elbo(self) -> Tensor:
        """(b,) -(distortion + rate)."""
        return -(self.distortion + self.rate)

    @classmethod
    def cat(cls, parts: Sequence[ImportanceWeighted]) -> ImportanceWeighted:
        """The examples of all parts, in their order; all with the same samples."""
        bound, ess, distortion, rate = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("bound", "ess", "distortion", "rate")
        )
        curve = {k: torch.cat([part.curve[k] for part in parts]) for k in parts[0].curve}
        return cls(parts[0].samples, bound, ess, distortion, rate, curve)


@torch.no_grad()
def importance_weighted(
    x: Tensor,
    model: Autoencoder,
    likelihood: Likelihood,
    prior: LatentDensity,
    samples: int | Sequence[int],
    *,
    seed: int = 0,
    start: int = 0,
    max_rows: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> ImportanceWeighted:
    """L_K of each image in `x` (b, c, h, w), in memory that depends neither on b nor on K.

    The noise is a function of (seed, row of the data set, sample), so that neither the batch size nor `max_rows`
    changes a result but by the rounding of the networks. The model should be in evaluation mode.

    Args:
        x: images (b, c, h, w) in [0, 1], on the model's device.
        model: encodes and decodes.
        likelihood: p(x|z).
        prior: p(z). Where it is not exact its `log_prob` is a lower bound, and so L_K remains one.
        samples: K; or several, to have L_k for each of them and all else for the largest.
        seed: of the noise.
        start: the row of the data set that `x` starts at.
        max_rows: how many latents are decoded at once; by default as the size of the images allows.
        advance: told after every few examples how many were done.

    Raises:
        ConfigError: if `samples` or `max_rows` is below 1.
        NoDensity: for posteriors that have none, which no weight can be made of.
    """
    counts = sorted({samples} if isinstance(samples, int) else set(samples))
    limit = _rows_at_once(model, x.device) if max_rows is None else max_rows
    if not counts or counts[0] < 1:
        raise ConfigError(f"iwae_samples={samples}: must be at least 1")
    if limit < 1:
        raise ConfigError(f"max_rows={limit}: must be at least 1")
    rows, step = _chunk(len(x), counts[-1], limit)
    parts = []
    for first in range(0, max(len(x), 1), rows):
        part = x[first : first + rows]
        parts.append(_weigh(part, model, likelihood, prior, counts, step, seed, start + first))
        if advance:
            advance(len(part))
    return ImportanceWeighted.cat(parts)


def _weigh(
    x: Tensor,
    model: Autoencoder,
    likelihood: Likelihood,
    prior: LatentDensity,
    counts: list[int],
    step: int,
    seed: int,
    start: int,
) -> ImportanceWeighted:
    """All samples of a few examples, `step` at a time; sums of weights are kept as logarithms in float64."""
    b = len(x)
    posterior = model.encode(x)
    wide = posterior.to(torch.float64)
    repeated = x.expand(step, *x.shape).reshape(step * b, *x.shape[1:])
    distortion = rate = wide.mean.new_zeros(b)
    log_sum = log_squares = wide.mean.new_full((b,), -torch.inf)
    curve = {}
    for first, last in _pieces(counts, step):
        noise = _noise(seed, first, last, start, start + b, wide.noise_shape, x.device).double()
        z = wide.sample(noise).flatten(0, 1)
        log_px = likelihood.log_prob(repeated[: len(z)], model.decode(z)).double().view(last - first, b)
        log_ratio = wide.log_prob_of_noise(noise) - prior.log_prob(z).double().view(last - first, b)
        log_weight = log_px - log_ratio
        log_sum = torch.logaddexp(log_sum, log_weight.logsumexp(0))
        log_squares = torch.logaddexp(log_squares, (2 * log_weight).logsumexp(0))
        distortion, rate = distortion - log_px.sum(0), rate + log_ratio.sum(0)
        if last in counts:
            curve[last] = log_sum - math.log(last)
    k = counts[-1]
    kl = posterior.kl_to(prior)
    rate = rate / k if kl is None else kl.double()
    return ImportanceWeighted(k, curve[k], (2 * log_sum - log_squares).exp(), distortion / k, rate, curve)


def _pieces(counts: list[int], step: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `step` samples up to the last of `counts`, one of which ends at each of them."""
    cuts = sorted({0, *counts, *range(0, counts[-1], step)})
    return pairwise(cuts)


def _rows_at_once(model: Autoencoder, device: torch.device) -> int:
    values = max(math.prod(model.image_shape), math.prod(model.latent_shape))
    if device.type != "cpu":
        return max(1, min(_MOST_ROWS, _VALUES_GPU // values))
    return max(1, min(_MOST_ROWS_CPU, _ROWS_A_CORE * torch.get_num_threads(), _VALUES_CPU // values))


def _chunk(b: int, samples: int, limit: int) -> tuple[int, int]:
    """How many examples and how many samples of each are decoded at once: whole tiles of noise, where they fit."""
    rows = _whole(max(min(_TILE_ROWS, limit), limit // samples), _TILE_ROWS)
    rows = min(rows, max(b, 1))
    return rows, _whole(min(samples, limit // rows), _TILE_SAMPLES)


def _whole(n: int, size: int) -> int:
    """`n`, or the next number below it that is a multiple of `size`, if there is one."""
    return n - n % size if n > size else n


def _noise(
    seed: int, first: int, last: int, start: int, stop: int, shape: tuple[int, ...], device: torch.device
) -> Tensor:
    """Noise of samples `first <= k < last` of rows `start <= i < stop`: (last - first, stop - start, *shape)."""
    strips = range(first // _TILE_SAMPLES, (last - 1) // _TILE_SAMPLES + 1)
    tiles = range(start // _TILE_ROWS, (max(stop, start + 1) - 1) // _TILE_ROWS + 1)
    size = (_TILE_SAMPLES, _TILE_ROWS, *shape)
    noise = torch.cat(
        [
            torch.cat([randomness.normal(seed, f"importance/{strip}", tile, size, device) for tile in tiles], dim=1)
            for strip in strips
        ]
    )
    top, left = first - strips.start * _TILE_SAMPLES, start - tiles.start * _TILE_ROWS
    return noise[top : top + last - first, left : left + stop - start]
