"""MNIST and Fashion-MNIST: IDX files, plain or gzipped, downloaded where they are absent."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from lehr.data.checks import DEFLATE, as_text, reason_of, require_memory
from lehr.data.download import download
from lehr.data.images import ArrayImages
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits
from lehr.errors import DataError
from lehr.limits import PathString
from lehr.paths import expanded

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_UINT8 = 0x08
_MOST_AXES = 3


class MNIST(ImageDataModule):
    """Handwritten digits (LeCun et al. 1998): 60,000 for training and 10,000 for testing, 28x28.

    Args:
        root: the folder of the four IDX files, plain or gzipped. They may also lie where torchvision puts them: in
            `root/raw`, `root/MNIST/raw` or, beside `root`, in `MNIST/raw`.
        **common: see `ImageDataModule`.
    """

    title: ClassVar[str] = "MNIST"
    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    # Of the gzipped files as they are served, in the order of _TRAIN, _TEST.
    md5: ClassVar[tuple[str, ...]] = (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )

    def __init__(self, *, root: PathString, **common: Any) -> None:
        super().__init__(**common)
        self.root = root

    def prepare_data(self) -> None:
        """Check the configuration and download the files that are absent."""
        super().prepare_data()
        for name, md5 in zip((*_TRAIN, *_TEST), self.md5, strict=True):
            if self._find(name) is None:
                self._download(name, md5)

    def read(self) -> Splits:
        return Splits(self.title, self._read(*_TRAIN), self._read(*_TEST))

    def _read(self, images_name: str, labels_name: str) -> ArrayImages:
        paths = [self._find(name) for name in (images_name, labels_name)]
        if None in paths:
            raise DataError(f"{self.title}: {self._wanted()}")
        images, labels = (read_idx(path) for path in paths if path is not None)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"{paths[0]} and {paths[1]} do not belong together: shapes {images.shape} and {labels.shape}"
            )
        return ArrayImages(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))

    def _folder(self) -> Path:
        return expanded(self.root)

    def _find(self, name: str) -> Path | None:
        root = self._folder()
        for folder in (root, root / "raw", root / self.title / "raw", root.parent / self.title / "raw"):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
        return None

    def _download(self, name: str, md5: str) -> None:
        urls = [f"{mirror}{name}.gz" for mirror in self.mirrors]
        try:
            download(urls, self._folder() / f"{name}.gz", md5)
        except DataError as error:
            raise DataError(f"{self.title} cannot be downloaded ({error}): {self._wanted()}") from error

    def _wanted(self) -> str:
        return f"put {', '.join((*_TRAIN, *_TEST))} (gzipped or not) into {self._folder()}"


class FashionMNIST(MNIST):
    """Articles of clothing (Xiao, Rasul and Vollgraf 2017) in the format of MNIST."""

    title = "FashionMNIST"
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    md5 = (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, gzipped if its name ends in .gz; nothing is read but what its header promises.

    Raises:
        DataError: if the file is damaged, shorter or longer than it says, or holds another type than uint8.
    """
    is_zipped = path.suffix == ".gz"
    try:
        size = path.stat().st_size
        with gzip.open(path) if is_zipped else path.open("rb") as file:
            return _read_idx(file, path, most=size * (DEFLATE if is_zipped else 1))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{as_text(path)} cannot be read: {reason_of(error)}") from error


def _read_idx(file: BufferedIOBase, path: Path, most: int) -> np.ndarray:
    """See `read_idx`; the file has at most so many bytes."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it starts with {start.hex(' ') or 'nothing'}")
    kind, n_dims = start[2], start[3]
    if kind != _UINT8:
        raise DataError(f"{path} holds IDX type 0x{kind:02x}, expected 0x08 (unsigned bytes)")
    if not 1 <= n_dims <= _MOST_AXES:
        raise DataError(f"{path} holds an array of {n_dims} axes, expected 1 of labels or 3 of images")
    header = file.read(4 * n_dims)
    if len(header) < 4 * n_dims:
        n_bytes = 4 + len(header)
        raise DataError(f"{path} is truncated: {n_bytes} bytes, its header alone has {4 + 4 * n_dims}")
    shape = struct.unpack(f">{n_dims}I", header)
    promised = math.prod(shape)
    if promised > most:
        raise DataError(f"{path} is damaged: at most {most} bytes of data, its header promises {promised}")
    require_memory(str(path), promised)
    array = np.empty(shape, np.uint8)
    found = _read_into(file, array) + len(file.read(1))
    if found != promised:
        some = "at least " if found > promised else ""
        raise DataError(f"{path} is damaged: {some}{found} bytes of data, its header promises {promised}")
    return array


def _read_into(file: BufferedIOBase, array: np.ndarray) -> int:
    """Fill the array with the bytes that follow; how many there were."""
    buffer = array.reshape(-1).data
    found = 0
    while n := file.readinto(buffer[found : found + 2**22]):
        found += n
    return found
