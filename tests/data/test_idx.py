from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lehr.data import MNIST
from lehr.data.idx import read_idx
from lehr.errors import ConfigError, DataError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_mnist() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(50, 6, 5), (50,), (10, 6, 5), (10,)]
    return {name: rng.integers(0, 10, shape, dtype=np.uint8) for name, shape in zip(NAMES, shapes, strict=True)}


def write(folder: Path, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in small_mnist().items():
        content = idx(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw", "../MNIST/raw"])
def test_files_are_found_and_read_wherever_they_may_lie(
    tmp_path: Path, common: dict[str, Any], zipped: bool, place: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(root / place, zipped)
    data = MNIST(root=str(root), **common)
    data.prepare_data()
    data.setup()
    assert (data.name, data.shape, data.n_train, data.n_val, data.n_test) == ("MNIST", (1, 6, 5), 40, 10, 10)
    test = np.concatenate([batch.images.numpy() for batch in data.evaluation_loader("test", "cpu")])
    np.testing.assert_allclose(test[:, 0], small_mnist()[NAMES[2]] / 255, rtol=1e-6)
    labels = data.images("test").labels
    assert labels is not None
    assert labels.tolist() == small_mnist()[NAMES[3]].tolist()


LIAR = b"\0\0\x08\3" + b"\xff" * 12 + b"data"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a", b"", "not an IDX file"),
        ("a", b"\x89PNG\r\n", "not an IDX file"),
        ("a", idx(np.zeros((2, 3), np.uint8), kind=0x0D), "type 0x0d"),
        ("a", idx(np.zeros((2, 3), np.uint8))[:7], "truncated"),
        ("a", idx(np.zeros((2, 3), np.uint8))[:-1], "5 bytes of data, its header promises 6"),
        ("a", idx(np.zeros((2, 3), np.uint8)) + b"x", "7 bytes of data, its header promises 6"),
        ("a.gz", gzip.compress(idx(np.zeros((2, 3), np.uint8)), mtime=0)[:-9], "cannot be read"),
        ("a.gz", b"not gzip", "cannot be read"),
        ("a.gz", gzip.compress(idx(np.zeros((2, 3), np.uint8)), mtime=0) + b"garbage", "cannot be read"),
        ("a.gz", gzip.compress(idx(np.zeros((2, 3), np.uint8)) + b"x", mtime=0), "at least 7 bytes of data"),
        ("a", LIAR, "at most 20 bytes of data, its header promises 79228162458924105385300197375"),
        ("a.gz", gzip.compress(LIAR, mtime=0), "its header promises 79228162458924105385300197375"),
        ("a", b"\0\0\x08\xff" + bytes(4 * 255), "255 axes"),
        ("a", b"\0\0\x08\0x", "0 axes"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_a_file_that_grows_when_unpacked_no_more_is_read_than_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((2, 3), np.uint8)) + bytes(60_000_000), 1, mtime=0))
    tracemalloc.start()
    with pytest.raises(DataError, match="at least 7 bytes of data, its header promises 6"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_images_and_labels_of_different_length_do_not_belong_together(tmp_path: Path, common: dict[str, Any]) -> None:
    write(tmp_path, zipped=False)
    (tmp_path / NAMES[1]).write_bytes(idx(np.zeros(49, np.uint8)))
    with pytest.raises(DataError, match="do not belong together"):
        MNIST(root=str(tmp_path), **common).setup()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of the four gzipped files."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write(tmp_path / "served", zipped=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def from_mirrors(*mirrors: str) -> type[MNIST]:
    class Small(MNIST):
        pass

    Small.mirrors = mirrors
    Small.md5 = tuple(hashlib.md5(gzip.compress(idx(array), mtime=0)).hexdigest() for array in small_mnist().values())
    return Small


def test_absent_files_are_downloaded_from_the_first_mirror_that_has_them(
    tmp_path: Path, mirror: str, common: dict[str, Any]
) -> None:
    root = tmp_path / "new" / "mnist"
    data = from_mirrors(f"{mirror}absent/", mirror)(root=str(root), **common)
    data.prepare_data()
    assert sorted(os.listdir(root)) == sorted(f"{name}.gz" for name in NAMES)
    data.setup()
    assert data.n_test == 10


def test_a_file_with_the_wrong_checksum_is_not_kept(tmp_path: Path, mirror: str, common: dict[str, Any]) -> None:
    (tmp_path / "served" / f"{NAMES[0]}.gz").write_bytes(b"something else")
    root = tmp_path / "mnist"
    with pytest.raises(DataError, match=f"md5 .*, expected .*put {NAMES[0]}, .* into {root}") as caught:
        from_mirrors(mirror)(root=str(root), **common).prepare_data()
    assert "\n" not in str(caught.value)
    assert os.listdir(root) == []


def test_without_network_one_line_says_which_files_to_put_where(
    tmp_path: Path, common: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # Nothing listens on port 9 of this machine.
    data = from_mirrors("http://127.0.0.1:9/")(root=str(tmp_path / "mnist"), **common)
    for use in (data.prepare_data, data.setup):
        with pytest.raises(DataError, match=f"put {NAMES[0]}, .* into {tmp_path}/mnist") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_missing_root_is_a_problem_of_the_configuration(common: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"data\.root: is missing"):
        MNIST(root=None, **common).prepare_data()


@pytest.mark.skipif("LEHR_DATA" not in os.environ, reason="set LEHR_DATA to a folder with mnist/ to test the real one")
def test_the_real_mnist_has_its_known_mean(common: dict[str, Any]) -> None:
    data = MNIST(root=f"{os.environ['LEHR_DATA']}/mnist", **common | {"val_fraction": 1 / 6})
    data.setup()
    assert (data.shape, data.n_train, data.n_val, data.n_test) == ((1, 28, 28), 50_000, 10_000, 10_000)
    total = sum(
        batch.images.double().sum().item()
        for split in ("train", "val")
        for batch in data.evaluation_loader(split, "cpu")
    )
    assert total / (60_000 * 784) == pytest.approx(0.13066, abs=1e-5)
