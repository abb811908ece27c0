"""What a linear classifier reads from the latents of data whose labels are known: the linear probe.

probe = linear_probe(train_codes, train_labels, test_codes, test_labels)
probe.accuracy, probe.baseline

Shapes: n examples, d latents, f factors. A code is the posterior mean of an example, a label its class (n,) or its
factors (n, f), whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lehr.errors import DataError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Array = Tensor | npt.NDArray

_RESOLUTION = 1e-6  # float32 keeps about seven digits: what varies by less, relative to its size, is rounding
_MOST_STEPS = 1000


def require_labels(labels: Tensor | None, name: str) -> Tensor:
    """The labels of the data set `name`.

    Raises:
        DataError: if there are none.
    """
    if labels is None:
        raise DataError(f"{name} has no labels, which the linear probe and the scores of disentanglement compare with")
    return labels


@dataclass(frozen=True)
class Probe:
    """How well a linear classifier predicts each factor of held-out examples.

    Attributes:
        accuracies: the share of held-out examples that are predicted right, by number of factor; 0 for a class.
        baselines: the same for always saying the commonest value of the training data.
        excluded_latents: the latents that do not vary over the training data.
        excluded_factors: the factors that have a single value there.
    """

    accuracies: dict[int, float]
    baselines: dict[int, float]
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Mean over the factors."""
        return fmean(self.accuracies.values())

    @property
    def baseline(self) -> float:
        """Mean over the factors."""
        return fmean(self.baselines.values())


def linear_probe(codes: Array, labels: Array, held_out_codes: Array, held_out_labels: Array) -> Probe:
    """Multinomial logistic regression from the codes to each factor, fitted on one part and scored on another.

    The codes are standardised by the mean and the deviation of the training codes. The fit is scikit-learn's, with
    its penalty |w|^2 / 2 beside the summed log-loss: with thousands of examples it hardly matters, with hundreds it
    keeps separable classes finite.

    Args:
        codes: (n, d), or (n, zc, zh, zw), which is flattened.
        labels: (n,) classes or (n, f) factors.
        held_out_codes, held_out_labels: the same of the examples to score on.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or no factor has two values.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = codes_and_factors(codes, labels)
    held_out_x, held_out_y = codes_and_factors(held_out_codes, held_out_labels)
    if x.shape[1] != held_out_x.shape[1] or y.shape[1] != held_out_y.shape[1]:
        raise DataError(
            f"the probe is fitted on {x.shape[1]} latents and {y.shape[1]} factors, "
            f"but held-out data have {held_out_x.shape[1]} and {held_out_y.shape[1]}"
        )
    kept, excluded = latents_that_vary(x), factors_with_one_value(y)
    if len(excluded) == y.shape[1]:
        raise DataError("every factor has a single value in the training data: there is nothing to predict")
    mean, deviation = x[:, kept].mean(0), x[:, kept].std(0)
    x, held_out_x = (x[:, kept] - mean) / deviation, (held_out_x[:, kept] - mean) / deviation
    accuracies, baselines = {}, {}
    for j in range(y.shape[1]):
        if j in excluded:
            continue
        values, counts = np.unique(y[:, j], return_counts=True)
        accuracies[j] = baselines[j] = float(np.mean(held_out_y[:, j] == values[counts.argmax()]))
        if kept.any():
            classifier = LogisticRegression(max_iter=_MOST_STEPS).fit(x, y[:, j])
            accuracies[j] = float(np.mean(classifier.predict(held_out_x) == held_out_y[:, j]))
    return Probe(accuracies, baselines, tuple(np.flatnonzero(~kept).tolist()), excluded)


def codes_and_factors(codes: Array, labels: Array) -> tuple[Floats, Integers]:
    """Codes as (n, d) float64 and labels as (n, f) int64.

    Raises:
        DataError: if shapes do not fit, a code is not finite, or labels are no whole numbers.
    """
    x, y = _to_numpy(codes), _to_numpy(labels)
    if x.ndim < 2 or y.ndim not in (1, 2) or len(x) != len(y) or len(x) == 0:
        raise DataError(f"codes (n, d) need labels (n,) or (n, f) of as many examples, got {x.shape} and {y.shape}")
    if y.dtype.kind not in "iub":
        raise DataError(f"labels have to be whole numbers, got {y.dtype}")
    x = x.reshape(len(x), -1).astype(np.float64)
    if not np.isfinite(x).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(x).all(1))} of {len(x)} codes are not finite")
    return x, y.reshape(len(y), -1).astype(np.int64)


def _to_numpy(array: Array) -> npt.NDArray:
    if isinstance(array, Tensor):
        # numpy has no bfloat16
        return (array.detach().double() if array.is_floating_point() else array).cpu().numpy()
    return np.asarray(array)


def latents_that_vary(codes: Floats) -> npt.NDArray[np.bool_]:
    """(d,): which of the latents of the codes (n, d) vary by more than the rounding of float32."""
    return codes.std(0) > _RESOLUTION * np.abs(codes).max(0)


def factors_with_one_value(factors: Integers) -> tuple[int, ...]:
    """The numbers of the factors (n, f) that are the same in all examples."""
    return tuple(np.flatnonzero((factors == factors[0]).all(0)).tolist())
