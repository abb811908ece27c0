from __future__ import annotations

import pytest
import torch

from lehr.data.images import ArrayImages


def fetch(images: ArrayImages, rows: list[int], device: str = "cpu") -> torch.Tensor:
    return next(images.fetch([torch.tensor(rows)], epoch=None, device=device))


def test_eight_bit_levels_become_fractions_of_255() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(2, 1, 8, 16)
    pixels = fetch(ArrayImages(levels), [1, 0])
    assert pixels.dtype == torch.float32
    assert pixels.flatten().tolist() == [
        torch.tensor(i / 255, dtype=torch.float32).item() for i in [*range(128, 256), *range(128)]
    ]


def test_a_subset_of_a_subset_keeps_rows_and_labels_together_and_copies_nothing() -> None:
    array = torch.rand(20, 1, 2, 2)
    images = ArrayImages(array, torch.arange(20))
    part = images.subset(torch.tensor([3, 9, 12, 18])).subset(torch.tensor([1, 3]))
    assert len(part) == 2
    assert part.labels is not None
    assert part.labels.tolist() == [9, 18]
    assert fetch(part, [0, 1]).equal(array[[9, 18]])
    assert part._store is images._store


def test_a_batch_is_a_copy_so_that_changing_it_leaves_the_data_alone() -> None:
    array = torch.rand(3, 1, 2, 2)
    before = array.clone()
    fetch(ArrayImages(array), [0, 1, 2]).zero_()
    assert array.equal(before)


@pytest.mark.parametrize(
    ("array", "known", "levels"),
    [
        (torch.tensor([0, 255], dtype=torch.uint8), None, 2),
        (torch.tensor([0, 1], dtype=torch.uint8), None, 256),
        (torch.tensor([0.0, 1.0]), None, 2),
        (torch.tensor([0.0, 1.0]), 17, 2),
        (torch.tensor([0.0, 0.5]), None, None),
        (torch.tensor([0.0, 0.5]), 17, 17),
    ],
)
def test_the_grey_levels_are_recognised_or_known(array: torch.Tensor, known: int | None, levels: int | None) -> None:
    images = ArrayImages(array.reshape(2, 1, 1, 1), levels=known)
    assert images.levels == levels
    assert images.subset(torch.tensor([0])).levels == levels
