"""The FactorVAE score: a vote on which latent varies least where a factor is held fixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lehr import randomness
from lehr.evaluation.disentanglement.table import factor_table
from lehr.evaluation.representation import Array, Floats, Integers

PRUNED = 0.05
"""Standard deviation below which the FactorVAE score counts a latent as collapsed."""

_BATCH = 64  # examples that share the value of a factor
_VOTES = (10_000, 5_000)  # to fit on and to score on
_VOTES_AT_ONCE = 256


@dataclass(frozen=True)
class FactorVAEScore:
    """How often the latent that varies least tells which factor was held fixed.

    Attributes:
        score: accuracy on votes that the classifier was not fitted on; 0 where all latents are collapsed.
        chance: 1 / f, the score of latents that say nothing.
        votes: (d, f) int64, the votes that the classifier was fitted on.
        pruned_latents: those with a standard deviation below `PRUNED`.
        excluded_factors: those with a single value.
    """

    score: float
    chance: float
    votes: Tensor
    pruned_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]


def factor_vae_score(codes: Array, factors: Array, seed: int = 0) -> FactorVAEScore:
    """The metric of Kim & Mnih 2018, section 4: a majority vote on which latent varies least.

    A vote holds one factor fixed, at the value of a random example, and draws 64 of the examples that share it, with
    replacement. The latent whose variance among them, relative to that of all examples, is the least is given to the
    factor. Each latent then stands for the factor that it was given to most often in 10,000 votes, and the score is
    how often that is right in 5,000 others. Latents with a deviation below 0.05 over all examples do not vote, as in
    the study of Locatello et al. 2019. Factors take part equally often. Where others depend on the fixed factor in the
    data, the score measures that too.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or fewer than two factors vary.
    """
    table = factor_table(codes, factors)
    deviation = table.codes.std(0, ddof=1)
    active = np.flatnonzero(deviation >= PRUNED)
    d, f = len(deviation), len(table.names)
    votes, held_out = np.zeros((d, f), dtype=np.int64), np.zeros((d, f), dtype=np.int64)
    scaled = table.codes[:, active] / deviation[active]
    for j in range(f if len(active) else 0):
        for counts, n, part in zip((votes, held_out), _VOTES, ("fit", "score"), strict=True):
            stream = f"disentanglement/votes/{part}/{table.names[j]}"
            least = np.concatenate(list(_least_varying(scaled, table.factors[:, j], n // f, seed, stream)))
            counts[:, j] = np.bincount(active[least], minlength=d)
    right = held_out[np.arange(d), votes.argmax(1)].sum()
    return FactorVAEScore(
        score=float(right / max(1, held_out.sum())),
        chance=1 / f,
        votes=torch.from_numpy(votes),
        pruned_latents=tuple(np.flatnonzero(deviation < PRUNED).tolist()),
        excluded_factors=table.excluded_factors,
    )


def _least_varying(codes: Floats, values: Integers, n: int, seed: int, stream: str) -> Iterator[npt.NDArray]:
    """For n draws of 64 examples with one value of a factor (n examples,), which latent varies least, in pieces."""
    order, counts = np.argsort(values, kind="stable"), np.bincount(values)
    starts = np.cumsum(counts) - counts
    # an example that is alone with its value has no variance to show
    shared = values[counts[values] > 1]
    for piece, first in enumerate(range(0, n, _VOTES_AT_ONCE)):
        m = min(_VOTES_AT_ONCE, n - first)
        noise = randomness.uniform(seed, stream, piece, (m, 1 + _BATCH)).double().numpy()
        fixed = shared[(noise[:, 0] * len(shared)).astype(np.int64)]
        rows = order[starts[fixed, None] + (noise[:, 1:] * counts[fixed, None]).astype(np.int64)]
        yield codes[rows].var(1).argmin(1)
