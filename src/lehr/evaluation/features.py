"""Features of images, in which generated images are compared with real ones.

Three kinds: Inception where its weights are at hand, a classifier trained on the data set's own labels, and principal
components where there are no labels. Numbers from different kinds, or different data sets, do not compare.

Shapes: b batch, n images, c h w image, f features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import ConfigError, DataError
from lehr.evaluation.classifier import Classifier, Description, cached_classifier
from lehr.evaluation.inception import InceptionFeatures, missing
from lehr.paths import cache_folder

KINDS = ("auto", "inception", "classifier", "pca")

Batches = Iterable[tuple[Tensor, Tensor | None]]
"""Images (b c h w) in [0, 1] as the model sees them, with their labels (b,) or (b, k) int64, or None."""

_CLASSIFIER_VALUES = 4 * 64 * 64  # of the largest image a classifier is shown
_PCA_VALUES = 1024  # of the largest image whose covariance is decomposed
_COMPONENTS = 64


class Features(Protocol):
    """What tells images apart.

    Attributes:
        name: "inception", "classifier" or "pca".
        note: one line on what these features are and how good.
    """

    name: str
    note: str

    def features(self, images: Tensor) -> Tensor:
        """Features (b, f), float64 on the CPU, of images (b c h w); values outside [0, 1] are cut, as in a picture."""
        ...


def choose_features(
    kind: str,
    training: Batches,
    *,
    cache: Path | None = None,
    inception: Path | None = None,
    device: torch.device | str = "cpu",
) -> Features:
    """The features of `kind`, fitted to the training images where they have to be.

    Args:
        kind: "inception", "classifier" or "pca"; "auto" is the first of them that can be had, where a classifier has
            to have learned something, see `nothing_learned`.
        training: the training images; iterated at most once, and not at all for Inception.
        cache: where trained classifiers are kept; None for the user's own cache.
        inception: the file of Inception's weights; None for where torch-fidelity keeps them.
        device: where a network computes features. All fitting is on the CPU, so that it gives the same everywhere.

    Raises:
        ConfigError: if there is no such kind, or Inception is asked for and cannot be had.
        DataError: if a classifier is asked for where there is nothing to learn, or there are no images to fit to.
    """
    if kind not in KINDS:
        raise ConfigError(f"features: {kind!r} is not one of {', '.join(KINDS)}")
    if kind == "inception" or (kind == "auto" and (inception is not None or missing() is None)):
        return InceptionFeatures(inception, device)
    first, training = _first(training)
    if kind == "pca" or (kind == "auto" and first is None):
        return PCAFeatures(images for images, _ in training)
    if first is None:
        raise DataError("features: the images have no labels to train a classifier on, choose pca")
    images, labels = _gather(training)
    found: Features | None = None
    try:
        model, description = cached_classifier(images, labels, cache or cache_folder())
        found, reason = ClassifierFeatures(model, description, device), nothing_learned(description, labels)
    except DataError as error:
        if kind == "classifier":
            raise
        reason = str(error).removeprefix("classifier: ")
    if found and (kind == "classifier" or not reason):
        found.note += f"; beware: {reason}" if reason else ""
        return found
    components = PCAFeatures([images])
    components.note += f"; not a classifier: {reason}"
    return components


def nothing_learned(description: Description, labels: Tensor) -> str | None:
    """Why a classifier's features tell no images apart, in a few words; None if it has learned a factor at least.

    It has where its accuracy on held-out images is above that of always naming the commonest class by more than two
    standard errors: with less, weights as they were drawn do as well once in 40 times or more often.

    Args:
        description: of the classifier.
        labels: (n,) or (n, k), of the images that it was trained on and measured with.
    """
    factors, held_out = labels.reshape(len(labels), -1), description.n_held_out
    commonest = [float(factor.unique(return_counts=True)[1].max()) / len(factor) for factor in factors.T]
    for accuracy, share in zip(description.accuracy, commonest, strict=True):
        if accuracy > share + 2 * math.sqrt(share * (1 - share) / held_out):
            return None
    shown = " ".join(f"{accuracy:.3f}" for accuracy in description.accuracy)
    always = " ".join(f"{share:.3f}" for share in commonest)
    return (
        f"its accuracy on {held_out} held-out images, {shown}, is within two standard errors of always naming the "
        f"commonest class, {always}"
    )


def feature_matrix(features: Features, batches: Iterable[Tensor]) -> Tensor:
    """The features (n, f) of all images, given in batches (b c h w)."""
    return torch.cat([features.features(images) for images in batches])


class ClassifierFeatures:
    """The last hidden layer of a classifier, 64 features of variance 1 on average. Large images are halved first."""

    name = "classifier"

    def __init__(self, model: Classifier, description: Description, device: torch.device | str = "cpu") -> None:
        self.description = description
        self._device = device
        self._model = model.to(device)
        accuracy = " ".join(f"{x:.3f}" for x in description.accuracy)
        self.note = f"classifier of accuracy {accuracy} on {description.n_held_out} held-out images"

    def features(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            images = _halved(images.to(self._device, torch.float32).clamp(0, 1), _CLASSIFIER_VALUES)
            return self._model.features(images).cpu().double()


class PCAFeatures:
    """The leading principal components of the pixels, at most 64, centred; large images are halved first.

    Not whitened: distances stay those of pixels, so the Frechet distance is in squared grey levels, and directions
    in which images hardly vary count for little.

    Raises:
        DataError: if there are fewer than 2 images, or they are all the same.
    """

    name = "pca"

    def __init__(self, images: Iterable[Tensor]) -> None:
        n, self._mean, covariance = _pixel_moments(images)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        rank = int((values > 1e-10 * values[-1]).sum())
        if n < 2 or rank == 0 or values[-1] < 1e-12:
            raise DataError(f"features: {n} images that do not vary have no principal components")
        kept = min(_COMPONENTS, rank)
        self._directions = vectors[:, -kept:].flip(1)
        explained = float(values[-kept:].sum() / values.clamp(min=0).sum())
        self.note = f"{kept} principal components with {explained:.1%} of the variance of the pixels"

    def features(self, images: Tensor) -> Tensor:
        return (_pixels(images) - self._mean) @ self._directions


def _pixel_moments(batches: Iterable[Tensor]) -> tuple[int, Tensor, Tensor]:
    """Number, mean (d,) and covariance (d, d) of images as vectors."""
    n, origin = 0, torch.zeros(())
    for batch in batches:
        x = _pixels(batch)
        if n == 0:
            # sums about a point near the mean lose no digits
            origin = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
            total, products = torch.zeros_like(origin), origin.new_zeros(len(origin), len(origin))
        x = x - origin
        n, total, products = n + len(x), total + x.sum(0), products + x.T @ x
    if n == 0:
        raise DataError("features: there is no training image to fit them to")
    shift = total / n
    return n, origin + shift, products / n - shift.outer(shift)


def _pixels(images: Tensor) -> Tensor:
    return _halved(images.cpu().double().clamp(0, 1), _PCA_VALUES).flatten(1)


def _halved(images: Tensor, values: int) -> Tensor:
    """Images halved, by averaging 2x2 pixels, until each has no more than `values` numbers."""
    while math.prod(images.shape[1:]) > values and max(images.shape[2:]) > 1:
        images = F.avg_pool2d(images, 2, ceil_mode=True)
    return images


def _first(batches: Batches) -> tuple[Tensor | None, Iterator[tuple[Tensor, Tensor | None]]]:
    """The labels of the first batch, and all the batches."""
    iterator = iter(batches)
    for batch in iterator:
        return batch[1], chain([batch], iterator)
    raise DataError("features: there is no training image to fit them to")


def _gather(batches: Batches) -> tuple[Tensor, Tensor]:
    """All images, as a classifier sees them, and all labels, as two tensors."""
    images, labels = [], []
    for part, classes in batches:
        if classes is None:
            raise DataError("features: some images have labels and others have none")
        images.append(_halved(part.cpu().to(torch.float32).clamp(0, 1), _CLASSIFIER_VALUES))
        labels.append(classes)
    return torch.cat(images), torch.cat(labels)
