"""Images that are files in a folder."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lehr import randomness
from lehr.data.checks import as_text, check_path, require_apart
from lehr.data.decode import Decoder, View
from lehr.data.digests import digests_of_files
from lehr.data.images import to_pixels
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits, with_test_held_out
from lehr.data.walk import FURTHER, SUFFIXES, UNREADABLE, Listing, in_words, list_images
from lehr.errors import DataError
from lehr.limits import FractionOrNone, NonNegativeInt, PathString, PositiveInt
from lehr.paths import expanded


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
        on_corrupt: what to do with a file that cannot be decoded, or a folder that cannot be listed: "error" refuses
            to train, "skip" leaves it out. Either way every file is decoded once before training.
        **common: see `ImageDataModule`.
    """

    evaluation_crop = "centre"

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
        self._decoder: Decoder | None = None
        self._known: dict[str, bytes] = {}  # digests of files that were decoded
        self._is_surveyed = False

    def check(self) -> list[str]:
        return [
            *super().check(),
            *check_path("path", self.path, "folder"),
            *check_path("test_path", self.test_path, "folder"),
        ]

    def read(self) -> Splits:
        root = expanded(self.path)
        train = self._listed(root)
        if self.test_path is None:
            files = self._without_damaged(root, train)
            self.classes = _classes(root, files)
            images = self._images(root, files, self.classes)
            return with_test_held_out(root.resolve().name, images, self.test_fraction, self.split_seed)
        test_root = expanded(self.test_path)
        test = self._listed(test_root)
        require_apart("data.path", root, train.files, "data.test_path", test_root, test.files)
        files, test_files = self._without_damaged(root, train), self._without_damaged(test_root, test)
        # The same name is the same class in both, and a class that one of them lacks shifts no other.
        self.classes = sorted({*_classes(root, files), *_classes(test_root, test_files)})
        return Splits(
            root.resolve().name,
            self._images(root, files, self.classes),
            self._images(test_root, test_files, self.classes),
        )

    @property
    def refuses_damaged(self) -> bool:
        return self.on_corrupt == "error"

    def for_survey(self) -> ImageFolder:
        """A copy that leaves out what is damaged, and remembers what each file is."""
        found = copy.copy(self)
        found.on_corrupt, found._is_surveyed = "skip", True
        found.skipped, found.left_out, found.file_facts, found.other_files = [], {}, {}, {}
        found._splits, found._decoder, found._known = {}, None, {}
        for made_of_them in ("fingerprint", "equal_examples", "_digests"):
            vars(found).pop(made_of_them, None)
        return found

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def require_readable(self) -> None:
        """Decode every file of all splits once.

        Raises:
            DataError: if one cannot be decoded.
        """
        if self.on_corrupt == "skip":
            return  # that was done when they were read
        files: dict[Path, list[str]] = {}
        for images in self._splits.values():
            if isinstance(images, FolderImages):
                files.setdefault(images.root, []).extend(images.files)
        damaged = {
            file: problem for root in files for file, problem in self._damaged(root, sorted(files[root])).items()
        }
        if damaged:
            first = next(iter(damaged.values()))
            rest = f" (and {len(damaged) - 1:,} more)" if len(damaged) > 1 else ""
            raise DataError(f"{first}{rest}; repair it, or leave such files out with data.on_corrupt=skip")

    def _images(self, root: Path, files: list[str], classes: Sequence[str]) -> FolderImages:
        labels = None
        if _classes(root, files):
            number = {name: i for i, name in enumerate(classes)}
            labels = torch.tensor([number[_class(root, file)] for file in files])
        return FolderImages(
            files,
            labels,
            self._decodes(),
            root=root,
            random_crop=self.crop == "random",
            flip=self.flip,
            seed=self.seed,
            known=self._known,
        )

    def _decodes(self) -> Decoder:
        if self._decoder is None:
            self._decoder = Decoder(self.size, self.channels, self.workers)
        return self._decoder

    def _listed(self, root: Path) -> Listing:
        listing = list_images(root, skip_unreadable=self.on_corrupt == "skip")
        for reason, paths in listing.left_out.items():
            if reason != UNREADABLE:  # these are skipped
                self._leave_out(root, reason, paths)
        if self._is_surveyed:
            self.other_files |= {path: _within(root, path) for path in listing.others}
        if not listing.files:
            left_out = in_words({reason: len(paths) for reason, paths in listing.left_out.items()})
            suffixes = ", ".join(sorted(SUFFIXES))
            raise DataError(f"{root} holds no image file ({suffixes}){left_out and f'; left out: {left_out}'}")
        return listing

    def _without_damaged(self, root: Path, listing: Listing) -> list[str]:
        """What is left of the files where those that cannot be decoded are to be skipped."""
        files = listing.files
        if self.on_corrupt == "error":
            return files
        damaged = self._damaged(root, files)
        if len(damaged) == len(files):
            raise DataError(f"{root}: none of {len(files)} files can be read as an image")
        lines = (*listing.problems, *damaged.values())
        self.skipped += [line.removeprefix(f"{as_text(root)}/") for line in lines]
        return [file for file in files if file not in damaged]

    def _damaged(self, root: Path, files: list[str]) -> dict[str, str]:
        """Of the files those that cannot be decoded, and why. All are read, and their digests known then."""
        from tqdm import tqdm

        found = {}
        inspected = tqdm(
            self._decodes().inspections(files), total=len(files), desc=f"checking {root.name}", disable=None
        )
        for file, inspection in zip(files, inspected, strict=True):
            if inspection.problem is None:
                self._known[file] = inspection.digest
                if self._is_surveyed and inspection.facts:
                    self.file_facts[file] = inspection.facts
            else:
                found[file] = inspection.problem
            if inspection.facts and inspection.facts.several:
                self._leave_out(root, FURTHER, [file])
        return found

    def _leave_out(self, root: Path, reason: str, paths: list[str]) -> None:
        self.left_out.setdefault(reason, []).extend(_within(root, path) for path in paths)


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
        root: Path,
        random_crop: bool,
        flip: bool,
        seed: int,
        known: dict[str, bytes],
    ) -> None:
        self.files = files
        self.labels = labels
        self.shape = (decoder.channels, decoder.size, decoder.size)
        self._decoder = decoder
        self.root = root
        self._random_crop = random_crop
        self._flip = flip
        self._seed = seed
        self._known = known

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
            root=self.root,
            random_crop=self._random_crop,
            flip=self._flip,
            seed=self._seed,
            known=self._known,
        )

    @property
    def names(self) -> list[str]:
        """What the files are called, from the folder of the data on."""
        return [as_text(Path(file).relative_to(self.root).as_posix()) for file in self.files]

    def digests(self) -> np.ndarray:
        """Of the bytes of each file, (n, 16) uint8."""
        return digests_of_files(self.files, self._known)

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


def _within(root: Path, path: str) -> str:
    return as_text(path.removeprefix(f"{root}/"))


def _class(root: Path, file: str) -> str:
    """The first folder on the way from `root` to the file; "" for a file in `root` itself."""
    parts = Path(file).relative_to(root).parts
    return parts[0] if len(parts) > 1 else ""


def _classes(root: Path, files: list[str]) -> list[str]:
    """The names of the classes, sorted; none where some file lies in `root` itself."""
    names = {_class(root, file) for file in files}
    return [] if "" in names else sorted(names)
