"""Images that are one NumPy array in a .npy or .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lehr.data.checks import check_path
from lehr.data.images import ArrayImages
from lehr.data.labels import as_labels
from lehr.data.module import ImageDataModule
from lehr.data.numpy_file import NumpyFile, Stored
from lehr.data.pixels import Layout, as_images
from lehr.data.splits import Splits, with_test_held_out
from lehr.errors import DataError
from lehr.limits import FractionOrNone, PathString, PositiveInt
from lehr.paths import expanded


class Arrays(ImageDataModule):
    """Images in an array file: uint8 in 0..255, bool, or float in [0, 1].

    Args:
        path: the .npy or .npz file.
        key: which array of an .npz file holds the images; None where there is only one.
        labels_key: which array of an .npz file holds the classes (n,) or factors (n, f), if any.
        test_path: a file of the same kind with the test split; None if `path` has it as `test_key`, or to hold out
            `test_fraction` of `path`.
        test_key: which array holds the test images; None for the name in `key`, in `test_path`.
        test_labels_key: their labels; with neither this nor `test_key` the name in `labels_key`.
        test_fraction: the part held out for testing, chosen by `split_seed` alone.
        layout: the order of the axes; "auto" finds the channels, which are 1, 3 or 4.
        hidden: of images with four channels, the fourth opacity: "white" for the colour of what is wholly transparent;
            "keep" to leave all numbers as they are.
        background: what images with opacity are put on, to have three channels; None to keep opacity as the fourth.
        enlarge: each pixel becomes so many on each side, all of its colour.
        **common: see `ImageDataModule`.
    """

    def __init__(
        self,
        *,
        path: PathString,
        key: str | None = None,
        labels_key: str | None = None,
        test_path: PathString | None = None,
        test_key: str | None = None,
        test_labels_key: str | None = None,
        test_fraction: FractionOrNone = 0.1,
        layout: Layout = "auto",
        hidden: Literal["white", "keep"] = "white",
        background: Literal["white", "black"] | None = None,
        enlarge: PositiveInt = 1,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.path = path
        self.key = key
        self.labels_key = labels_key
        self.test_path = test_path
        self.test_key = test_key
        self.test_labels_key = test_labels_key
        self.test_fraction = test_fraction
        self.layout = layout
        self.hidden = hidden
        self.background = background
        self.enlarge = enlarge

    def check(self) -> list[str]:
        return [
            *super().check(),
            *check_path("path", self.path, "file"),
            *check_path("test_path", self.test_path, "file"),
            *self._check_keys(),
        ]

    def _check_keys(self) -> list[str]:
        if self.test_key is None:
            alone = self.test_labels_key is not None and self.test_path is None
            return ["data.test_labels_key: there are no test images of their own: set data.test_key too"] * alone
        problems = []
        if self.test_path is None and self.test_key == self.key:
            problems.append(f"data.test_key={self.test_key}: is data.key, so that all test images would be trained on")
        if self.labels_key is not None and self.test_labels_key is None:
            problems.append(
                "data.test_labels_key: is missing, the classes of data.test_key as data.labels_key of data.key"
            )
        return problems

    def read(self) -> Splits:
        path = expanded(self.path)
        train = self._read(path, self.key, self.labels_key)
        if self.test_path is None and self.test_key is None:
            return with_test_held_out(path.stem, train, self.test_fraction, self.split_seed)
        test_path = path if self.test_path is None else expanded(self.test_path)
        key = self.key if self.test_key is None else self.test_key
        if test_path.samefile(path) and _same_array(path, self.key, key):
            raise DataError(
                f"{path}: data.test_key={key} is the array that is trained on: all test images would be trained on "
                "too; give another file or array, or say data.test_path=null data.test_key=null to have a part held out"
                if self.test_key is not None
                else f"data.test_path={test_path}: is data.path, so that all test images would be trained on too; give "
                "another file or data.test_key, or say data.test_path=null to have a part of data.path held out"
            )
        if self.test_key is None and self.test_labels_key is None:
            test = self._read(test_path, self.key, self.labels_key)
        else:
            test = self._read(test_path, key, self.test_labels_key, ("test_key", "test_labels_key"))
        if test.shape != train.shape:
            raise DataError(f"{test_path} has test images of shape {test.shape}, {path} has {train.shape}")
        return Splits(path.stem, train, test)

    def _read(
        self, path: Path, key: str | None, labels_key: str | None, options: tuple[str, str] = ("key", "labels_key")
    ) -> ArrayImages:
        stored, labels = load(path, key, labels_key, options)
        white = self.hidden == "white"
        images = as_images(stored, self.layout, path, hidden_white=white, background=self.background)
        return ArrayImages(images, labels, enlarge=self.enlarge)


def load(
    path: Path, key: str | None, labels_key: str | None, options: tuple[str, str] = ("key", "labels_key")
) -> tuple[Stored, Tensor | None]:
    """The array of images in a file, yet to be read, and that of labels.

    Args:
        path: the file.
        key: the name of the array of images; None where there is only one.
        labels_key: that of the labels; None for none.
        options: what these two names are called in the configuration.

    Raises:
        DataError: if the file is damaged, holds Python objects, has no array of that name, or not as many labels as
            images.
    """
    file = NumpyFile(path)
    if not file.is_zip:
        if key is not None or labels_key is not None:
            raise DataError(f"{path} is one array without a name: data.{options[0]} and data.{options[1]} are for .npz")
        return file.stored(None), None
    names = file.names
    if key is None and len(names) != 1:
        advice = f", set data.{options[0]} to one of {file.listed()}" if names else ""
        raise DataError(f"{path} holds {len(names)} arrays{advice}")
    for option, name in zip(options, (key, labels_key), strict=True):
        if name is not None and not file.has(name):
            raise DataError(f"data.{option}: {path} has no array {name!r}, only {file.listed()}")
    images = file.stored(key or names[0])
    if labels_key is None:
        return images, None
    return images, as_labels(file.stored(labels_key), len(images), f"data.{options[1]}: {path}")


def _same_array(path: Path, one: str | None, other: str | None) -> bool:
    """Whether two keys name the same array of a file: None is the only one, and a member has two names."""
    file = NumpyFile(path)
    if not file.is_zip:
        return True
    return len({file.member(file.names[0] if key is None else key) for key in (one, other)}) == 1
