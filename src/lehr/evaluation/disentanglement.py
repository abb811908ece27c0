"""Whether each latent stands for one factor of variation: MIG, SAP, DCI and the FactorVAE score.

All follow Locatello et al. 2019 (disentanglement_lib) where nothing else is said, but take a data set that is
encoded already in place of a simulator. They measure the axes, not what is known: two factors that are mixed evenly
in two latents score low although nothing is lost, which the linear probe shows. The FactorVAE score is the most
lenient: it asks only that each factor has a latent that depends on it more than on any other.

Shapes: n examples, d latents, f factors with more than one value. Codes are posterior means (n, d), or (n, zc, zh, zw),
which is flattened; factors are whole numbers (n, f). A latent that does not vary counts as one that says nothing, and
a factor with a single value is left out; both are named in the result. Matrices (d, f) have a column for each factor
that is not left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import DataError
from lehr.evaluation.representation import (
    Array,
    Floats,
    Integers,
    codes_and_factors,
    factors_with_one_value,
    latents_that_vary,
)

BINS = 20
"""Intervals of equal width that a latent is cut into for mutual information."""

PRUNED = 0.05
"""Standard deviation below which the FactorVAE score counts a latent as collapsed."""

_MOST_ROWS = 15_000  # of which SAP and DCI fit on some and score on others
_TREES = 10
_DEEPEST = 32
_BATCH = 64  # examples that share the value of a factor, of the FactorVAE score
_VOTES = (10_000, 5_000)  # to fit on and to score on
_VOTES_AT_ONCE = 256


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


@dataclass(frozen=True)
class _Table:
    """What the scores are computed from.

    Attributes:
        codes: (n, d), latents that do not vary are 0.
        factors: (n, f), the values of each are 0..k-1.
        names: (f,) the number that each factor had.
    """

    codes: Floats
    factors: Integers
    names: tuple[int, ...]
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]

    def by_name(self, values: Floats) -> dict[int, float]:
        return dict(zip(self.names, values.tolist(), strict=True))

    def sizes(self) -> Integers:
        """(f,): how many values each factor has."""
        return self.factors.max(0) + 1

    def parts(self, seed: int, *shares: float) -> Iterator[tuple[Floats, Integers]]:
        """Codes and factors of random parts that do not overlap, of these shares of the examples (at most 15,000)."""
        order = randomness.permutation(seed, "disentanglement/parts", 0, len(self.codes)).numpy()[:_MOST_ROWS]
        stops = np.rint(np.cumsum(shares) * len(order)).astype(int)
        for rows in np.split(order, stops)[: len(shares)]:
            yield self.codes[rows], self.factors[rows]


def _table(codes: Array, factors: Array) -> _Table:
    x, y = codes_and_factors(codes, factors)
    excluded = factors_with_one_value(y)
    names = tuple(j for j in range(y.shape[1]) if j not in excluded)
    if len(names) < 2:
        raise DataError(
            f"disentanglement is between factors: it needs two or more that vary, got {len(names)} of {y.shape[1]}; "
            "for classes there is the linear probe"
        )
    y = np.stack([np.unique(y[:, j], return_inverse=True)[1] for j in names], axis=1)
    for j, k in zip(names, y.max(0) + 1, strict=True):
        if 2 * k > len(y):
            raise DataError(f"factor {j} has {k} values in {len(y)} examples: each should occur twice or more")
    varies = latents_that_vary(x)
    return _Table(np.where(varies, x, 0.0), y, names, tuple(np.flatnonzero(~varies).tolist()), excluded)


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
    table = _table(codes, factors)
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
    table = _table(codes, factors)
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
    table = _table(codes, factors)
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
    table = _table(codes, factors)
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
