"""Images of some classes alone: what a model is trained on that is to be tested on all."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lehr.config.problems import did_you_mean
from lehr.data.images import Images
from lehr.errors import DataError


def only_classes(
    images: Images, wanted: Sequence[str | int], factor: int | None, classes: Sequence[str], what: str
) -> Images:
    """Those of `images` whose label is among `wanted`.

    Args:
        images: a split.
        wanted: names of classes, or values of the label.
        factor: which of the labels, where each image has several.
        classes: what class i is called, if that is known.
        what: the data set, for messages.

    Raises:
        DataError: in a line, if the images have no labels, or no such ones.
    """
    labels = images.labels
    if labels is None:
        raise DataError(f"data.train_on: {what} has no labels")
    if labels.ndim == 2:
        count = labels.shape[1]
        if factor is None or factor >= count:
            given = "is missing" if factor is None else f"is {factor}"
            raise DataError(f"data.train_on_factor {given}: {what} has {count} factors, from 0 to {count - 1}")
        labels = labels[:, factor]
    elif factor is not None:
        raise DataError(f"data.train_on_factor={factor}: {what} has one label of each image, and no factors")
    number = {name: i for i, name in enumerate(classes)} | {i: i for i in labels.unique().tolist()}
    number |= {str(i): i for i in labels.unique().tolist() if str(i) not in number}
    if unknown := [one for one in wanted if one not in number]:
        there = list(classes) or [str(i) for i in labels.unique().tolist()]
        raise DataError(f"data.train_on: {what} has no class {unknown[0]}{did_you_mean(str(unknown[0]), there)}")
    return images.subset(torch.isin(labels, torch.tensor([number[one] for one in wanted])).nonzero()[:, 0])
