"""Images in data sets of Hugging Face, from the hub or from a disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.data.checks import as_text, reason_of
from lehr.data.encoded import Content
from lehr.data.pictures import PictureDataModule
from lehr.data.sources import Source
from lehr.data.splits import Splits
from lehr.errors import DataError
from lehr.limits import OneOf, PathString, Text
from lehr.paths import expanded

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves


class HubImages(PictureDataModule):
    """Images of a data set that the `datasets` library loads: `lehr[images]` brings it.

    Their bytes are decoded as those of files are, whatever column they are in.

    Args:
        dataset: what it is called on the hub, "uoft-cs/cifar10" say. Once it was downloaded, that is what is read.
        path: or where it lies: a folder that `save_to_disk` wrote, a folder of Parquet files, or one such file.
        config_name: which configuration of the data set, where it has several.
        revision: a branch, tag or commit on the hub; None for the newest.
        split: what is trained on.
        val_split: what is validated on; None to hold out `val_fraction` of `split`.
        test_split: what is tested on; None to hold out `test_fraction` of `split`.
        column: what the images are in; None for the only column of images.
        label_column: what the classes are in; None for the only column of classes, if there is one.
        verify: as of `PictureDataModule`; not done unless it is asked for.
        **common: see `PictureDataModule`.
    """

    ordered = (OneOf("dataset", "path", "a name on the hub or where the data set lies"),)

    def __init__(
        self,
        *,
        dataset: Text | None = None,
        path: PathString | None = None,
        config_name: Text | None = None,
        revision: Text | None = None,
        split: Text = "train",
        val_split: Text | None = None,
        test_split: Text | None = None,
        column: Text | None = None,
        label_column: Text | None = None,
        verify: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(verify=verify, **common)
        self.dataset = dataset
        self.path = path
        self.config_name = config_name
        self.revision = revision
        self.split = split
        self.val_split = val_split
        self.test_split = test_split
        self.column = column
        self.label_column = label_column

    def check(self) -> list[str]:
        problems = super().check()
        if self.path is not None and not expanded(self.path).exists():
            problems.append(f"data.path: there is no file or folder {as_text(expanded(self.path))}")
        splits = [split for split in (self.split, self.val_split, self.test_split) if split is not None]
        if len(set(splits)) < len(splits):
            problems.append(f"data.split, data.val_split, data.test_split: {', '.join(splits)}: each must be another")
        return problems

    def read(self) -> Splits:
        loaded = self._loaded()
        title = self.dataset or str(expanded(self.path or ""))

        def rows(split: str | None) -> Rows | None:
            return None if split is None else Rows(f"{title}/{split}", *self._columns(loaded, split))

        train = rows(self.split)
        assert train is not None
        return self.splits_of(Path(title).name, train, rows(self.test_split), rows(self.val_split))

    def _loaded(self) -> DatasetDict:
        try:
            import datasets
        except ImportError as error:
            raise DataError("data=hub: needs datasets, not installed here; pip install 'lehr[images]'") from error
        key, place = ("dataset", self.dataset) if self.path is None else ("path", str(expanded(self.path)))
        try:
            found = _load(str(place), self.path is not None, self.config_name, self.revision)
        except Exception as error:  # of a dozen kinds: no such name, no network, files of another kind
            raise DataError(f"data.{key}={as_text(place)}: {_advice(error)}") from error
        if isinstance(found, datasets.DatasetDict):
            return found
        return datasets.DatasetDict({self.split: found})  # `save_to_disk` of one split does not say its name

    def _columns(self, loaded: DatasetDict, split: str) -> tuple[Dataset, str, list[int] | list[str] | None, list[str]]:
        """The rows of a split with their images as bytes, the column of these, the labels and the names of classes."""
        import datasets

        if split not in loaded:
            raise DataError(f"{self.dataset or self.path} has no split called {split!r}, only {', '.join(loaded)}")
        data = loaded[split]
        column = self._column("column", data, datasets.Image, self.column)
        if column is None:
            names = ", ".join(data.column_names)
            raise DataError(f"{self.dataset or self.path} has no column of images; say data.column, one of {names}")
        label = self._column("label_column", data, datasets.ClassLabel, self.label_column)
        values = None if label is None else list(data[label])
        classes = getattr(data.features[label], "names", []) if label else []
        try:
            images = data.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        except Exception as error:
            raise DataError(f"data.column={column}: holds no images ({reason_of(error)})") from error
        return images, column, values, list(classes)

    def _column(self, key: str, data: Dataset, kind: type, name: str | None) -> str | None:
        if name is None:
            found = [one for one, feature in data.features.items() if isinstance(feature, kind)]
            if len(found) > 1:
                raise DataError(f"{self.dataset or self.path}: say data.{key}, one of {', '.join(found)}")
            return found[0] if found else None
        if name not in data.column_names:
            names = ", ".join(data.column_names)
            raise DataError(f"data.{key}={name}: {self.dataset or self.path} has no such column, only {names}")
        return name


class Rows(Source):
    """The images of one split.

    Args:
        title: of it.
        data: with the images in one column, as bytes or where their files are.
        column: that column.
        labels: of the rows, if there are any.
        names: of the classes that these are numbers of.
    """

    def __init__(
        self, title: str, data: Dataset, column: str, labels: Sequence[Any] | None, names: Sequence[str]
    ) -> None:
        self.title = title
        self.class_names = names
        self._data = data
        self._column = column
        self._labels = labels

    def __len__(self) -> int:
        return len(self._data)

    def picture(self, row: int) -> Content | str:
        image = self._data[row][self._column]
        if image and image["bytes"] is None and image["path"]:
            return str(image["path"])
        return Content(self.key(row), image["bytes"] if image else None)

    def key(self, row: int) -> str:
        return f"{self.title}/row {row}"

    def values(self, rows: Sequence[int]) -> list[str | int] | None:
        """Of the labels; None where one is missing, or -1 as the hub has it of a hidden test split."""
        if self._labels is None:
            return None
        found = [self._labels[row] for row in rows]
        if all(isinstance(one, int) and one >= 0 for one in found):
            return found
        return found if all(isinstance(one, str) for one in found) else None


def _load(place: str, is_local: bool, config_name: str | None, revision: str | None) -> Dataset | DatasetDict:
    import datasets

    if not is_local:
        with _quiet("huggingface_hub"):  # it says of each attempt to reach the hub that it failed
            return datasets.load_dataset(place, config_name, revision=revision)
    path = Path(place)
    if any((path / name).is_file() for name in _SAVED):
        return datasets.load_from_disk(place)
    if path.is_file():
        return datasets.load_dataset("parquet", data_files=place)
    return datasets.load_dataset(place, config_name)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within it a library's logger says nothing that is no error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _advice(error: Exception) -> str:
    """What came of loading, in a line: the library's own, but for the network."""
    offline = {"OfflineModeIsEnabled", "ConnectionError", "ConnectTimeout", "LocalEntryNotFoundError", "ConnectError"}
    kinds = {type(error).__name__, type(error.__cause__).__name__, type(error.__context__).__name__}
    if kinds & offline:
        return "the hub cannot be reached, and it was not downloaded before; say data.path if it lies on a disk"
    return reason_of(error)
