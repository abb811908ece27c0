"""What a program hands over as data, taken into memory: arrays and tensors, data sets and data modules of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lehr.config.given import type_name
from lehr.data.checks import reason_of, require_memory
from lehr.data.given import Handed, HandedDataModule, HandedImages
from lehr.data.module import ImageDataModule
from lehr.errors import DataError

Progress = Callable[[int, int], None]
"""Is told how many images of how many have been fetched."""
_EXPECTED = "expected an array or a tensor of images, a data set of them, or a data module"
_TOLD_EVERY = 200
_DIMENSIONS = (2, 3)


def handed_data(
    data: object,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    progress: Progress | None = None,
) -> Handed:
    """What was handed over as data, in memory.

    Args:
        data: images as a tensor or an array, (n, h, w), (n, c, h, w) or (n, h, w, c), uint8, bool, or float in [0, 1];
            a data set with a length whose items are images or (image, label), tensors, arrays or Pillow's; a
            `LightningDataModule` of such; or an `ImageDataModule`, which has its own splits and values.
        labels: classes (n,) or factors (n, f) of images in arrays.
        test: the test split, an array or a data set too; None to have a part of `data` held out.
        test_labels: its labels, if it is an array.
        progress: is told how far a data set has been fetched, once each.

    Raises:
        DataError: a line for each thing that is wrong, where there is nothing to train on; all else is said by
            `Handed.section`, which knows the order of the axes.
        LehrError: as of an `ImageDataModule` that cannot be read.
    """
    if isinstance(data, LightningDataModule):
        others = {"labels": labels, "test": test, "test_labels": test_labels}
        if extra := [name for name, value in others.items() if value is not None]:
            raise DataError(*(f"{name}: the data module that is given as data has its own" for name in extra))
        if isinstance(data, ImageDataModule):
            return HandedDataModule(data)
        return _of_module(data, progress)
    parts = _Parts(progress)
    parts.take("train", data, labels, ("data", "labels"))
    if test is not None:
        if test is data:
            parts.problems.append("test: is data, so that all test images would be trained on")
        parts.take("test", test, test_labels, ("test", "test_labels"))
        if labels is not None and "test" not in parts.labels and not parts.problems:
            parts.problems.append("test_labels: is missing, the labels of test as labels of data")
    elif test_labels is not None:
        parts.problems.append("test_labels: there are no test images of their own; give test=... too")
    return parts.handed(type_name(data))


def _of_module(module: LightningDataModule, progress: Progress | None) -> HandedImages:
    """The data sets of the loaders of a data module that is not lehr's, as they are before anything is batched."""
    _called(module.prepare_data)
    _called(module.setup, "fit")
    parts = _Parts(progress)
    for part in ("train", "val", "test"):
        if not is_overridden(f"{part}_dataloader", module, LightningDataModule):
            continue
        if part == "test":
            _called(module.setup, "test")
        name = f"data.{part}_dataloader()"
        loader = _called(getattr(module, f"{part}_dataloader"))
        if part != "train" and (loader is None or loader == []):
            continue
        dataset = getattr(loader, "dataset", None)
        if dataset is None:
            parts.problems.append(f"{name}: gives {type_name(loader)}, expected a DataLoader with a data set")
            continue
        parts.take(part, dataset, None, (name, f"labels of {name}"))
    if "train" not in parts.images and not parts.problems:
        parts.problems.append(f"data: {type_name(module)} has no train_dataloader")
    return parts.handed(type_name(module))


def _called(method: Callable[..., Any], *arguments: str) -> Any:
    """What a method of a data module gives.

    Raises:
        DataError: if it raises anything.
    """
    try:
        return method(*arguments)
    except Exception as error:
        called = f"{method.__name__}({', '.join(map(repr, arguments))})"
        raise DataError(f"data.{called}: fails ({type(error).__name__}: {reason_of(error)})") from error


class _Parts:
    """The splits that were handed over, and what is wrong with them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.problems: list[str] = []
        self.images: dict[str, np.ndarray] = {}
        self.labels: dict[str, np.ndarray] = {}
        self._names: dict[str, tuple[str, str]] = {}

    def take(self, part: str, images: object, labels: object, names: tuple[str, str]) -> None:
        """Take images and their labels as a split; `names` are those that they were handed over by."""
        self._names[part] = names
        try:
            found, own = _images(images, names[0], self._progress)
            self.images[part] = found
            if labels is not None and own is not None:
                raise DataError(f"{names[1]}: {names[0]} has labels of its own")
            if labels is not None or own is not None:
                self.labels[part] = _numbers(own if labels is None else labels, names[1])
        except DataError as error:
            self.problems += error.problems

    def handed(self, source: str) -> HandedImages:
        if "train" not in self.images:
            raise DataError(*self.problems)
        return HandedImages(source, self.images, self.labels, self._names, self.problems)


def _images(given: Any, name: str, progress: Progress | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as an array, which shares their memory if they are one, and the labels that a data set has."""
    if inspect.isclass(given):
        raise DataError(f"{name}: got the class {given.__name__}; give an instance, {given.__name__}(...)")
    if isinstance(given, Tensor) or hasattr(given, "__array__"):
        return _array_of(given, name), None
    if isinstance(given, DataLoader):
        raise DataError(f"{name}: got a DataLoader; give its data set, {name}=loader.dataset")
    countable = all(hasattr(given, method) for method in ("__len__", "__getitem__"))
    if isinstance(given, IterableDataset | str | bytes | dict | tuple) or not countable:
        of = "; labels are given as labels=..." if isinstance(given, tuple) else ""
        raise DataError(f"{name}: got {type_name(given).removeprefix('builtins.')}, {_EXPECTED}{of}")
    return _collected(given, name, progress)


def _array_of(given: Any, name: str) -> np.ndarray:
    """`_array` of what a message calls `name`."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise DataError(f"{name}: has masked values; say what they are, as in {name}.filled(0)")
    try:
        return _array(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: cannot be read as an array ({reason_of(error)})") from error


def _array(given: Any) -> np.ndarray:
    """A tensor, or what has an array, as one; in the same memory where that is this machine's."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        return (given.float() if given.dtype.is_floating_point and given.dtype.itemsize < 4 else given).numpy()
    return np.asarray(given)


def _numbers(given: Any, name: str) -> np.ndarray:
    try:
        found = _array(given)
        if not found.ndim:
            raise TypeError(f"got {type_name(given).removeprefix('builtins.')}")
        return found
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: are no array of whole numbers ({reason_of(error)})") from error


def _collected(dataset: Any, name: str, progress: Progress | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Each item of a data set, once: images as one array, and their labels if they have some."""
    try:
        n = len(dataset)
    except Exception as error:
        raise DataError(f"{name}: {type_name(dataset)} has no length ({reason_of(error)})") from error
    if not n:
        raise DataError(f"{name}: {type_name(dataset)} is empty")
    images, labels = np.empty(0), []
    for i in range(n):
        where = f"{name}[{i}]"
        image, label = _item(dataset, i, where)
        if i == 0:
            require_memory(f"{name}: in memory it", n * image.nbytes)
            images, has_labels = np.empty((n, *image.shape), image.dtype), label is not None
        if image.shape != images.shape[1:] or image.dtype != images.dtype:
            first = f"{name}[0] of {images.dtype} and shape {images.shape[1:]}"
            raise DataError(f"{where}: is of {image.dtype} and shape {image.shape}, {first}; give them one size")
        if (label is not None) != has_labels:
            raise DataError(f"{where}: has {'a' if label is not None else 'no'} label, other than {name}[0]")
        images[i] = image
        labels.append(label)
        if progress and (i + 1 == n or i % _TOLD_EVERY == 0):
            progress(i + 1, n)
    if not has_labels:
        return images, None
    try:
        return images, np.stack([np.asarray(label) for label in labels])
    except ValueError as error:
        raise DataError(f"{name}: has labels of several shapes, expected one class or as many factors each") from error


def _item(dataset: Any, i: int, where: str) -> tuple[np.ndarray, Any]:
    """The image and the label of an item, None where it has none."""
    try:
        item = dataset[i]
    except Exception as error:
        raise DataError(f"{where}: cannot be fetched ({type(error).__name__}: {reason_of(error)})") from error
    image, label = item, None
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise DataError(f"{where}: has {len(item)} parts, expected an image or (image, label)")
        image, label = item[0], item[1] if len(item) > 1 else None
    found = _pixels(image, where)
    if found.ndim not in _DIMENSIONS:
        raise DataError(f"{where}: has shape {found.shape}, expected (h, w), (c, h, w) or (h, w, c)")
    return found, label


def _pixels(image: Any, where: str) -> np.ndarray:
    """One image as an array; of Pillow's with 8 bits a channel, transparency put on white."""
    if isinstance(image, Tensor) or hasattr(image, "__array__"):
        return _array_of(image, where)
    if hasattr(image, "__array_interface__"):
        from lehr.data.picture import to_eight_bits

        if image.mode == "1":
            return np.asarray(image)
        upright = to_eight_bits(image)
        return np.asarray(upright if upright.mode in ("L", "RGB") else upright.convert("RGB"))
    raise DataError(
        f"{where}: is {type_name(image).removeprefix('builtins.')}, expected a tensor, an array or a picture"
    )
