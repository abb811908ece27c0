"""Data sets of Hugging Face, written to a disk and read from there."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import HubImages
from lehr.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
LABELS = [i % 3 for i in range(30)]
NAMES = ["shirt", "dress", "hat"]


def hugging_face() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets

        datasets.disable_progress_bars()
        return datasets


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def made() -> Any:
    datasets = hugging_face()
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {"picture": [{"bytes": png(one), "path": None} for one in PIXELS], "label": LABELS}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def read(common: dict[str, Any], **said: Any) -> HubImages:
    data = HubImages(**{"size": 8, "workers": 0, "test_fraction": 0.0, **said}, **common)
    data.setup()
    return data


@pytest.fixture(params=["saved", "splits", "parquet", "parquet folder"])
def path(request: pytest.FixtureRequest, made: Any, tmp_path: Path) -> Path:
    place = tmp_path / "data"
    if request.param == "saved":
        made.save_to_disk(place)
    elif request.param == "splits":
        hugging_face().DatasetDict({"train": made, "other": made.select(range(3))}).save_to_disk(place)
    else:
        place.mkdir()
        made.to_parquet(place / "train-00000.parquet")
        place = place / "train-00000.parquet" if request.param == "parquet" else place
    return place


def test_every_row_is_read_with_its_class(path: Path, common: dict[str, Any]) -> None:
    data = read(common, path=str(path))
    assert list(data.classes) == NAMES
    seen = []
    for split in ("train", "val"):
        images = data.images(split)
        pixels = torch.cat(list(images.fetch(torch.arange(len(images)).split(4), epoch=None, device="cpu")))
        for name, got, label in zip(images.names, pixels, images.labels, strict=True):
            row = int(name.removeprefix("row "))
            np.testing.assert_array_equal((got * 255).round().numpy(), PIXELS[row].transpose(2, 0, 1))
            assert label == LABELS[row]
            seen.append(row)
    assert sorted(seen) == list(range(30))


def test_splits_of_the_data_set_are_those_of_the_run(made: Any, tmp_path: Path, common: dict[str, Any]) -> None:
    parts = {"training": made.select(range(20)), "dev": made.select(range(20, 24)), "held": made.select(range(24, 30))}
    hugging_face().DatasetDict(parts).save_to_disk(tmp_path / "data")
    data = read(common, path=str(tmp_path / "data"), split="training", val_split="dev", test_split="held", workers=2)
    assert (data.n_train, data.n_val, data.n_test) == (20, 4, 6)
    got = next(iter(data.evaluation_loader("test", "cpu"))).images
    np.testing.assert_array_equal((got * 255).round().numpy(), PIXELS[24:30].transpose(0, 3, 1, 2))
    data.close()
    with pytest.raises(DataError, match=r"data has no split called 'train', only training, dev, held$"):
        read(common, path=str(tmp_path / "data"))


def test_bytes_in_a_column_of_their_own_are_images_if_one_says_so(tmp_path: Path, common: dict[str, Any]) -> None:
    rows = {"jpg": [png(one) for one in PIXELS], "text": ["a"] * 30}
    hugging_face().Dataset.from_dict(rows).save_to_disk(tmp_path / "data")
    where = {"path": str(tmp_path / "data")}
    with pytest.raises(DataError, match=r"data has no column of images; say data\.column, one of jpg, text$"):
        read(common, **where)
    with pytest.raises(DataError, match=r"data\.column=png: .*data has no such column, only jpg, text$"):
        read(common, column="png", **where)
    data = read(common, column="jpg", label_column="text", **where)
    assert data.classes == ["a"]
    assert data.n_train + data.n_val == 30


def test_a_row_that_is_no_picture_is_named(made: Any, tmp_path: Path, common: dict[str, Any]) -> None:
    features, rows = made.features, {"picture": [{"bytes": png(one), "path": None} for one in PIXELS], "label": LABELS}
    rows["picture"][7] = {"bytes": b"hello", "path": None}
    hugging_face().Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "data")
    with pytest.raises(DataError, match=r"data/train/row 7 cannot be read as an image: ") as caught:
        read(common, path=str(tmp_path / "data"), verify=True).require_readable()
    assert "\n" not in str(caught.value)
    data = read(common, path=str(tmp_path / "data"), on_corrupt="skip")
    assert [line.partition(" cannot")[0] for line in data.skipped] == ["row 7"]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({}, "data: say either dataset or path, a name on the hub or where the data set lies"),
        ({"path": "/no/where"}, "data.path: there is no file or folder /no/where"),
        (
            {"path": "/", "test_split": "train"},
            "data.split, data.val_split, data.test_split: train, train: each must be another",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(common: dict[str, Any], said: Any, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(common, **said)
    assert caught.value.problems == (line,)


def test_a_name_that_cannot_be_had_is_one_line(common: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^data\.dataset=nobody/nothing: the hub cannot be reached, and it was not"):
        read(common, dataset="nobody/nothing")


def test_a_folder_without_a_data_set_is_one_line(tmp_path: Path, common: dict[str, Any]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^data\.path=.*empty: .") as caught:
        read(common, path=str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)
