"""Files that are damaged, or made to harm: one line each, and neither memory nor time."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lehr.data.arrays import load
from lehr.data.numpy_file import NumpyFile
from lehr.data.pixels import as_images
from lehr.errors import DataError


def npy(header: str, content: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode("latin1")
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + content


def head(shape: str, descr: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return bytearray(file.getvalue())


def refused(path: Path, content: bytes, reason: str, key: str | None = None, labels: str | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        as_images(load(path, key, labels)[0], "auto", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pickle" not in str(caught.value)


GOOD = npy(head("(2, 2, 2)"), bytes([0, 50, 100, 150, 200, 250, 255, 3]))


class Boom:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no NumPy file: it starts with nothing"),
        (b"label,pixel0\n1,2\n", "is no NumPy file: it starts with 6c 61"),
        (pickle.dumps(Boom()), "is no NumPy file: it starts with 80 "),
        (npy(head("(1,)", "'|O'"), pickle.dumps(Boom())), "holds Python objects"),
        (npy(head("(1,)", "[('a', '|O'), ('b', '<i4')]")), "holds Python objects"),
        (npy(head("(2, 2, 2)", "[('r', '|u1')]"), bytes(8)), r"holds \[\('r', 'u1'\)\], expected uint8"),
        (npy(head("(2, 2, 2)", "'<c8'"), bytes(64)), "holds complex64"),
        (npy(head("(2, 2, 2)", "'<U1'"), bytes(32)), "holds <U1"),
        (npy(head("(2, 2, 2)", "'<M8[s]'"), bytes(64)), "holds datetime64"),
        (npy(head("(2, 2, 2)", "'<i2'"), bytes(16)), "holds int16"),
        (npy(head("()"), b"\1"), "is a single number"),
        (npy(head("(8,)"), bytes(8)), r"shape \(8,\)"),
        (npy(head("(0, 2, 2)")), "holds no image"),
        (npy(head("(-2, 2, -2)"), bytes(8)), r"shape \(-2, 2, -2\)"),
        (npy(head("(2, 2, 2)"), bytes(7)), "7 bytes of data, its header promises 8"),
        (npy(head("(2, 2, 2)"), bytes(9)), "9 bytes of data, its header promises 8"),
        (npy(head(f"({2**46}, 64, 64)"), bytes(100)), "100 bytes of data, its header promises 288,230,376,151,711,744"),
        (npy(head("(2, 2, 2)", "__import__('os').system('false')")), "header cannot be read"),
        (npy("no dictionary"), "header cannot be read"),
        (npy("{" * 5000), "header cannot be read"),
        (npy(head("(2, 2, 2)") + " " * 20_000, bytes(8), b"\2\0"), "header cannot be read"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header cannot be read"),
        (b"\x93NUMPY\x09\x09" + bytes(100), "header cannot be read"),
        (b"\x93NUMPY\x01", "header cannot be read"),
    ],
)
def test_an_array_that_is_none_of_images_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    refused(tmp_path / "a.npy", content, reason)
    refused(tmp_path / "a.npz", content, reason)
    if content.startswith(b"\x93NUMPY"):
        refused(tmp_path / "b.npz", zipped({"x.npy": content}), reason)


def test_an_archive_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    encrypted = zipped({"x.npy": GOOD})
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    refused(path, encrypted, "encrypted")
    unknown = zipped({"x.npy": GOOD})
    unknown[8] = unknown[unknown.index(b"PK\1\2") + 10] = 97
    refused(path, unknown, "compression method is not supported")
    stored = zipped({"x.npy": GOOD}, zipfile.ZIP_STORED)
    stored[stored.index(GOOD) + len(GOOD) - 1] ^= 1
    refused(path, stored, "Bad CRC-32")
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        damaged = zipped({"x.npy": GOOD}, method)
        start = 30 + len("x.npy")
        damaged[start : start + 8] = b"\xff" * 8
        refused(path, damaged, "a.npz")
    refused(path, zipped({"x.npy": GOOD})[:-30], "cannot be read as a NumPy file: File is not a zip file")
    refused(path, zipped({}), "holds 0 arrays")
    refused(path, b"PK\3\4" + bytes(100), "not a zip file")


def test_what_an_archive_promises_is_not_believed(tmp_path: Path) -> None:
    huge = npy(head(f"({2**34}, 64, 64)"), bytes(8))
    liar = zipped({"x.npy": huge})
    at = liar.index(b"PK\1\2") + 24
    liar[at : at + 4] = struct.pack("<I", 2**32 - 2)
    refused(tmp_path / "a.npz", liar, "is damaged: it promises 4,294,967,294 bytes")
    refused(tmp_path / "a.npz", zipped({"x.npy": huge}), "8 bytes of data, its header promises 70,368,744,177,664")


def test_an_array_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lehr.data.checks.os.sysconf", lambda name: 1)
    refused(tmp_path / "a.npz", zipped({"x.npy": GOOD}), r"a\.npz takes 0\.0 GiB, this machine has 0\.0 GiB of memory")


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = zipped({"x.npy": GOOD, "notes.txt": b"hello", "fake.npy": b"hello", "y.npy": npy(head("(2,)"), bytes(2))})
    refused(path, content, "'notes.txt' in .* is no array", "notes.txt")
    refused(path, content, "'fake' in .* is no array", "fake")
    refused(path, content, "'fake' in .* is no array", "x", "fake")
    refused(path, content, "holds 3 arrays, set data.key to one of x, fake, y")
    refused(path, content, "data.key: .* has no array 'z', only x, fake, y", "z")
    refused(path, content, "data.labels_key: .* uint8 labels of shape", "x", "x")
    large = npy(head("(2,)", "'<u8'"), b"\xff" * 16)
    refused(path, zipped({"x.npy": GOOD, "y.npy": large}), "labels up to 18446744073709551615", "x", "y")
    many = zipped({f"array{i}\n.npy": GOOD for i in range(5000)})
    refused(path, many, r"holds 5000 arrays, set data.key to one of array0\\n, .* and 4980 more")


def test_one_array_beside_other_files_needs_no_key(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(zipped({"README.md": b"hello", "x.npy": GOOD}))
    assert load(tmp_path / "a.npz", None, None)[0].shape == (2, 2, 2)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", ["|u1", "<f4", ">f4", ">f8", "<f2", "|b1"])
@pytest.mark.parametrize("shape", [(30, 5, 4), (30, 5, 4, 3), (30, 1, 5, 6)])
def test_what_is_read_by_blocks_is_what_was_written(
    tmp_path: Path, method: int, order: str, dtype: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lehr.data.numpy_file._BLOCK", 700)
    numbers = np.random.default_rng(0).random(shape)
    numbers = numbers * 255 if dtype == "|u1" else numbers > 0.5 if dtype == "|b1" else numbers
    array = np.asarray(numbers.astype(dtype), order=order)
    file = io.BytesIO()
    np.save(file, array)
    (tmp_path / "a.npz").write_bytes(zipped({"x.npy": file.getvalue()}, method))
    (tmp_path / "a.npy").write_bytes(file.getvalue())
    wanted = array[:, None] if len(shape) == 3 else array.transpose(0, 3, 1, 2) if shape[-1] == 3 else array
    wanted = wanted if dtype == "|u1" else wanted.astype(np.float32)
    for name in ("a.npz", "a.npy"):
        images = as_images(load(tmp_path / name, None, None)[0], "auto", tmp_path / name)
        np.testing.assert_array_equal(images.numpy(), wanted)
        assert images.is_contiguous()


def test_a_bool_is_true_whatever_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(head("(2, 2, 2)", "'|b1'"), bytes([0, 1, 2, 255, 0, 0, 7, 1])))
    images = as_images(load(tmp_path / "a.npy", None, None)[0], "auto", tmp_path)
    assert images.flatten().tolist() == [0, 1, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("last", [True, False])
def test_colours_that_nothing_is_seen_of_are_white_unless_they_are_to_be_kept(
    tmp_path: Path, dtype: str, last: bool
) -> None:
    top = 255 if dtype == "uint8" else 1
    array = np.random.default_rng(0).integers(0, 2, (6, 5, 4, 4)).astype(dtype) * top
    array[0, 0, 0] = [0, 0, 0, 0]
    array[1, 0, 0] = [0, 0, 0, top]
    np.save(tmp_path / "a.npy", array if last else array.transpose(0, 3, 1, 2))
    layout = "nhwc" if last else "nchw"
    stored = NumpyFile(tmp_path / "a.npy").stored(None)
    kept = as_images(stored, layout, tmp_path, hidden_white=False).numpy()
    np.testing.assert_array_equal(kept, array.transpose(0, 3, 1, 2))
    array[..., :3][array[..., 3] == 0] = top
    np.testing.assert_array_equal(as_images(stored, layout, tmp_path).numpy(), array.transpose(0, 3, 1, 2))


@pytest.mark.slow
def test_reading_takes_little_more_memory_than_the_images(tmp_path: Path) -> None:
    """It was four times as much."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from /proc")
    mebibytes = 64
    for name, n in (("small", 1), ("large", mebibytes * 256)):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((n, 64, 64, 1), np.uint8))
    code = (
        "import re, sys; from pathlib import Path\n"
        "from lehr.data.images import ArrayImages\n"
        "from lehr.data.numpy_file import NumpyFile; from lehr.data.pixels import as_images\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "def read(name):\n"
        "    path = Path(sys.argv[1]) / name\n"
        "    ArrayImages(as_images(NumpyFile(path).stored('x'), 'auto', path)).levels\n"
        "read('small.npz'); before = peak(); read('large.npz'); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert mebibytes < float(done.stdout) < 1.75 * mebibytes
