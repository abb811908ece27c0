"""Training on some classes alone, and testing on all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lehr.data import Arrays, Digits, ImageFolder
from lehr.errors import DataError


def factors(tmp_path: Path, common: dict[str, Any], **changes: Any) -> Arrays:
    """200 images whose level is their row, with two factors: row % 4 and row % 5."""
    rows = np.arange(200)
    labels = np.stack([rows % 4, rows % 5], 1)
    np.savez(tmp_path / "a.npz", x=np.broadcast_to(rows.astype(np.uint8)[:, None, None], (200, 3, 3)), y=labels)
    return Arrays(path=str(tmp_path / "a.npz"), key="x", labels_key="y", test_fraction=0.2, **common | changes)


def test_training_and_validation_are_of_these_classes_and_the_test_split_is_the_same(common: dict[str, Any]) -> None:
    some, all_ = Digits(**common, train_on=[3, "7"]), Digits(**common)
    some.setup()
    all_.setup()
    for split in ("train", "val"):
        whole, part = all_.images(split).labels, some.images(split).labels
        assert part.tolist() == [label for label in whole.tolist() if label in (3, 7)]
    assert some.fingerprint.splits["test"] == all_.fingerprint.splits["test"]
    assert len(some.images("test").labels.unique()) == 10


def test_a_value_of_one_of_several_factors(tmp_path: Path, common: dict[str, Any]) -> None:
    data = factors(tmp_path, common, train_on=[4], train_on_factor=1)
    data.setup()
    assert set(data.images("train").labels[:, 1].tolist()) == {4}
    assert set(data.images("train").labels[:, 0].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_on": [1]}, r"data.train_on_factor is missing: a has 2 factors, from 0 to 1"),
        ({"train_on": [1], "train_on_factor": 2}, r"data.train_on_factor is 2: a has 2 factors, from 0 to 1"),
        ({"train_on": [9], "train_on_factor": 0}, r"data.train_on: a has no class 9; there are: 0, 1, 2, 3"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    tmp_path: Path, common: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        factors(tmp_path, common, **changes).setup()


def test_without_labels_or_factors_there_is_nothing_to_choose(tmp_path: Path, common: dict[str, Any]) -> None:
    np.save(tmp_path / "b.npy", np.zeros((50, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"data.train_on: b has no labels"):
        Arrays(path=str(tmp_path / "b.npy"), **common | {"train_on": [1]}).setup()
    with pytest.raises(DataError, match="one label of each image, and no factors"):
        Digits(**common, train_on=[1], train_on_factor=0).setup()


def test_classes_that_are_called_by_numbers_are_known_by_these(tmp_path: Path, common: dict[str, Any]) -> None:
    """`data.train_on=[2]` is a number where it is typed, and class 1 is called so."""
    for name in ("1", "2", "4"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (4, 4), 10 * i).save(tmp_path / "pictures" / name / f"{i}.png")
    data = ImageFolder(path=str(tmp_path / "pictures"), size=4, channels=1, **common | {"train_on": [2]})
    data.setup()
    assert data.images("train").labels.unique().tolist() == [1]


def test_a_class_that_one_split_has_not_is_no_mistake_but_a_split_without_any_example_is(
    tmp_path: Path, common: dict[str, Any]
) -> None:
    """One image of class 9, which lies in training or in validation."""
    labels = np.arange(50) % 2
    labels[7] = 9
    np.savez(tmp_path / "c.npz", x=np.zeros((50, 3, 3), np.uint8), y=labels)
    arrays = {"path": str(tmp_path / "c.npz"), "key": "x", "labels_key": "y", **common}
    data = Arrays(**arrays, train_on=[1, 9])
    data.setup()
    assert {*data.images("train").labels.tolist(), *data.images("val").labels.tolist()} == {1, 9}
    with pytest.raises(DataError, match=r"no example is left for (training|validation): .*, data.train_on=\[9\]"):
        Arrays(**arrays, train_on=[9]).setup()
