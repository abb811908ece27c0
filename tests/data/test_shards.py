"""Shards that the `webdataset` package wrote, held against what it reads in them."""

from __future__ import annotations

import gzip
import io
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lehr.data import Shards
from lehr.data.loader import TrainingLoader
from lehr.data.survey.survey import survey
from lehr.data.tar import shards_of
from lehr.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
PER_SHARD = 8


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def webdataset() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webdataset

        return webdataset


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of eight images each with a `.cls`. Not to be changed."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for k in range(4):
        with webdataset().TarWriter(str(folder / f"train-{k:03}.tar")) as sink:
            for i in range(PER_SHARD):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                sink.write({"__key__": f"{k}/sample{i:03}", "png": png(pixels), "cls": str((k + i) % 3).encode()})
    return folder


@pytest.fixture
def shards(written: Path, tmp_path: Path) -> Path:
    """A copy of them, to be changed."""
    for file in written.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def read(path: Path | str, common: dict[str, Any], **more: Any) -> Shards:
    data = Shards(**{"path": str(path), "size": 8, "workers": 0, "test_fraction": 0.0, **more}, **common)
    data.setup()
    return data


def test_every_example_is_what_webdataset_reads(written: Path, common: dict[str, Any]) -> None:
    data = read(written, common)
    wanted = {}
    urls = [str(file) for file in sorted(written.iterdir())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in webdataset().WebDataset(urls, shardshuffle=False).decode("rgb8"):
            name = f"{Path(sample['__url__']).name}/{sample['__key__']}.png"
            wanted[name] = (sample["png"].transpose(2, 0, 1), sample["cls"])
    assert len(wanted) == 32
    for split in ("train", "val"):
        images = data.images(split)
        pixels = torch.cat(list(images.fetch(torch.arange(len(images)).split(5), epoch=None, device="cpu")))
        for name, got, label in zip(images.names, pixels, images.labels, strict=True):
            original, cls = wanted.pop(name)
            np.testing.assert_array_equal((got * 255).round().numpy(), original)
            assert label == cls
    assert not wanted


def test_an_epoch_is_a_permutation_that_ranks_share_and_that_goes_on_anywhere(
    written: Path, common: dict[str, Any]
) -> None:
    data = read(written, common)

    def epoch(first: int = 0, rank: int = 0, world: int = 1, workers: int = 0) -> list[bytes]:
        data._rank_and_world = lambda: (rank, world)  # type: ignore[method-assign]
        data._decodes().workers = workers
        loader = data.train_dataloader()
        assert isinstance(loader, TrainingLoader)
        loader._position = lambda: (3, first)
        return [image.numpy().tobytes() for batch in loader for image in batch.images]

    whole = epoch()
    assert len(whole) == len(set(whole)) == data.n_train == 26  # in batches of 10, 10 and 6
    assert epoch(first=1) == whole[10:]
    assert epoch(first=2, workers=2) == whole[20:]
    parts = [epoch(rank=rank, world=4) for rank in range(4)]
    assert sorted(image for part in parts for image in part) == sorted(whole)
    data.close()


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("train-{000..003}.tar", [0, 1, 2, 3]),
        ("train-{002..000}.tar", [2, 1, 0]),
        ("train-*.tar", [0, 1, 2, 3]),
        ("train-00[13].tar", [1, 3]),
        ("{train-003,train-001}.tar", [3, 1]),
        ("train-002.tar", [2]),
        ("", [0, 1, 2, 3]),
    ],
)
def test_patterns_stand_for_files_in_order(written: Path, pattern: str, numbers: list[int]) -> None:
    assert shards_of(f"{written}/{pattern}") == [f"{written}/train-{k:03}.tar" for k in numbers]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("{}/train-{{000..005}}.tar", "data.path: there is no shard {}/train-004.tar"),
        ("{}/other-*.tar", "data.path: there is no shard {}/other-*.tar"),
        ("{}/nothing", "data.path: there is no shard {}/nothing"),
        (
            "https://example.org/train-{{000..005}}.tar",
            "data.path: https://example.org/train-{{000..005}}.tar: shards are read at random from a disk: download "
            "them first, and give their folder",
        ),
        (
            "/here/s3:/bucket/a.tar",  # as a path that was made absolute
            "data.path: s3://bucket/a.tar: shards are read at random from a disk: download them first, and give their "
            "folder",
        ),
    ],
)
def test_where_there_are_no_shards_is_one_line(written: Path, common: dict[str, Any], path: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path.format(written), common)
    assert caught.value.problems == (line.format(written),)


def test_a_folder_that_goes_while_shards_are_looked_for_has_none(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gone", "locked"):
        (shards / name).mkdir()
    listed, reasons = os.scandir, {"gone": FileNotFoundError(2, "No such file or directory")}

    def scandir(path: str) -> Any:
        if reason := reasons.get(Path(path).name):
            reason.filename = path
            raise reason
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(shards_of(str(shards))) == 4
    reasons["locked"] = PermissionError(13, "Permission denied")
    with pytest.raises(DataError, match=f"^{shards}/locked cannot be listed: Permission denied$"):
        shards_of(str(shards))


def truncated(folder: Path) -> None:
    content = (folder / "train-001.tar").read_bytes()
    (folder / "train-001.tar").write_bytes(content[: content.index(b"1/sample004.png") + 512 + 100])


def between(folder: Path) -> None:
    content = (folder / "train-001.tar").read_bytes()
    (folder / "train-001.tar").write_bytes(content[: content.index(b"1/sample004.cls")])


def overwritten(folder: Path) -> None:
    content = bytearray((folder / "train-001.tar").read_bytes())
    start = content.index(b"1/sample004.cls")
    content[start : start + 512] = b"\xab" * 512
    (folder / "train-001.tar").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "line", "left"),
    [
        (truncated, "train-001.tar is cut off within 1/sample004.png", 28),
        (between, "train-001.tar is damaged or cut off after 1/sample003.png", 28),
        (overwritten, "train-001.tar is damaged or cut off after 1/sample003.png", 28),
        (lambda folder: (folder / "train-001.tar").write_bytes(b"hello" * 300), "train-001.tar is no tar file", 24),
        (lambda folder: (folder / "train-001.tar").write_bytes(b""), "train-001.tar is no tar file", 24),
        (
            lambda folder: (folder / "train-001.tar").write_bytes(gzip.compress(b"a")),
            "train-001.tar is compressed (gzip), and its members cannot be read at random: decompress it",
            24,
        ),
    ],
    ids=["truncated", "between", "overwritten", "text", "empty", "gzip"],
)
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_damaged_shard_is_one_line_and_skipped_where_that_is_asked_for(
    shards: Path, common: dict[str, Any], damage: Any, line: str, left: int, workers: int
) -> None:
    damage(shards)
    with pytest.raises(DataError) as caught:
        read(shards, common, workers=workers)
    assert str(caught.value) == f"{shards}/{line}; repair it, or use what can be read with data.on_corrupt=skip"
    data = read(shards, common, on_corrupt="skip", workers=workers)
    assert data.skipped == [line]
    assert data.n_train + data.n_val == left
    data.close()


def test_a_member_that_cannot_be_decoded_is_named_with_its_shard(shards: Path, common: dict[str, Any]) -> None:
    content = bytearray((shards / "train-002.tar").read_bytes())
    start = content.index(b"2/sample005.png") + 512
    content[start + 60 : start + 120] = bytes(60)
    (shards / "train-002.tar").write_bytes(content)
    name = "train-002.tar/2/sample005.png cannot be read as an image: "
    data = read(shards, common)
    data.require_readable()  # not looked at ahead of need
    with pytest.raises(DataError, match=name) as caught:
        [list(data.evaluation_loader(split, "cpu")) for split in ("train", "val")]
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=name):
        read(shards, common, verify=True).require_readable()
    (found,) = read(shards, common, on_corrupt="skip").skipped
    assert found.startswith(name)


def test_labels_may_be_names_and_lie_in_json(tmp_path: Path, common: dict[str, Any]) -> None:
    with webdataset().TarWriter(str(tmp_path / "a.tar")) as sink:
        for i in range(12):
            picture = png(np.full((8, 8, 3), i, np.uint8))
            meta = {"label": ("shoe", "hat")[i % 2], "kind": i}
            sink.write({"__key__": f"{i:02}", "png": picture, "seg.png": picture, "json": json.dumps(meta).encode()})
        sink.write({"__key__": "text", "txt": b"no picture"})
    with pytest.raises(DataError, match=r"a\.tar/00 has several pictures \(png, seg\.png\): say which with data\.ext"):
        read(tmp_path, common)
    data = read(tmp_path / "a.tar", common, extension="png")
    assert data.classes == ["hat", "shoe"]
    assert data.left_out == {"samples without a picture": ["a.tar/text"]}
    images = data.images("train")
    assert [(1, 0)[int(name[6:8]) % 2] for name in images.names] == images.labels.tolist()
    kinds = read(tmp_path, common, extension="seg.png", label="kind").images("train")
    assert [int(name[6:8]) for name in kinds.names] == kinds.labels.tolist()
    assert read(tmp_path, common, extension="png", label="other").images("train").labels is None


def test_a_sample_whose_label_was_cut_off_takes_no_labels_from_the_others(
    tmp_path: Path, common: dict[str, Any]
) -> None:
    with webdataset().TarWriter(str(tmp_path / "a.tar")) as sink:
        for i in range(12):
            sink.write({"__key__": f"{i:02}", "jpg": png(np.full((8, 8, 3), i, np.uint8)), "json": b'{"label": 1}'})
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: content.index(b"09.json") + 100])
    data = read(tmp_path, common, on_corrupt="skip")
    assert data.n_train + data.n_val == 9
    assert set(data.images("train").labels.tolist()) == {1}


def test_the_same_shards_elsewhere_are_the_same_data(written: Path, shards: Path, common: dict[str, Any]) -> None:
    here, there = read(written, common), read(shards, common)
    assert here.fingerprint == there.fingerprint
    assert here.described()["equal"] == {}


def test_no_shard_is_both_trained_on_and_tested_on(written: Path, common: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"data\.test_path=.*train-003\.tar: .*1 of 1 test images"):
        read(written, common, test_path=str(written / "train-003.tar"))
    data = read(written / "train-{000..002}.tar", common, test_path=str(written / "train-003.tar"))
    assert (data.n_train + data.n_val, data.n_test) == (24, 8)


def test_a_survey_looks_into_shards_as_into_folders(shards: Path, common: dict[str, Any]) -> None:
    truncated(shards)
    found = survey(Shards(path=str(shards), size=8, workers=0, **common))
    assert found.files is not None
    assert found.files.formats == {"PNG": 28}
    damaged = found.finding("damaged")
    assert damaged is not None
    assert damaged.names == ("train-001.tar is cut off within 1/sample004.png",)
    assert found.picture.size[0] > 100


def test_the_time_that_training_waits_for_its_batches_is_counted_and_no_other(
    written: Path, common: dict[str, Any]
) -> None:
    data = read(written, common)
    images = data.images("train")
    fetch = images.fetch

    def slowly(*args: Any, **more: Any) -> Any:
        for pixels in fetch(*args, **more):
            time.sleep(0.02)
            yield pixels

    images.fetch = slowly  # type: ignore[method-assign]
    start = time.perf_counter()
    n = 0
    for _ in data.train_dataloader():
        time.sleep(0.05)
        n += 1
    took = time.perf_counter() - start
    assert 0.02 * n <= data.waiting.seconds <= took - 0.05 * n
