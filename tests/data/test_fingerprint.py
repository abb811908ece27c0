"""Data are known again by what they hold: wherever they lie, and not when any of it is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lehr.data import Arrays, ImageDataModule, ImageFolder
from lehr.data.fingerprint import Fingerprint
from lehr.data.splits import Splits, with_test_held_out


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 4, 4), dtype=np.uint8)


def of_array(tmp_path: Path, common: dict[str, Any], pixels: np.ndarray, **changes: Any) -> Fingerprint:
    path = tmp_path / "pixels.npy"
    np.save(path, pixels)
    return ready(Arrays(path=str(path), **common | changes)).fingerprint


def ready(data: Any) -> Any:
    data.setup()
    return data


def of_folder(path: Path, common: dict[str, Any], **changes: Any) -> Fingerprint:
    return ready(ImageFolder(path=str(path), workers=0, size=8, **common | changes)).fingerprint


def test_the_same_pixels_are_the_same_data_in_whatever_file(tmp_path, common, pixels) -> None:
    first = of_array(tmp_path, common, pixels)
    assert first.difference(of_array(tmp_path, common, pixels)) is None
    assert first.difference(of_array(tmp_path, common, pixels[:, None], layout="nchw")) is None
    np.savez_compressed(tmp_path / "moved.npz", x=pixels, y=np.arange(50) % 3)
    labelled = ready(Arrays(path=str(tmp_path / "moved.npz"), key="x", labels_key="y", **common)).fingerprint
    assert first.difference(labelled, labels=True) is None


def test_a_pixel_a_type_or_a_shape_makes_other_data(tmp_path, common, pixels) -> None:
    first = of_array(tmp_path, common, pixels, test_fraction=0)
    other = pixels.copy()
    other[17, 3, 3] ^= 1
    (where,) = [n for n in ("train", "val") if first.splits[n].digest != of_array(
        tmp_path, common, other, test_fraction=0).splits[n].digest]  # fmt: skip
    assert first.difference(of_array(tmp_path, common, other, test_fraction=0)).startswith(
        f"{where} has others, the first is image "
    )
    flat = pixels.reshape(50, 2, 8)
    assert first.difference(of_array(tmp_path, common, flat, test_fraction=0)) is not None
    assert first.difference(of_array(tmp_path, common, pixels / np.float32(255), test_fraction=0)) is not None


def test_more_rows_and_another_split_are_told_by_their_numbers(tmp_path, common, pixels) -> None:
    first = of_array(tmp_path, common, pixels)
    more = of_array(tmp_path, common, np.concatenate([pixels, pixels[:10]]))
    assert first.difference(more) == "train has 43 images, had 36; val has 11 images, had 9; test has 6 images, had 5"
    without = of_array(tmp_path, common, pixels, test_fraction=0)
    assert without.difference(first).endswith("; there was no test split")
    assert first.difference(without).endswith("; there is no test split")
    assert "test has others" in first.difference(of_array(tmp_path, common, pixels, split_seed=1))


def test_a_change_among_many_rows_is_found_to_within_a_part(tmp_path, common) -> None:
    pixels = np.arange(1000, dtype=np.float32)[:, None, None].repeat(4, 1) / 1000
    first = of_array(tmp_path, common, pixels, test_fraction=0, val_fraction=0.001)
    (validated,) = set(range(1000)) - {round(float(x) * 1000) for x in _values(tmp_path, common)}
    other = pixels.copy()
    other[500 if validated != 500 else 501] = 0
    said = first.difference(of_array(tmp_path, common, other, test_fraction=0, val_fraction=0.001))
    row = 500 - (validated < 500) if validated != 500 else 500
    assert said == f"train has others, the first is one of images {row // 4 * 4} to {row // 4 * 4 + 3}"


def _values(tmp_path: Path, common: dict[str, Any]) -> Tensor:
    data = ready(Arrays(path=str(tmp_path / "pixels.npy"), **common | {"test_fraction": 0, "val_fraction": 0.001}))
    return torch.cat([batch.images[:, 0, 0, 0] for batch in data.evaluation_loader("train", "cpu")])


def test_labels_count_where_both_have_some(tmp_path, common, pixels) -> None:
    def of(labels: np.ndarray) -> Fingerprint:
        np.savez(tmp_path / "labelled.npz", x=pixels, y=labels)
        return ready(Arrays(path=str(tmp_path / "labelled.npz"), key="x", labels_key="y", **common)).fingerprint

    first, other = of(np.arange(50)), of(np.arange(50)[::-1].copy())
    assert first.difference(other) is None
    assert first.difference(other, labels=True).startswith("train has other labels")


def test_moved_files_are_the_same_data_and_replaced_ones_are_named(photos, tmp_path, common) -> None:
    first = of_folder(photos, common)
    shutil.move(photos, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere"
    assert first.difference(of_folder(moved, common)) is None
    (moved / "cat" / "04.PNG").write_bytes((moved / "cat" / "05.PNG").read_bytes())
    assert "(cat/04.PNG)" in first.difference(of_folder(moved, common))
    (moved / "cat" / "04.PNG").rename(moved / "dog" / "zz.PNG")
    assert first.difference(of_folder(moved, common)).startswith("gone: cat/04.PNG; new: dog/zz.PNG; ")


def test_what_is_skipped_makes_another_split(photos, common) -> None:
    first = of_folder(photos, common)
    (photos / "cat" / "04.PNG").write_bytes(b"hello")
    assert first.difference(of_folder(photos, common, on_corrupt="skip")).startswith("gone: cat/04.PNG; ")


def test_a_fingerprint_survives_json_and_a_checkpoint(photos, tmp_path, common) -> None:
    first = of_folder(photos, common)
    assert Fingerprint.read(json.loads(json.dumps(first.plain()))).difference(first) is None
    torch.save(first.plain(files=False), tmp_path / "file")
    kept = Fingerprint.read(torch.load(tmp_path / "file", weights_only=True))
    assert kept.difference(first) is None
    assert kept.splits["train"].files is None
    lying = first.plain()
    lying["train"]["files"] = ["a"]
    for wrong in (
        None,
        [],
        {},
        {"train": 3},
        {"train": {"m": 3}},
        {"train": {"n": "x", "digest": None}},
        "text",
        lying,
    ):
        assert Fingerprint.read(wrong) is None


def test_equal_images_are_counted_within_and_across_splits(tmp_path, common, pixels) -> None:
    np.save(tmp_path / "train.npy", np.concatenate([pixels, pixels[:3]]))
    np.save(tmp_path / "test.npy", np.concatenate([pixels[:2], 255 - pixels[:5]]))
    data = ready(Arrays(path=str(tmp_path / "train.npy"), test_path=str(tmp_path / "test.npy"), **common))
    equal = data.equal_examples
    assert equal.get("train test", 0) + equal.get("val test", 0) >= 2
    assert equal.get("train", 0) + equal.get("val", 0) + equal.get("train val", 0) == 3
    assert "test" not in equal


class Own:
    """Images of a user's own: no more than the protocol asks for."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.labels, self.shape, self.levels = values, None, (1, 2, 2), None

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: Tensor) -> Own:
        return Own(self.values[rows])

    def fetch(self, batches: Iterable[Tensor], *, epoch: int | None, device: Any) -> Iterator[Tensor]:
        assert epoch is None
        for batch in batches:
            yield self.values[batch].view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(device)


class Unknown(Own):
    """They say that nothing tells one from another."""

    def subset(self, rows: Tensor) -> Unknown:
        return Unknown(self.values[rows])

    def digests(self) -> None:
        return None


class OwnData(ImageDataModule):
    def __init__(self, values: Tensor, kind: type[Own], **common: Any) -> None:
        super().__init__(**common)
        self.values, self.kind = values, kind

    def read(self) -> Splits:
        return with_test_held_out("own", self.kind(self.values), 0.2, self.split_seed)

    def check(self) -> list[str]:
        return []


def test_images_of_a_users_own_are_known_by_their_pixels(common) -> None:
    values = torch.linspace(0, 1, 600)
    first = ready(OwnData(values, Own, **common)).fingerprint
    assert first.difference(ready(OwnData(values.clone(), Own, **common)).fingerprint) is None
    values[44] = 0.5
    assert "has others" in first.difference(ready(OwnData(values, Own, **common)).fingerprint)


def test_images_without_content_to_go_by_are_counted(common) -> None:
    values = torch.linspace(0, 1, 600)
    data = ready(OwnData(values, Unknown, **common))
    assert data.equal_examples == {}
    assert data.fingerprint.difference(ready(OwnData(values / 2, Unknown, **common)).fingerprint) is None
    assert "train has" in data.fingerprint.difference(ready(OwnData(values[:500], Unknown, **common)).fingerprint)


def test_the_digest_decides_whatever_the_blocks_say(tmp_path, common, pixels) -> None:
    first, second = of_array(tmp_path, common, pixels), of_array(tmp_path, common, 255 - pixels)
    plain = second.plain()
    for name, split in plain.items():
        split["blocks"] = first.splits[name].blocks
    assert "train has others, the first is one of images 0 to " in str(first.difference(Fingerprint.read(plain)))
