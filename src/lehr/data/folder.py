"""Images that are files in a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.checks import check_path
from lehr.data.decode import Decoder, View
from lehr.data.images import to_pixels
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits, with_test_held_out
from lehr.data.walk import SUFFIXES, Listing, list_images
from lehr.errors import DataError
from lehr.limits import FractionOrNone, NonNegativeInt, PathString, PositiveInt

_log = logging.getLogger(__name__)


class ImageFolder(ImageDataModule):
    """All image files below a folder, brought to one size.

    Which files these are says `list_images`, and what is taken of them `lehr.data.picture`.

    Args:
        path: the folder; it is searched with its subfolders. Where every file lies in a subfolder, the subfolders
            of `path` are the classes.
        test_path: a folder with the test split; None to hold out `test_fraction` of `path`.
        test_fraction: the part held out for testing, chosen by `split_seed` alone.
        size: height and width in pixels. The short side is resized to it and the long side is cut.
        channels: 3 for colour, 1 for grey.
        crop: where the long side is cut in training, "centre" or "random". Evaluation cuts the centre.
        flip: whether training exchanges left and right half of the time.
        workers: processes that decode; 0 decodes in the training process.
        on_corrupt: what to do with a file that cannot be decoded. "error" stops when it is met; "skip" decodes
            every file once before training, so that the number of examples is known and the same on all ranks, and goes
            past folders that cannot be listed.
        **common: see `ImageDataModule`.
    """

    def __init__(
        self,
        *,
        path: PathString,
        test_path: PathString | None = None,
        test_fraction: FractionOrNone = 0.1,
        size: PositiveInt = 64,
        channels: Literal[1, 3] = 3,
        crop: Literal["centre", "random"] = "centre",
        flip: bool = False,
        workers: NonNegativeInt = 2,
        on_corrupt: Literal["error", "skip"] = "error",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.path = path
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.size = size
        self.channels = channels
        self.crop = crop
        self.flip = flip
        self.workers = workers
        self.on_corrupt = on_corrupt
        self.n_skipped = 0
        self.listings: list[Listing] = []

    def check(self) -> list[str]:
        return [
            *super().check(),
            *check_path("path", self.path, "folder"),
            *check_path("test_path", self.test_path, "folder"),
        ]

    def read(self) -> Splits:
        decoder = Decoder(self.size, self.channels, self.workers)
        root = Path(self.path).expanduser()
        train = self._files(root, decoder)
        if self.test_path is None:
            images = self._images(root, train, _classes(root, train), decoder)
            return with_test_held_out(root.resolve().name, images, self.test_fraction, self.split_seed)
        test_root = Path(self.test_path).expanduser()
        test = self._files(test_root, decoder)
        # The same name is the same class in both, and a class that one of them lacks shifts no other.
        classes = sorted({*_classes(root, train), *_classes(test_root, test)})
        return Splits(
            root.resolve().name,
            self._images(root, train, classes, decoder),
            self._images(test_root, test, classes, decoder),
        )

    def _images(self, root: Path, files: list[str], classes: list[str], decoder: Decoder) -> FolderImages:
        labels = None
        if _classes(root, files):
            number = {name: i for i, name in enumerate(classes)}
            labels = torch.tensor([number[_class(root, file)] for file in files])
        return FolderImages(files, labels, decoder, random_crop=self.crop == "random", flip=self.flip, seed=self.seed)

    def _files(self, root: Path, decoder: Decoder) -> list[str]:
        listing = list_images(root, skip_unreadable=self.on_corrupt == "skip")
        self.listings.append(listing)
        files = listing.files
        if not files:
            raise DataError(f"{root} holds no image file ({', '.join(sorted(SUFFIXES))})")
        if self.on_corrupt == "error":
            return files

        from tqdm import tqdm

        bar = tqdm(decoder.problems(files), total=len(files), desc=f"checking {root.name}", disable=None)
        problems = list(bar)
        for line in filter(None, (*listing.problems, *problems)):
            _log.warning("skipped: %s", line)
        good = [file for file, line in zip(files, problems, strict=True) if line is None]
        if not good:
            raise DataError(f"{root}: none of {len(files)} files can be read as an image")
        self.n_skipped += len(listing.problems) + len(files) - len(good)
        return good


class FolderImages:
    """One split of image files. Where a training image is cut and whether it is mirrored is a function of
    (seed, epoch, row).
    """

    def __init__(
        self,
        files: list[str],
        labels: Tensor | None,
        decoder: Decoder,
        *,
        random_crop: bool,
        flip: bool,
        seed: int,
    ) -> None:
        self.files = files
        self.labels = labels
        self.shape = (decoder.channels, decoder.size, decoder.size)
        self._decoder = decoder
        self._random_crop = random_crop
        self._flip = flip
        self._seed = seed

    def __len__(self) -> int:
        return len(self.files)

    @property
    def levels(self) -> int:
        return 256  # the decoder gives 8 bits, of whatever size and format the file is

    def subset(self, rows: Tensor) -> FolderImages:
        return FolderImages(
            [self.files[i] for i in rows.tolist()],
            None if self.labels is None else self.labels[rows],
            self._decoder,
            random_crop=self._random_crop,
            flip=self._flip,
            seed=self._seed,
        )

    def fetch(self, batches: Iterable[Tensor], *, epoch: int | None, device: torch.device | str) -> Iterator[Tensor]:
        noise = None
        if epoch is not None and (self._random_crop or self._flip):
            noise = randomness.uniform(self._seed, "augment", epoch, (len(self), 2))
        for pixels in self._decoder.batches([self._view(i, noise) for i in batch.tolist()] for batch in batches):
            yield to_pixels(torch.from_numpy(pixels).to(device))

    def _view(self, row: int, noise: Tensor | None) -> View:
        if noise is None:
            return View(self.files[row])
        place, mirror = noise[row].tolist()
        return View(self.files[row], place if self._random_crop else 0.5, self._flip and mirror < 0.5)


def _class(root: Path, file: str) -> str:
    """The first folder on the way from `root` to the file; "" for a file in `root` itself."""
    parts = Path(file).relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _classes(root: Path, files: list[str]) -> list[str]:
    """The names of the classes, sorted; none where some file lies in `root` itself."""
    names = {_class(root, file) for file in files}
    return [] if "" in names else sorted(names)
