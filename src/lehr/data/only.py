"""Images of some classes alone: what a model is trained on that is to be tested on all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lehr.config.problems import did_you_mean
from lehr.data.images import Images
from lehr.errors import DataError


def only_classes(
    splits: Sequence[Images], wanted: Sequence[str | int], factor: int | None, classes: Sequence[str], what: str
) -> list[Images]:
    """Of each of `splits` the images whose label is among `wanted`; there may be none in one of them.

    Args:
        splits: of one data set.
        wanted: names of classes, or values of the label. What is both, as "3" of classes 1 to 9, is the name.
        factor: which of the labels, where each image has several.
        classes: what class i is called, if that is known.
        what: the data set, for messages.

    Raises:
        DataError: in a line, if the images have no labels, or no such ones.
    """
    labels = [_labels(images, factor, what) for images in splits]
    values = torch.cat(labels).unique().tolist()
    number = {str(i): i for i in values} | {name: i for i, name in enumerate(classes)}
    if unknown := [one for one in wanted if str(one) not in number]:
        there = list(classes) or [str(i) for i in values]
        raise DataError(f"data.train_on: {what} has no class {unknown[0]}{did_you_mean(str(unknown[0]), there)}")
    chosen = torch.tensor([number[str(one)] for one in wanted])
    return [images.subset(torch.isin(of, chosen).nonzero()[:, 0]) for images, of in zip(splits, labels, strict=True)]


def _labels(images: Images, factor: int | None, what: str) -> Tensor:
    """(n,)"""
    labels = images.labels
    if labels is None:
        raise DataError(f"data.train_on: {what} has no labels")
    if labels.ndim == 2:
        count = labels.shape[1]
        if factor is None or factor >= count:
            given = "is missing" if factor is None else f"is {factor}"
            raise DataError(f"data.train_on_factor {given}: {what} has {count} factors, from 0 to {count - 1}")
        return labels[:, factor]
    if factor is not None:
        raise DataError(f"data.train_on_factor={factor}: {what} has one label of each image, and no factors")
    return labels
