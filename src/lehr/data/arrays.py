"""Images that are one NumPy array in a .npy or .npz file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lehr.data.checks import check_path
from lehr.data.images import ArrayImages
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits, with_test_held_out
from lehr.errors import DataError
from lehr.limits import FractionOrNone, PathString

Layout = Literal["auto", "nhw", "nhwc", "nchw"]
_CHANNELS = (1, 3, 4)


class Arrays(ImageDataModule):
    """Images in an array file: uint8 in 0..255, bool, or float in [0, 1].

    Args:
        path: the .npy or .npz file.
        key: which array of an .npz file holds the images; None where there is only one.
        labels_key: which array of an .npz file holds the classes (n,) or factors (n, f), if any.
        test_path: a file of the same kind with the test split; None to hold out `test_fraction` of `path`.
        test_fraction: the part held out for testing, chosen by `split_seed` alone.
        layout: the order of the axes; "auto" finds the channels, which are 1, 3 or 4.
        **common: see `ImageDataModule`.
    """

    def __init__(
        self,
        *,
        path: PathString,
        key: str | None = None,
        labels_key: str | None = None,
        test_path: PathString | None = None,
        test_fraction: FractionOrNone = 0.1,
        layout: Layout = "auto",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.path = path
        self.key = key
        self.labels_key = labels_key
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.layout = layout

    def check(self) -> list[str]:
        return [
            *super().check(),
            *check_path("path", self.path, "file"),
            *check_path("test_path", self.test_path, "file"),
        ]

    def read(self) -> Splits:
        path = Path(self.path).expanduser()
        train = self._read(path)
        if self.test_path is None:
            return with_test_held_out(path.stem, train, self.test_fraction, self.split_seed)
        test = self._read(Path(self.test_path).expanduser())
        if test.shape != train.shape:
            raise DataError(f"{self.test_path} has images of shape {test.shape}, {path} has {train.shape}")
        return Splits(path.stem, train, test)

    def _read(self, path: Path) -> ArrayImages:
        images, labels = load(path, self.key, self.labels_key)
        return ArrayImages(as_images(images, self.layout, path), _as_labels(labels, len(images), path))


def load(path: Path, key: str | None, labels_key: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The array of images in a file, and that of labels.

    Raises:
        DataError: if the file is damaged, holds pickled objects, or has no array of that name.
    """
    try:
        # Opened here: on a damaged file np.load leaves a file that it opened itself open.
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                if key is not None or labels_key is not None:
                    raise DataError(f"{path} is one array without a name: data.key and data.labels_key are for .npz")
                return content, None
            names = content.files
            if key is None and len(names) != 1:
                raise DataError(f"{path} holds {len(names)} arrays, set data.key to one of {', '.join(names)}")
            for option, name in (("key", key), ("labels_key", labels_key)):
                if name is not None and name not in names:
                    raise DataError(f"data.{option}: {path} has no array {name!r}, only {', '.join(names)}")
            return content[key or names[0]], None if labels_key is None else content[labels_key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as a NumPy file: {' '.join(str(error).split())}") from error


def as_images(array: np.ndarray, layout: str, path: Path) -> Tensor:
    """An array as images (n c h w), uint8 or float32 in [0, 1].

    Raises:
        DataError: if its axes, its type or its values are not those of images.
    """
    array = _to_nchw(array, layout, path)
    if array.size == 0:
        raise DataError(f"{path} holds no image: its shape is {array.shape}")
    if array.dtype == np.bool_:
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype == np.uint8:
        if array.max() == 1:
            raise DataError(
                f"{path} holds only 0 and 1 as uint8, which means 0 and 1/255: save binary images as bool or float"
            )
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind != "f":
        raise DataError(f"{path} holds {array.dtype}, expected uint8 in 0..255, bool, or float in [0, 1]")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = ~np.isfinite(array).reshape(len(array), -1).all(1)
        raise DataError(
            f"{path} holds NaN or infinity in {wrong.sum()} of {len(array)} images, first in image {wrong.argmax()}"
        )
    if low < 0 or high > 1:
        raise DataError(f"{path} has values from {low:g} to {high:g}, expected floats in [0, 1]")
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _to_nchw(array: np.ndarray, layout: str, path: Path) -> np.ndarray:
    if layout == "auto":
        layout = _layout(array.shape, path)
    if array.ndim != len(layout):
        raise DataError(f"{path} has shape {array.shape}, data.layout={layout} wants {len(layout)} axes")
    match layout:
        case "nhw":
            return array[:, None]
        case "nhwc":
            return array.transpose(0, 3, 1, 2)
        case _:
            return array


def _layout(shape: tuple[int, ...], path: Path) -> str:
    if len(shape) == 3:
        return "nhw"
    if len(shape) != 4:
        raise DataError(f"{path} has shape {shape}, expected (n h w), (n h w c) or (n c h w)")
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        raise DataError(f"{path} has shape {shape}: which axis is channels? Set data.layout to nhwc or nchw")
    return "nhwc" if last else "nchw"


def _as_labels(labels: np.ndarray | None, n: int, path: Path) -> Tensor | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.ndim not in (1, 2) or len(labels) != n:
        raise DataError(
            f"data.labels_key: {path} has {labels.dtype} labels of shape {labels.shape}, "
            f"expected whole numbers of shape ({n},) or ({n}, factors)"
        )
    return torch.from_numpy(labels.astype(np.int64))
