"""Which group each image is in: by its label, a factor, its folder, or a column of a table of the user's own."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from lehr.config.problems import did_you_mean
from lehr.data.images import Images
from lehr.errors import ConfigError, DataError, in_a_line

MOST_GROUPS = 200
"""More than these are no groups: the column is a number, or a name of each image."""
LABEL, FACTOR, FOLDER = "label", "factor", "folder"
WAYS = (LABEL, FACTOR, FOLDER)
_NAMES_OF_NAMES = ("file", "file_name", "filename", "image", "path", "name")


@dataclass(frozen=True)
class Grouping:
    """Groups of n images.

    Attributes:
        name: what they are by: "label", "factor 2", "folder", or the name of a column.
        codes: (n,) int64: the group of each image, -1 of one that is in none.
        titles: what group i is called.
    """

    name: str
    codes: Tensor
    titles: tuple[str, ...]

    @classmethod
    def of(cls, name: str, values: Sequence[str | None]) -> Grouping:
        """Of the group that each image has; None for none. Groups are in the order of their names, numbers first."""
        titles = sorted({value for value in values if value is not None}, key=_natural)
        number = {title: i for i, title in enumerate(titles)}
        codes = [-1 if value is None else number[value] for value in values]
        return cls(name, torch.tensor(codes, dtype=torch.int64), tuple(titles))

    @property
    def n_without(self) -> int:
        """How many images are in no group."""
        return int((self.codes < 0).sum())


@dataclass(frozen=True)
class Column:
    """A column of a table: what stands there for each file.

    Attributes:
        path: of the table.
        name: of the column.
        values: file -> value; of what is empty there is none.
    """

    path: Path
    name: str
    values: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, name: str | None) -> Column:
        """Of a CSV file with a line of titles: a column of files' names (`file`, `image`, ..., or else the first), and
        this one. Its name may be left out where there is one other alone.

        Raises:
            DataError: in a line, if it cannot be read, or two lines contradict each other on a file.
            ConfigError: if it has no such column.
        """
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"by={path}: cannot be read as CSV: {in_a_line(error)}") from error
        titles = [title.strip() for title in lines[0]] if lines else []
        if len(titles) < 2 or len(lines) < 2:
            raise DataError(f"by={path}: expected a line of titles, and below it a file's name and its group in each")
        of_files = next((i for i, title in enumerate(titles) if title.lower() in _NAMES_OF_NAMES), 0)
        others = [title for i, title in enumerate(titles) if i != of_files]
        if name is None and len(others) > 1:
            raise ConfigError(f"column: is missing; {path} has {', '.join(others)}")
        name = others[0] if name is None else name
        if name not in others:
            raise ConfigError(f"column={name}: {path} has no such column{did_you_mean(name, others)}")
        return cls(path, name, _pairs(path, lines[1:], of_files, titles.index(name)))

    def grouping(self, names: Sequence[str]) -> Grouping:
        """Of images with these names, by the whole name or, where that is one file's alone, by its last part.

        Raises:
            DataError: if none of them is in the table.
        """
        ends = Counter(PurePosixPath(file).name for file in self.values)
        by_end = {PurePosixPath(file).name: value for file, value in self.values.items()}
        ours = Counter(PurePosixPath(name).name for name in names)

        def group(name: str) -> str | None:
            end = PurePosixPath(name).name
            by_its_end = by_end.get(end) if ends[end] == 1 and ours[end] == 1 else None
            return self.values.get(name, by_its_end)

        found = [group(name) for name in names]
        if not any(value is not None for value in found):
            there = next(iter(self.values))
            raise DataError(f"by={self.path}: names none of the images, which are called as {names[0]}; it has {there}")
        return Grouping.of(self.name, found)


def find_groupings(
    images: Images, classes: Sequence[str], by: str | None, column: str | None, table: Column | None, what: str
) -> list[Grouping]:
    """The groupings that were asked for.

    Args:
        images: a split; none of them is decoded.
        classes: what class i of the labels is called, if that is known.
        by: "label", "factor", "folder"; None for labels, or all factors where labels are these. Ignored with a `table`.
        column: which factor; None for all of them.
        table: the user's own.
        what: the data set and its split, for messages.

    Raises:
        DataError: if the data do not have it.
        ConfigError: if there is no such factor.
    """
    names: Sequence[str] | None = getattr(images, "names", None)
    if table is not None or by == FOLDER:
        if names is None:
            raise DataError(f"{what}: its images have no file names, and so no folders and no lines of a table")
        found = [table.grouping(names)] if table else [_by_folder(names)]
    else:
        found = _by_labels(images.labels, classes, by, column, what)
    for grouping in found:
        n = len(grouping.titles)
        if n < 2:
            only = f" ({grouping.titles[0]})" if n else ""
            raise DataError(
                f"{what}: by {grouping.name} there is one group alone{only}, and nothing to compare it with"
            )
        if n > MOST_GROUPS:
            raise DataError(f"{what}: by {grouping.name} there are {n:,} groups; at most {MOST_GROUPS} are compared")
    return found


def _by_labels(
    labels: Tensor | None, classes: Sequence[str], by: str | None, column: str | None, what: str
) -> list[Grouping]:
    if labels is None:
        raise DataError(f"{what}: has no labels to group by; say by=folder, or by=FILE.csv column=NAME")
    if labels.ndim == 1:
        if by == FACTOR:
            raise DataError(f"{what}: has one label of each image, and no factors; say by=label")
        return [Grouping.of(LABEL, [_title(int(label), classes) for label in labels])]
    count = labels.shape[1]
    if by == LABEL:
        raise DataError(f"{what}: has {count} factors of each image, and no label; say by=factor")
    if column is not None and column not in map(str, range(count)):
        raise ConfigError(f"column={column}: is no factor; {what} has {count}, from 0 to {count - 1}")
    chosen = range(count) if column is None else [int(column)]
    varying = [j for j in chosen if len(chosen) == 1 or len(labels[:, j].unique()) > 1]
    return [Grouping.of(f"factor {j}", [str(int(value)) for value in labels[:, j]]) for j in varying]


def _title(label: int, classes: Sequence[str]) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)


def _by_folder(names: Sequence[str]) -> Grouping:
    return Grouping.of(FOLDER, [PurePosixPath(name).parent.as_posix() for name in names])


def _pairs(path: Path, lines: Sequence[Sequence[str]], of_files: int, of_values: int) -> dict[str, str]:
    """File -> value."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=2):
        if len(line) <= max(of_files, of_values):
            if any(cell.strip() for cell in line):
                raise DataError(f"by={path}: line {number} has {len(line)} columns, fewer than the line of titles")
            continue
        file, value = line[of_files].strip().replace("\\", "/").removeprefix("./"), line[of_values].strip()
        if found.setdefault(file, value) != value:
            raise DataError(f"by={path}: line {number} says that {file} is {value}, a line before it {found[file]}")
    return {file: value for file, value in found.items() if value}


def _natural(title: str) -> tuple[bool, float, str]:
    try:
        return False, float(title), title
    except ValueError:
        return True, 0.0, title
