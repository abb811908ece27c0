"""Images that a program hands over itself: arrays, data sets and data modules in place of the name of a data set.

What was handed over is a `Handed`, from which each run builds its own data module. Nothing of it is ever changed, and
arrays are copied only where their numbers have to be converted.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
from torch import Tensor

from lehr.config.given import not_here, type_name
from lehr.config.signature import signature_of
from lehr.data.digests import digests_of_rows
from lehr.data.fingerprint import SplitPrint
from lehr.data.images import ArrayImages
from lehr.data.labels import as_labels
from lehr.data.module import ImageDataModule
from lehr.data.numpy_file import Stored
from lehr.data.pixels import Layout, images_of
from lehr.data.splits import Splits, with_test_held_out
from lehr.errors import DataError
from lehr.files import DIGEST_BYTES
from lehr.limits import Fraction, FractionOrNone, Text

Values = Mapping[str, Any]


class Handed(ABC):
    """Data that a program has handed over.

    Attributes:
        choice: of conf/data, the file that stands for it.
    """

    choice: ClassVar[str]

    @abstractmethod
    def section(self, values: Values) -> dict[str, Any]:
        """What the configuration of a run says of it: `values`, those of `choice` as composed, and what they are of.

        Raises:
            DataError: a line for each thing that is wrong with it.
        """

    @abstractmethod
    def build(self, values: Values) -> ImageDataModule:
        """The data of a run whose section has these values, not read yet."""

    def problems(self, values: Values) -> list[str]:
        """A line for each value of a run's section that is not of this."""
        now = self.section(values)
        return [
            f"data.{key}={value}: the run has {values.get(key)}; these are not the data that it was given"
            f"{' (images and labels, all in the same order)' if key == 'digest' else ''}"
            for key, value in now.items()
            if key != "source" and value != values.get(key)
        ]


class Part(NamedTuple):
    """Images (n, c, h, w), uint8 or float32 in [0, 1], and their labels, int64, if any."""

    images: Tensor
    labels: Tensor | None


class HandedImages(Handed):
    """Arrays of images in memory, checked and converted as the values of a run's section say.

    Args:
        source: the type of what they were taken from.
        images: "train", and if there are any "val" and "test" -> an array, see `images_of`.
        labels: of those that have some, by the same names.
        names: what these parts are called in messages.
        problems: what is wrong with them already, to be said with all else.
    """

    choice = "given"

    def __init__(
        self,
        source: str,
        images: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        names: Mapping[str, tuple[str, str]],
        problems: Sequence[str] = (),
    ) -> None:
        self._source, self._images, self._labels, self._names = source, images, labels, names
        self._problems = tuple(problems)
        self._converted: tuple[tuple[str, str], dict[str, Part], str] | None = None

    def section(self, values: Values) -> dict[str, Any]:
        _, digest = self._converted_by(values)
        own: dict[str, Any] = {"source": self._source, "digest": digest}
        own |= {f"{part}_fraction": None for part in ("val", "test") if part in self._images}
        return {**values, **own}

    def build(self, values: Values) -> GivenImages:
        parts, _ = self._converted_by(values)
        # new ones, which are digested anew: whoever has handed over an array may have changed it since
        content = {name: ArrayImages(part.images, part.labels) for name, part in parts.items()}
        return GivenImages(content=content, **{name: value for name, value in values.items() if name != "_target_"})

    def _converted_by(self, values: Values) -> tuple[dict[str, Part], str]:
        """The images of each part, and their digest."""
        by = (str(values["layout"]), str(values["hidden"]))
        if self._converted is None or self._converted[0] != by:
            parts = self._convert(*by)
            self._converted = by, parts, digest_of({name: _print(part) for name, part in parts.items()})
        return self._converted[1:]

    def _convert(self, layout: str, hidden: str) -> dict[str, Part]:
        problems = [*self._problems]
        found: dict[str, Part] = {}
        for part, array in self._images.items():
            name, labels_name = self._names[part]
            images, labels = None, None
            try:
                images = images_of(array, layout, name, hidden_white=hidden == "white")
            except DataError as error:
                problems += error.problems
            try:
                if part in self._labels:
                    labels = as_labels(Stored.of(self._labels[part]), len(array), f"{labels_name}: {name}")
            except DataError as error:
                problems += error.problems
            if images is not None:
                found[part] = Part(images, labels)
        shapes = {self._names[part][0]: tuple(images.shape[1:]) for part, (images, _) in found.items()}
        first = next(iter(shapes), "")
        problems += [
            f"{name} has images of shape {shape}, {first} has {shapes[first]}"
            for name, shape in shapes.items()
            if shape != shapes[first]
        ]
        if problems:
            raise DataError(*problems)
        return found


class HandedDataModule(Handed):
    """A data module of lehr's kind, which has its own values and reads its own images. Reads it.

    Raises:
        LehrError: as of its `setup`.
    """

    choice = "given_module"

    def __init__(self, module: ImageDataModule) -> None:
        self._module = module
        module.prepare_data()
        module.setup()

    def section(self, values: Values) -> dict[str, Any]:
        return {
            "_target_": "lehr.data.GivenDataModule",
            "type": type_name(self._module),
            "digest": digest_of(self._module.fingerprint.splits),
            "values": _plain_values(self._module),
        }

    def problems(self, values: Values) -> list[str]:
        # an argument that the class had not yet when the run was begun has its default there
        there = {**_plain_defaults(self._module), **(values.get("values") or {})}
        return super().problems({**values, "values": there})

    def build(self, values: Values) -> ImageDataModule:
        own = copy.copy(self._module)  # what trains it is told to the copy
        own.trainer = None
        return own


class GivenImages(ImageDataModule):
    """Images that `lehr.train(data=...)` was given; the configuration alone does not give them back.

    Args:
        content: "train", and if they were given "val" and "test" -> images.
        source: the type of what they were taken from.
        digest: of their content.
        val_fraction: the part held out for validation, chosen by `seed`; None where validation images were given.
        test_fraction: the part held out for testing, chosen by `split_seed`; None where test images were given.
        layout: the order of the axes; "auto" finds the channels, which are 1, 3 or 4.
        hidden: of images with four channels, the fourth opacity: "white" for the colour of what is wholly transparent;
            "keep" to leave all numbers as they are.
        **common: see `ImageDataModule`.

    Raises:
        DataError: without `content`.
    """

    def __init__(
        self,
        *,
        content: Mapping[str, object] | None = None,
        source: Text | None = None,
        digest: Text | None = None,
        val_fraction: Fraction | None,
        test_fraction: FractionOrNone | None = 0.1,
        layout: Layout = "auto",
        hidden: Literal["white", "keep"] = "white",
        **common: Any,
    ) -> None:
        if content is None:
            raise DataError(not_here("data"))
        super().__init__(val_fraction=val_fraction or 0.0, **common)
        self.val_fraction = val_fraction  # type: ignore[assignment]  # None only where nothing is held out
        self.content = cast("Mapping[str, ArrayImages]", content)
        self.source = source
        self.digest = digest
        self.test_fraction = test_fraction
        self.layout = layout
        self.hidden = hidden

    def read(self) -> Splits:
        name, train, val, test = "given images", *(self.content.get(part) for part in ("train", "val", "test"))
        assert train is not None
        if test is not None:
            return Splits(name, train, test, val)
        return replace(with_test_held_out(name, train, self.test_fraction or 0.0, self.split_seed), val=val)


class GivenDataModule(ImageDataModule):
    """Stands in a configuration for a data module that `lehr.train(data=...)` was given.

    Args:
        type: its class.
        digest: of the content of its splits.
        values: its own, as far as they are plain.

    Raises:
        DataError: always; a configuration does not give it back.
    """

    def __init__(
        self, *, type: Text | None = None, digest: Text | None = None, values: Mapping[str, object] | None = None
    ) -> None:
        raise DataError(not_here("data"))

    def read(self) -> Splits:
        raise DataError(not_here("data"))


def digest_of(splits: Mapping[str, SplitPrint]) -> str:
    """What tells images and labels from others, whatever they were taken from: 32 hexadecimal digits."""
    text = repr([(name, split.n, split.digest, split.labels) for name, split in sorted(splits.items())])
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _print(part: Part) -> SplitPrint:
    return SplitPrint.of(digests_of_rows(part.images), part.labels, None, len(part.images))


def _plain_values(module: ImageDataModule) -> dict[str, Any]:
    """Those of its constructor's arguments that a configuration can hold, by name."""
    names = signature_of(type(module)).parameters
    return _plain({name: getattr(module, name) for name in names if hasattr(module, name)})


def _plain_defaults(module: ImageDataModule) -> dict[str, Any]:
    """The defaults of those of them that have one which a configuration can hold."""
    parameters = signature_of(type(module)).parameters
    return _plain({name: parameters[name].default for name in _plain_values(module)})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if isinstance(value, str | int | float | Path | None)
    }
