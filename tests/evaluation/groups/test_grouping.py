"""Which group an image is in, whatever says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lehr.errors import LehrError
from lehr.evaluation.groups.grouping import Column, Grouping, find_groupings

NAMES = ["dress/1.jpg", "dress/2.jpg", "hat/1.jpg", "hat/old/3.jpg"]


@dataclass
class Some:
    """Images of which only labels and names matter."""

    labels: Tensor | None = None
    names: list[str] | None = None


def found(
    images: Some, by: str | None = None, column: str | None = None, table: Column | None = None
) -> list[Grouping]:
    return find_groupings(images, ("dress", "hat"), by, column, table, "clothes, test")  # type: ignore[arg-type]


def members(grouping: Grouping) -> dict[str, list[int]]:
    return {title: (grouping.codes == i).nonzero()[:, 0].tolist() for i, title in enumerate(grouping.titles)}


def table(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_text(text)
    return path


def test_labels_are_called_as_their_classes_and_numbers_are_in_their_order() -> None:
    (grouping,) = found(Some(torch.tensor([1, 0, 10, 9, 1])))
    assert (grouping.name, members(grouping)) == ("label", {"9": [3], "10": [2], "dress": [1], "hat": [0, 4]})


def test_each_factor_that_varies_is_a_grouping_and_one_can_be_asked_for() -> None:
    images = Some(torch.tensor([[0, 5, 1], [1, 5, 1], [1, 5, 0]]))
    assert [grouping.name for grouping in found(images)] == ["factor 0", "factor 2"]
    (one,) = found(images, "factor", "2")
    assert members(one) == {"0": [2], "1": [0, 1]}


def test_folders_are_those_that_the_files_lie_in() -> None:
    (grouping,) = found(Some(names=NAMES), "folder")
    assert members(grouping) == {"dress": [0, 1], "hat": [2], "hat/old": [3]}


def test_a_table_names_images_by_their_path_or_by_the_last_part_where_that_is_one_file_s(tmp_path: Path) -> None:
    text = "tone,file,age\ndark,dress/1.jpg,3\nlight,./hat/1.jpg,4\nlight,2.jpg,\ndark,else.jpg,1\n"
    column = Column.read(table(tmp_path, text), "tone")
    (grouping,) = found(Some(names=NAMES), table=column)
    assert (grouping.name, members(grouping), grouping.n_without) == ("tone", {"dark": [0], "light": [1, 2]}, 1)


def test_the_first_column_has_the_names_where_none_is_called_so_and_the_other_is_the_group(tmp_path: Path) -> None:
    column = Column.read(table(tmp_path, "\ufeffx,tone\n1.jpg,dark\n\n3.jpg,light\n"), None)
    assert (column.name, column.values) == ("tone", {"1.jpg": "dark", "3.jpg": "light"})
    # 1.jpg is the name of two of the images
    assert column.grouping(NAMES).codes.tolist() == [-1, -1, -1, 0]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("file,tone,age\na,b,c\n", "tune", "column=tune: .*has no such column; did you mean tone?"),
        ("file,tone,age\na,b,c\n", None, "column: is missing; .* has tone, age"),
        ("file,tone\na,b\na,c\n", "tone", "line 3 says that a is c, a line before it b"),
        ("file,tone\na\n", "tone", "line 2 has 1 columns, fewer than the line of titles"),
        ("file\na\n", None, "expected a line of titles"),
        ("", None, "expected a line of titles"),
    ],
)
def test_a_table_that_says_nothing_is_refused_in_a_line(
    tmp_path: Path, text: str, column: str | None, message: str
) -> None:
    with pytest.raises(LehrError, match=message):
        Column.read(table(tmp_path, text), column)


@pytest.mark.parametrize(
    ("images", "by", "column", "message"),
    [
        (Some(), None, None, r"clothes, test: has no labels to group by; say by=folder, or by=FILE.csv column=NAME"),
        (Some(), "folder", None, r"its images have no file names"),
        (Some(torch.zeros(3, dtype=torch.int64)), None, None, r"there is one group alone \(dress\)"),
        (Some(torch.arange(300)), None, None, r"by label there are 300 groups; at most 200 are compared"),
        (Some(torch.arange(3)), "factor", None, r"has one label of each image, and no factors; say by=label"),
        (Some(torch.zeros(3, 2)), "label", None, r"has 2 factors of each image, and no label; say by=factor"),
        (Some(torch.zeros(3, 2)), "factor", "2", r"column=2: is no factor; clothes, test has 2, from 0 to 1"),
    ],
)
def test_what_the_data_have_not_is_said_in_a_line(images: Some, by: str, column: str, message: str) -> None:
    with pytest.raises(LehrError, match=message):
        found(images, by, column)


def test_a_table_of_other_images_is_refused(tmp_path: Path) -> None:
    column = Column.read(table(tmp_path, "file,tone\nz.jpg,dark\n"), None)
    with pytest.raises(LehrError, match=r"names none of the images, which are called as dress/1.jpg; it has z.jpg"):
        column.grouping(NAMES)
