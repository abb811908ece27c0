"""What a program hands over as data: taken into memory, checked, and known again by its content."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lehr.data import Digits, GivenDataModule, GivenImages, ImageDataModule
from lehr.data.collecting import handed_data
from lehr.data.given import Handed
from lehr.errors import DataError
from lehr.run.identity import identity

N = 40
PIXELS = torch.rand(N, 3, 6, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(N) % 7
VALUES = {"batch_size": 8, "eval_batch_size": 50, "val_fraction": 0.1, "binarize": "none", "seed": 0, "split_seed": 0}
SECTION = {"_target_": "lehr.data.GivenImages", "source": None, "digest": None, **VALUES}
SECTION |= {"test_fraction": 0.2, "layout": "auto", "hidden": "white"}


class Items(Dataset):
    """A data set of a user's."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def built(handed: Handed, **values: Any) -> ImageDataModule:
    module = handed.build(handed.section(SECTION | values))
    module.setup()
    return module


def digest(handed: Handed) -> str:
    return handed.section(SECTION)["digest"]


def everything(module: ImageDataModule, *splits: str) -> torch.Tensor:
    """All images of the splits, in an order that is a function of their pixels."""
    return ordered(torch.cat([batch.images for split in splits for batch in module.evaluation_loader(split, "cpu")]))


def ordered(images: torch.Tensor) -> torch.Tensor:
    pixels = images.flatten(1).double()
    return images[(pixels @ torch.arange(1.0, pixels.shape[1] + 1).double().sqrt()).argsort()]


def problems(*arguments: Any, **named: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        handed_data(*arguments, **named).section(SECTION)
    assert all("\n" not in line for line in caught.value.problems)
    return list(caught.value.problems)


def eight_bits(scale: int = 255) -> np.ndarray:
    return (PIXELS * scale).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("given", "pixels"),
    [
        (PIXELS, PIXELS),
        (PIXELS.numpy(), PIXELS),
        (PIXELS.double(), PIXELS),
        (PIXELS.permute(0, 2, 3, 1), PIXELS),
        (PIXELS.clone().requires_grad_(), PIXELS),
        (PIXELS.bfloat16(), PIXELS.bfloat16().float()),
        (PIXELS[:, 0] > 0.5, (PIXELS[:, :1] > 0.5).float()),
        (eight_bits(), torch.from_numpy(eight_bits()) / 255),
        (eight_bits()[:, 0], torch.from_numpy(eight_bits()[:, :1]) / 255),
    ],
)
def test_arrays_and_tensors_of_every_kind_give_their_pixels(given: Any, pixels: torch.Tensor) -> None:
    assert torch.equal(everything(built(handed_data(given)), "train", "val", "test"), ordered(pixels))


@pytest.mark.parametrize("given", [PIXELS, PIXELS.numpy().copy(), eight_bits()])
def test_what_is_of_the_right_kind_is_not_copied_and_never_changed(given: Any) -> None:
    array = np.asarray(given)
    before = array.copy()
    array.flags.writeable = False  # one that cannot be written to is as good
    handed = handed_data(given, labels=LABELS)
    module = handed.build(handed.section(SECTION))
    assert module.content["train"]._store.array.data_ptr() == array.ctypes.data
    module.setup()
    everything(module, "train")
    assert np.array_equal(array, before)


def test_the_digest_is_of_the_content_alone() -> None:
    one = digest(handed_data(PIXELS, labels=LABELS))
    items = Items([(image, int(label)) for image, label in zip(PIXELS, LABELS, strict=True)])
    assert digest(handed_data(PIXELS.permute(0, 2, 3, 1).double().numpy(), labels=LABELS.tolist())) == one
    assert digest(handed_data(items)) == one
    changed = PIXELS.clone()
    changed[17, 2, 3, 1] += 1e-6
    others = [(changed, LABELS), (PIXELS, LABELS.flip(0)), (PIXELS, None), (PIXELS[1:], LABELS[1:])]
    assert one not in {digest(handed_data(images, labels=labels)) for images, labels in others}
    assert digest(handed_data(PIXELS, labels=LABELS, test=changed, test_labels=LABELS)) != one


def test_values_of_a_run_that_are_not_of_these_data_are_named() -> None:
    handed = handed_data(PIXELS)
    section = handed.section(SECTION)
    assert handed.problems(section) == []
    assert handed.problems({**section, "source": "numpy.ndarray"}) == []
    (problem,) = handed_data(PIXELS.flip(0)).problems(section)
    assert f"the run has {section['digest']}; these are not the data that it was given" in problem


def test_an_array_that_was_changed_since_is_another() -> None:
    images = PIXELS.clone()
    handed = handed_data(images)
    before = built(handed).fingerprint
    images[3] = 0
    assert "train has others" in (before.difference(built(handed).fingerprint) or "")


def test_test_images_are_tested_on_and_nothing_else_is() -> None:
    handed = handed_data(PIXELS[:30], labels=LABELS[:30], test=Items([(x, 1) for x in PIXELS[30:]]))
    module = built(handed)
    assert handed.section(SECTION)["test_fraction"] is None
    assert torch.equal(everything(module, "test"), ordered(PIXELS[30:]))
    assert module.images("test").labels.tolist() == [1] * 10
    assert module.n_train + module.n_val == 30


def test_items_are_tensors_arrays_or_pictures_each_fetched_once() -> None:
    seen: list[tuple[int, int]] = []
    arrays = [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in eight_bits()]
    items = Items([(Image.fromarray(array), 3) for array in arrays])
    pictures = handed_data(items, progress=lambda *at: seen.append(at))
    assert digest(pictures) == digest(handed_data(eight_bits(), labels=torch.full((N,), 3)))
    assert digest(handed_data(arrays)) == digest(handed_data(eight_bits()))
    assert digest(handed_data(TensorDataset(PIXELS))) == digest(handed_data(PIXELS))
    assert seen == [(1, N), (N, N)]


class Photos(LightningDataModule):
    """A data module of a user's, with a validation split and no test split."""

    def setup(self, stage: str) -> None:
        pairs = [(image, int(label)) for image, label in zip(PIXELS, LABELS, strict=True)]
        self.parts = Items(pairs[:30]), Items(pairs[30:])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[0], batch_size=4, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.parts[1], batch_size=4)


def test_a_lightning_data_module_keeps_its_splits() -> None:
    handed = handed_data(Photos())
    section = handed.section(SECTION)
    assert section["source"].endswith(".Photos")
    assert section["val_fraction"] is None
    module = built(handed)
    assert torch.equal(everything(module, "val"), ordered(PIXELS[30:]))
    assert (module.n_train, module.n_val, module.n_test) == (24, 10, 6)
    assert set(module.images("val").labels.tolist()) == set(LABELS[30:].tolist())


def test_a_data_module_of_lehr_s_kind_is_used_as_it_is() -> None:
    own = Digits(**VALUES | {"batch_size": 33})
    handed = handed_data(own)
    section = handed.section({})
    assert section["type"] == "lehr.data.digits.Digits"
    others = {"batch_size": 33, "test_fraction": 0.2, "train_on": None, "train_on_factor": None}
    assert section["values"] == VALUES | others
    module = handed.build(section)
    assert module.batch_size == 33
    assert module.fingerprint is own.fingerprint
    assert handed.problems(section) == []
    (problem,) = handed_data(Digits(**VALUES)).problems(section)
    assert problem.startswith("data.values=")


def test_a_run_of_before_a_data_module_had_an_argument_is_a_run_of_it_at_its_default() -> None:
    handed = handed_data(Digits(**VALUES))
    now = handed.section({})
    before = {**now, "values": {key: value for key, value in now["values"].items() if "train_on" not in key}}
    assert before != now
    assert handed.problems(before) == []
    assert identity({"data": before}) == identity({"data": now})
    fewer = handed_data(Digits(**VALUES, train_on=[3]))
    assert fewer.problems(fewer.section({})) == []
    assert identity({"data": before}) != identity({"data": fewer.section({})})
    other = {**now, "values": {**now["values"], "train_on_factor": 1}}
    assert identity({"data": before}) != identity({"data": other})
    (problem,) = handed.problems(other)
    assert problem.startswith("data.values=")


CASES = [
    (("mnist",), ["data: got str, expected an array or a tensor"]),
    (((PIXELS, LABELS),), ["data: got tuple, expected .* labels are given as labels="]),
    ((Items,), [r"data: got the class Items; give an instance, Items\(...\)"]),
    ((DataLoader(Items([1])),), ["data: got a DataLoader; give its data set, data=loader.dataset"]),
    ((PIXELS * 255,), ["data has values from .* to .*, expected floats in .*: x / 255"]),
    ((PIXELS.where(PIXELS < 0.99, torch.nan),), ["data holds NaN or infinity in .* of 40 images"]),
    ((LABELS,), [r"data has shape \(40,\), expected"]),
    ((PIXELS.long(),), ["data holds int64, expected uint8"]),
    ((PIXELS[:0],), ["data holds no image"]),
    ((PIXELS, LABELS[1:]), ["labels: data has 39 labels and 40 images"]),
    ((PIXELS, LABELS / 2), ["labels: data has float32 labels of shape"]),
    ((PIXELS, ["cat"] * N), ["labels: data has <U3 labels"]),
    ((PIXELS, None, PIXELS), ["test: is data, so that all test images"]),
    ((PIXELS, None, None, LABELS), ["test_labels: there are no test images"]),
    ((PIXELS * 2, LABELS, PIXELS[1:] - 1), ["test_labels: is missing", "data has values", "test has values"]),
    (
        (PIXELS * 2, LABELS[1:], PIXELS[:, :1, :4] - 1, LABELS[:3]),
        ["data has values", "labels: data has 39", "test has values", "test_labels: test has 3 labels"],
    ),
    ((PIXELS, None, PIXELS[:, :1]), [r"test has images of shape \(1, 6, 5\), data has \(3, 6, 5\)"]),
    ((Items([]),), ["data: .*Items is empty"]),
    ((Items([PIXELS[0], PIXELS[0, :1]]),), [r"data\[1\]: is of float32 and shape \(1, 6, 5\), data\[0\] of float32"]),
    ((Items([PIXELS[0], (PIXELS[0], 1)]),), [r"data\[1\]: has a label, other than data\[0\]"]),
    ((Items([(PIXELS[0], 1, 2)]),), [r"data\[0\]: has 3 parts"]),
    ((Items([{"image": 1}]),), [r"data\[0\]: is dict, expected a tensor"]),
    ((Items([(PIXELS[0], {})]),), ["labels: data has object labels"]),
    ((Items([PIXELS[0, 0, 0]]),), [r"data\[0\]: has shape \(5,\)"]),
    ((Items([(PIXELS[0], 1)]), LABELS[:1]), ["labels: data has labels of its own"]),
    ((Photos(), LABELS), ["labels: the data module that is given as data has its own"]),
    ((LightningDataModule(),), ["data: .*LightningDataModule has no train_dataloader"]),
]


@pytest.mark.parametrize(("given", "lines"), CASES)
def test_what_cannot_be_trained_on_is_refused_a_line_each(given: tuple[Any, ...], lines: list[str]) -> None:
    found = problems(*given)
    assert len(found) == len(lines)
    for line, pattern in zip(found, lines, strict=True):
        assert re.match(pattern, line), line


def test_an_item_that_fails_is_named() -> None:
    class Broken(Items):
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise KeyError("photo")
            return PIXELS[index]

    assert problems(Broken([0] * 9)) == ["data[5]: cannot be fetched (KeyError: 'photo')"]


def test_a_data_set_that_memory_cannot_hold_is_refused_at_its_first_item() -> None:
    class Endless(Items):
        def __len__(self) -> int:
            return 10**12

    (problem,) = problems(Endless([PIXELS[0]]))
    assert "GiB of memory" in problem


@pytest.mark.parametrize("build", [lambda: GivenImages(**VALUES), lambda: GivenDataModule()])
def test_a_configuration_alone_does_not_give_them_back(build: Any) -> None:
    with pytest.raises(DataError, match=r"was given its images from Python.*lehr.load\('DIR', data=images\)"):
        build()
