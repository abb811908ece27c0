from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import ImageFolder
from lehr.data.crop import Form, View
from lehr.data.decode import decode
from lehr.data.loader import TrainingLoader
from lehr.data.walk import ALIAS, FORMAT, FURTHER, HIDDEN, list_images
from lehr.errors import DataError

# From Python 3.12 on, forking a process that has threads is deprecated; the decoding processes use no lock of torch.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

AUGMENTED = {"size": 8, "crop": "random", "flip": True, "test_fraction": 0.2}


def epoch_of(data: ImageFolder, epoch: int, first: int = 0) -> list[torch.Tensor]:
    loader = data.train_dataloader()
    assert isinstance(loader, TrainingLoader)
    loader._position = lambda: (epoch, first)
    return [batch.images for batch in loader]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_training_is_a_function_of_seed_and_epoch_whatever_the_workers(photos: Path, common: dict[str, Any]) -> None:
    alone, helped = (ImageFolder(path=str(photos), workers=workers, **AUGMENTED, **common) for workers in (0, 2))
    for data in (alone, helped):
        data.setup()
    first, second = epoch_of(alone, 0), epoch_of(alone, 1)
    assert same(epoch_of(helped, 1), second)
    assert same(epoch_of(helped, 0), first)
    assert same(epoch_of(helped, 1, first=1), second[1:])
    assert not same(first, second)


def test_augmentation_changes_between_epochs_and_never_touches_evaluation(photos: Path, common: dict[str, Any]) -> None:
    data = ImageFolder(path=str(photos), workers=0, **AUGMENTED, **common)
    data.setup()
    plain = torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")])
    rows = [torch.arange(data.n_train)]
    images = data.images("train")
    views = [next(images.fetch(rows, epoch=epoch, device="cpu")) for epoch in (None, 0, 0, 1)]
    assert views[0].equal(plain)
    assert views[1].equal(views[2])
    assert not views[1].equal(views[3])
    assert not views[1].equal(plain)


def test_evaluation_meets_every_file_once_with_its_label(photos: Path, common: dict[str, Any]) -> None:
    data = ImageFolder(path=str(photos), workers=2, size=8, **common)
    data.setup()
    assert (data.n_train, data.n_val, data.n_test) == (22, 5, 3)
    files = []
    for split in ("train", "val", "test"):
        images = data.images(split)
        got = torch.cat([batch.images for rank in range(2) for batch in data.evaluation_loader(split, "cpu", rank, 2)])
        wanted = np.stack([decode(View(file), Form(8, 3)) for file in images.files])
        np.testing.assert_array_equal((got * 255).round().numpy(), wanted)
        assert [("cat", "dog")[i] for i in images.labels] == [Path(file).parent.name for file in images.files]
        files += images.files
    assert sorted(files) == list_images(photos).files


def test_pixels_are_of_256_levels_whatever_was_cut_and_resized(photos: Path, common: dict[str, Any]) -> None:
    data = ImageFolder(path=str(photos), workers=0, **AUGMENTED, **common)
    data.setup()
    assert data.levels == 256
    levels = torch.cat(epoch_of(data, 0)).double() * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)


def test_two_passes_at_once_do_not_disturb_each_other(photos: Path, common: dict[str, Any]) -> None:
    data = ImageFolder(path=str(photos), workers=2, **AUGMENTED, **common)
    data.setup()
    wanted = epoch_of(data, 0)
    got = []
    for batch in data.train_dataloader():
        got.append(batch.images)
        assert sum(map(len, data.evaluation_loader("train", "cpu"))) == data.n_train
    assert same(got, wanted)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_damaged_file_stops_training_with_one_line(
    photos: Path, common: dict[str, Any], workers: int, damage: str
) -> None:
    bad = photos / "cat" / "04.PNG"
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"hello")
    data = ImageFolder(path=str(photos), workers=workers, size=8, **common)
    data.setup()
    with pytest.raises(DataError, match=r"cat/04\.PNG cannot be read as an image: .") as caught:
        [list(data.evaluation_loader(split, "cpu")) for split in ("train", "val", "test")]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_files_are_skipped_and_listed(photos: Path, common: dict[str, Any], workers: int) -> None:
    for name in ("cat/04.PNG", "dog/09.PNG"):
        content = (photos / name).read_bytes()
        (photos / name).write_bytes(content[: len(content) * 2 // 3])
    data = ImageFolder(path=str(photos), workers=workers, size=8, on_corrupt="skip", **common)
    data.setup()
    assert [line.partition(" cannot be read as an image: ")[0] for line in data.skipped] == ["cat/04.PNG", "dog/09.PNG"]
    assert all(line.partition(": ")[2] for line in data.skipped)
    assert data.n_train + data.n_val + data.n_test == 28
    for split in ("train", "val", "test"):
        assert sum(map(len, data.evaluation_loader(split, "cpu"))) == len(data.images(split))


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_files_of_all_splits_are_found_before_training(
    photos: Path, tmp_path: Path, common: dict[str, Any], workers: int
) -> None:
    test = tmp_path / "test"
    shutil.copytree(photos, test)
    data = ImageFolder(path=str(photos), test_path=str(test), workers=workers, size=8, **common)
    data.setup()
    data.require_readable()
    for name in ("cat/04.PNG", "dog/09.PNG"):
        (test / name).write_bytes((test / name).read_bytes()[:200])
    with pytest.raises(DataError, match=r"test/cat/04\.PNG cannot be read .* \(and 1 more\); repair it, or leave such"):
        data.require_readable()


@pytest.mark.parametrize(
    ("path", "test_path", "line"),
    [
        (
            "photos",
            "photos",
            r"data\.test_path=.*photos: is data\.path: 30 of 30 test images would be trained on too; ",
        ),
        ("photos", "photos/dog", r"photos/dog: lies within data\.path=.*photos: 10 of 10 test images"),
        ("photos/dog", "photos", r"photos: holds data\.path=.*photos/dog: 10 of 30 test images"),
        ("photos", "alias", r"alias: is data\.path: 30 of 30"),
        ("photos", "links", r"links: holds files of data\.path=.*photos \(.*links/1\.png\): 2 of 3 test images"),
    ],
)
def test_no_file_is_both_trained_on_and_tested_on(
    photos: Path, tmp_path: Path, common: dict[str, Any], path: str, test_path: str, line: str
) -> None:
    (tmp_path / "alias").symlink_to(photos)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "1.png").symlink_to(photos / "cat" / "04.PNG")
    (tmp_path / "links" / "2.png").hardlink_to(photos / "cat" / "05.PNG")
    shutil.copy(photos / "cat" / "07.PNG", tmp_path / "links" / "3.png")  # a copy is another file
    data = ImageFolder(path=str(tmp_path / path), test_path=str(tmp_path / test_path), workers=0, **common)
    with pytest.raises(DataError, match=line) as caught:
        data.setup()
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_readable_image_is_refused(tmp_path: Path, common: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="holds no image file"):
        ImageFolder(path=str(tmp_path), **common).setup()
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(DataError, match="none of 1 files"):
        ImageFolder(path=str(tmp_path), on_corrupt="skip", workers=0, **common).setup()


def test_classes_of_the_test_folder_have_the_numbers_of_the_training_folder(
    photos: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    test = tmp_path / "test"
    shutil.copytree(photos / "dog", test / "dog")
    data = ImageFolder(path=str(photos), test_path=str(test), workers=0, size=8, **common)
    data.setup()
    assert set(data.images("test").labels.tolist()) == {1}
    assert set(data.images("train").labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("option", "value"), [("channels", 2), ("crop", "center"), ("on_corrupt", "ignore"), ("size", 0), ("workers", -1)]
)
def test_a_wrong_option_is_named(photos: Path, common: dict[str, Any], option: str, value: object) -> None:
    problems = ImageFolder(path=str(photos), **{option: value}, **common).check()
    assert len(problems) == 1
    assert problems[0].startswith(f"data.{option}={value}: must be ")


def test_what_lies_among_the_images_and_is_not_read_is_counted(
    photos: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    shutil.copytree(photos / "dog", photos / ".thumbnails")
    (photos / "puppy").symlink_to("dog")
    (photos / "cat" / "raw.HEIC").touch()
    frames = [Image.new("L", (8, 8), level) for level in (10, 200)]
    frames[0].save(photos / "cat" / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("L", (8, 8)).save(photos / "cat" / "still.gif")
    data = ImageFolder(path=str(photos), workers=0, size=8, **common)
    data.setup()
    data.require_readable()
    assert data.left_out == {
        HIDDEN: sorted(f".thumbnails/{path.name}" for path in (photos / "dog").iterdir()),
        FORMAT: ["cat/raw.HEIC"],
        ALIAS: ["puppy"],
        FURTHER: ["cat/moving.gif"],
    }
    assert data.n_train + data.n_val + data.n_test == 32
    shutil.copytree(photos / "cat", tmp_path / "moving")
    apart = ImageFolder(path=str(photos / "dog"), test_path=str(tmp_path / "moving"), workers=0, size=8, **common)
    apart.setup()
    apart.require_readable()
    assert apart.left_out[FURTHER] == ["moving.gif"]
    described = data.described()["left_out"]
    assert described[FORMAT] == {"n": 1, "files": ["cat/raw.HEIC"]}
    for path in (photos / "dog").iterdir():
        path.rename(photos / ".thumbnails" / f"_{path.name}")
    with pytest.raises(DataError, match=r"dog holds no image file .*\)$"):
        ImageFolder(path=str(photos / "dog"), **common).setup()
    (photos / "dog" / ".hidden.png").touch()
    with pytest.raises(DataError, match=r"dog holds no image file .*; left out: 1 hidden$"):
        ImageFolder(path=str(photos / "dog"), **common).setup()
