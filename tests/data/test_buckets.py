"""Batches of several sizes: which picture is in which, in what order, and that nothing is seen twice or left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.cli.main import main
from lehr.data import ImageFolder
from lehr.data.buckets import BucketOrder, nearest_bucket
from lehr.data.loader import TrainingLoader
from lehr.run.history import read_history
from lehr.training.length import Length

BUCKETS = [[16, 16], [12, 20], [20, 12]]
OF = torch.tensor([0] * 23 + [1] * 14 + [2] * 5)[torch.randperm(42, generator=torch.Generator().manual_seed(0))]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Pictures of one colour each, its number: square, wide, high and one that lies on its side."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    for i in range(20):
        size = [(24, 24), (40, 24), (24, 40)][i % 3]
        exif = Image.Exif()
        if i == 7:
            exif[0x0112] = 6  # wide in the file, high as it is looked at
        Image.new("RGB", size, (i, i, i)).save(folder / f"{i:02}.png", exif=exif)
    return folder


def test_the_nearest_shape_counts_as_a_factor() -> None:
    sizes = torch.tensor([(100, 100), (300, 180), (180, 300), (120, 100), (132, 100), (1, 9), (9, 1)])
    assert nearest_bucket(sizes, BUCKETS).tolist() == [0, 1, 2, 0, 1, 2, 1]  # the border is at sqrt(20 / 12) = 1.29


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_example_is_seen_once_an_epoch_in_batches_of_one_bucket(world: int) -> None:
    orders = [BucketOrder(OF, 5, 1, rank, world) for rank in range(world)]
    epochs = [[list(order.shares(epoch)) for order in orders] for epoch in (0, 1)]
    dropped = sum(rest for rest in (23 % 5, 14 % 5, 5 % 5) if rest < world)
    for shares in epochs:
        batches = [torch.cat([share.indices for share in batch]) for batch in zip(*shares, strict=True)]
        assert tuple(map(len, batches)) == orders[0].sizes
        assert all(len(OF[batch].unique()) == 1 for batch in batches)
        seen = Counter(torch.cat(batches).tolist())
        assert set(seen.values()) == {1}
        assert len(seen) == 42 - dropped
        assert [len(orders[0]), orders[0].examples(3)] == [len(batches), 15]
        for batch in zip(*shares, strict=True):
            assert [share.start for share in batch] == np.cumsum([0, *map(len, (s.indices for s in batch))])[
                :-1
            ].tolist()
    first, second = ([share.indices.tolist() for share in shares[0]] for shares in epochs)
    assert first != second
    assert [OF[rows[0]].item() for rows in first] != sorted(OF[rows[0]].item() for rows in first)  # mixed
    assert [s.indices.tolist() for s in orders[0].shares(1, 4)] == second[4:]
    counters = [share.counter for shares in epochs for share in shares[0]]
    assert len(set(counters)) == len(counters)


def test_the_batches_of_an_epoch_are_the_same_whatever_the_number_of_ranks() -> None:
    alone = [share.indices.tolist() for share in BucketOrder(OF, 6, 1).shares(3)]
    ranks = [list(BucketOrder(OF, 6, 1, rank, 2).shares(3)) for rank in range(2)]
    together = [one.indices.tolist() + other.indices.tolist() for one, other in zip(*ranks, strict=True)]
    assert together == alone[: len(together)]


def test_training_gets_the_size_of_the_bucket_and_evaluation_its_own(shapes: Path, common: dict[str, Any]) -> None:
    data = ImageFolder(
        path=str(shapes),
        size=16,
        buckets=BUCKETS,
        workers=0,
        crop="random",
        test_fraction=0.0,
        **common | {"batch_size": 4},
    )
    data.setup()
    loader = data.train_dataloader()
    assert isinstance(loader, TrainingLoader)
    seen = {}
    for batch in loader:
        for image in batch.images:
            seen[round(float(image[0, 0, 0]) * 255)] = list(image.shape[1:])
    wanted = {i: BUCKETS[2 if i == 7 else i % 3] for i in seen}
    assert seen == wanted
    assert len(seen) == data.n_train == 16
    for split in ("train", "val"):
        for batch in data.evaluation_loader(split, "cpu"):
            assert batch.images.shape[2:] == (16, 16)


def test_a_wide_picture_is_cut_to_the_bucket_and_no_more(tmp_path: Path, common: dict[str, Any]) -> None:
    columns = np.broadcast_to(np.arange(40, dtype=np.uint8), (24, 40))  # as wide as the second bucket
    for i in range(4):
        Image.fromarray(columns[:, :, None].repeat(3, 2)).save(tmp_path / f"{i}.png")
    data = ImageFolder(path=str(tmp_path), size=16, buckets=[[16, 16], [24, 40]], workers=0, **common)
    data.setup()
    (batch,) = data.train_dataloader()
    np.testing.assert_array_equal((batch.images[0, 0] * 255).round().numpy(), columns)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"buckets": [[16]]}, "data.buckets=[[16]]: must be pairs of a height and a width in pixels"),
        ({"buckets": BUCKETS, "resize": 20, "size": 16}, "data.buckets: pictures cannot be resized to data.resize=20"),
        ({"buckets": BUCKETS, "crop": "random_resized"}, "data.buckets: a box of random ratio"),
    ],
)
def test_what_goes_with_no_buckets_is_one_line(photos: Path, common: dict[str, Any], values: Any, line: str) -> None:
    (found,) = ImageFolder(path=str(photos), **values, **common).check()
    assert found.startswith(line)


@pytest.mark.slow
def test_an_autoencoder_is_trained_on_batches_of_several_sizes(shapes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [
        "data=images", f"data.path={shapes}", "data.size=16", "data.buckets=[[16,16],[16,24],[24,16]]",
        "data.workers=0", "data.batch_size=4", "data.test_fraction=0", "model=kl_f8_small", "model.base_channels=32",
        "likelihood=laplace", "kl=constant", "trainer.max_epochs=2", "evaluate=none", "logger=none",
        "callbacks.samples=null", "trainer.log_every_n_steps=1", f"dir={run}",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    images = [point["images"] for point in read_history(run / "history.jsonl") if "train/loss" in point]
    assert images[-1] == 2 * 18
    assert sorted(set(images)) == images


def test_images_seen_are_counted_as_batches_have_them(shapes: Path, common: dict[str, Any]) -> None:
    order = BucketOrder(OF, 5, 0)
    length = Length(len(order), len(order), 100, order.examples(len(order)), 5, order)
    sizes = [len(share.indices) for epoch in (0, 1) for share in order.shares(epoch)]
    assert [length.images(k) for k in range(len(sizes) + 1)] == np.cumsum([0, *sizes]).tolist()
