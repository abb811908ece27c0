"""MIG and SAP: by how much one latent says more of a factor than the next best."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lehr.evaluation.disentanglement.table import factor_table
from lehr.evaluation.representation import Array, Floats, Integers

BINS = 20
"""Intervals of equal width that a latent is cut into for mutual information."""


@dataclass(frozen=True)
class MIG:
    """Mutual information gap.

    Attributes:
        per_factor: the gap between the two most informative latents over the entropy of the factor, 0 to 1.
        mutual_information: (d, f) nats.
        excluded_latents: those that do not vary.
        excluded_factors: those with a single value.
    """

    per_factor: dict[int, float]
    mutual_information: Tensor
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]

    @property
    def score(self) -> float:
        """Mean over the factors."""
        return fmean(self.per_factor.values())


@dataclass(frozen=True)
class SAP:
    """Separated attribute predictability.

    Attributes:
        per_factor: the gap in balanced accuracy between the two latents that predict the factor best.
        balanced_accuracy: (d, f), of predicting each factor from one latent.
        perfect: the score of codes that are the factors: the second-best latent still guesses one value of k right,
            so it is the mean of 1 - 1/k.
        excluded_latents: those that do not vary.
        excluded_factors: those with a single value.
    """

    per_factor: dict[int, float]
    balanced_accuracy: Tensor
    perfect: float
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]

    @property
    def score(self) -> float:
        """Mean over the factors."""
        return fmean(self.per_factor.values())


def _gap(scores: Floats, floor: Floats | float) -> Floats:
    """Of the scores (d, f) of each factor the best less the second; a single latent competes with `floor` (f,)."""
    if len(scores) == 1:
        scores = np.vstack([scores, np.broadcast_to(floor, scores.shape)])
    second, best = np.sort(scores, axis=0)[-2:]
    return best - second


def mig(codes: Array, factors: Array) -> MIG:
    """Mutual information gap of the latents, each cut into 20 bins of equal width. Chen et al. 2018, equation 6.

    The estimate is that of the counts: for latents that say nothing it is about (bins - 1)(k - 1) / 2n nats, not 0,
    which the gap takes out. A factor of more than 20 values cannot reach 1.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or fewer than two factors vary.
    """
    table = factor_table(codes, factors)
    information = np.array(
        [
            [_mutual_information(bins, values) for values in table.factors.T]
            for bins in (_binned(latent) for latent in table.codes.T)
        ]
    )
    entropy = np.array([_mutual_information(values, values) for values in table.factors.T])
    return MIG(
        table.by_name(_gap(information, 0.0) / entropy),
        torch.from_numpy(information),
        table.excluded_latents,
        table.excluded_factors,
    )


def _binned(latent: Floats) -> Integers:
    """In which of 20 bins of equal width from the least to the greatest value each code (n,) lies."""
    edges = np.histogram_bin_edges(latent, BINS)
    return np.digitize(latent, edges[:-1]) - 1


def _mutual_information(a: Integers, b: Integers) -> float:
    """Of two variables with whole values >= 0, each (n,), from their joint counts, in nats."""
    width = int(b.max()) + 1
    joint = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width) / len(a)
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / product[seen])))


def sap(codes: Array, factors: Array, seed: int = 0) -> SAP:
    """Separated attribute predictability by thresholds. Kumar, Sattigeri & Balakrishnan 2018, section 3.

    A factor of k values is predicted from one latent by k - 1 thresholds, which is the paper's way for factors that
    are categories: a decision tree with k leaves and values of equal weight, fitted on two thirds of the examples; the
    balanced accuracy (mean over the values) is that on the last third. disentanglement_lib has linear machines, one
    value against the rest, in its place: they depend on the latent's scale, and of a latent that is a factor of 6
    values they find 4. So the two scores do not compare.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or fewer than two factors vary.
    """
    table = factor_table(codes, factors)
    (x, y), (held_out_x, held_out_y) = table.parts(seed, 2 / 3, 1 / 3)
    accuracy = np.empty((x.shape[1], y.shape[1]))
    for i, j in np.ndindex(*accuracy.shape):
        tree = _thresholds(x[:, [i]], y[:, j])
        accuracy[i, j] = _balanced_accuracy(tree.predict(held_out_x[:, [i]]), held_out_y[:, j])
    chance = 1 / table.sizes()
    return SAP(
        table.by_name(_gap(accuracy, chance)),
        torch.from_numpy(accuracy),
        float(np.mean(1 - chance)),
        table.excluded_latents,
        table.excluded_factors,
    )


def _thresholds(x: Floats, y: Integers) -> Any:
    """A decision tree that cuts the latent (n, 1) into as many intervals as there are values."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=max(2, len(np.unique(y))), class_weight="balanced", random_state=0)
    return tree.fit(x, y)


def _balanced_accuracy(predicted: Integers, values: Integers) -> float:
    """The share that is predicted right of each value that occurs, mean over values."""
    counts = np.bincount(values)
    right = np.bincount(values, weights=predicted == values)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))
