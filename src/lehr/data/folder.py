"""Images that are files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.data.checks import as_text, check_path, require_apart
from lehr.data.pictures import PictureDataModule
from lehr.data.sources import Files
from lehr.data.splits import Splits
from lehr.data.walk import SUFFIXES, UNREADABLE, in_words, list_images
from lehr.errors import DataError
from lehr.limits import PathString
from lehr.paths import expanded


class ImageFolder(PictureDataModule):
    """All image files below a folder, brought to one size.

    Which files these are says `list_images`, and what is taken of them `lehr.data.picture`. A folder that cannot be
    listed is damaged as a file is.

    Args:
        path: the folder; it is searched with its subfolders. Where every file lies in a subfolder, the subfolders
            of `path` are the classes.
        test_path: a folder with the test split; None to hold out `test_fraction` of `path`.
        **common: see `PictureDataModule`.
    """

    def __init__(self, *, path: PathString, test_path: PathString | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.path = path
        self.test_path = test_path

    def check(self) -> list[str]:
        return [
            *super().check(),
            *check_path("path", self.path, "folder"),
            *check_path("test_path", self.test_path, "folder"),
        ]

    def read(self) -> Splits:
        root = expanded(self.path)
        name = root.resolve().name
        train = self._listed(root)
        if self.test_path is None:
            return self.splits_of(name, train)
        test_root = expanded(self.test_path)
        test = self._listed(test_root)
        require_apart("data.path", root, train.files, "data.test_path", test_root, test.files)
        return self.splits_of(name, train, test)

    def _listed(self, root: Path) -> Files:
        listing = list_images(root, skip_unreadable=self.on_corrupt == "skip")
        for reason, paths in listing.left_out.items():
            if reason != UNREADABLE:  # these are skipped
                self.leave_out(reason, (_within(root, path) for path in paths))
        if self._is_surveyed:
            self.other_files |= {path: _within(root, path) for path in listing.others}
        if not listing.files:
            left_out = in_words({reason: len(paths) for reason, paths in listing.left_out.items()})
            suffixes = ", ".join(sorted(SUFFIXES))
            raise DataError(f"{root} holds no image file ({suffixes}){left_out and f'; left out: {left_out}'}")
        self.skipped += [line.removeprefix(f"{as_text(root)}/") for line in listing.problems]
        return Files(root, listing.files)


def _within(root: Path, path: str) -> str:
    return as_text(path.removeprefix(f"{root}/"))
