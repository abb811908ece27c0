"""DCI: which latents matter for which factors, by random forests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lehr import randomness
from lehr.evaluation.disentanglement.table import factor_table
from lehr.evaluation.representation import Array, Floats, Integers

_TREES = 10
_DEEPEST = 32


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: 1 where each latent matters for one factor alone, 0 where each matters for all alike.
        completeness: 1 where each factor is in one latent alone, 0 where it is spread over all.
        informativeness: accuracy of predicting a factor from all latents on held-out examples, mean over factors.
        per_factor: that accuracy, by number of factor.
        importance: (d, f), each column sums to 1, or to 0 where no latent says anything.
        excluded_latents: those that do not vary.
        excluded_factors: those with a single value.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    per_factor: dict[int, float]
    importance: Tensor
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]


def dci(codes: Array, factors: Array, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness by random forests. Eastwood & Williams 2018, section 2.

    The importance of a latent for a factor is how much the splits on it lessen the Gini impurity of a forest of 10
    trees that may split on any latent. Deep trees fit noise, and then all latents look important, so the depth is
    chosen for each factor, as in the paper: it starts where a tree can just name all values, and doubles while
    accuracy on a fifth of the examples rises by more than its standard error. Another fifth gives informativeness.
    disentanglement_lib boosts trees of depth 3 instead: the scores are alike, not equal.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or fewer than two factors vary.
    """
    table = factor_table(codes, factors)
    (x, y), (choice_x, choice_y), (held_out_x, held_out_y) = table.parts(seed, 0.6, 0.2, 0.2)
    importance = np.empty((x.shape[1], y.shape[1]))
    accuracy = np.empty(y.shape[1])
    for j in range(y.shape[1]):
        # one factor's forest does not depend on which others there are
        state = randomness.generator(seed, "disentanglement/forest", table.names[j]).initial_seed() & 0x7FFFFFFF
        forest = _forest(x, y[:, j], choice_x, choice_y[:, j], state)
        importance[:, j] = forest.feature_importances_
        accuracy[j] = forest.score(held_out_x, held_out_y[:, j])
    return DCI(
        disentanglement=_concentration(importance),
        completeness=_concentration(importance.T),
        informativeness=float(accuracy.mean()),
        per_factor=table.by_name(accuracy),
        importance=torch.from_numpy(importance),
        excluded_latents=table.excluded_latents,
        excluded_factors=table.excluded_factors,
    )


def _forest(x: Floats, y: Integers, choice_x: Floats, choice_y: Integers, state: int) -> Any:
    """The random forest of the shallowest depth from which doubling it does not help."""
    from sklearn.ensemble import RandomForestClassifier

    def grow(depth: int) -> tuple[Any, float]:
        forest = RandomForestClassifier(_TREES, max_depth=depth, max_features=None, random_state=state).fit(x, y)
        return forest, forest.score(choice_x, choice_y)

    depth = max(1, math.ceil(math.log2(len(np.unique(y)))))
    best, accuracy = grow(depth)
    while 2 * depth <= _DEEPEST:
        depth *= 2
        deeper, deeper_accuracy = grow(depth)
        if deeper_accuracy - accuracy <= math.sqrt(deeper_accuracy * (1 - deeper_accuracy) / len(choice_y)):
            break
        best, accuracy = deeper, deeper_accuracy
    return best


def _concentration(importance: Floats) -> float:
    """1 less the entropy of each row over that of all alike, mean weighted by the sums of the rows; 0 if all are 0."""
    sums = importance.sum(1, keepdims=True)
    total = float(sums.sum())
    if total == 0:
        return 0.0
    shares = np.divide(importance, sums, out=np.zeros_like(importance), where=sums > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    # a row of one entry has entropy 0, over whatever
    entropy = -(shares * logs).sum(1) / math.log(max(2, importance.shape[1]))
    return float(np.sum((1 - entropy) * sums[:, 0]) / total)
