"""Images in WebDataset shards: tar files on a disk, read at random."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lehr.data.checks import require_apart
from lehr.data.encoded import Member
from lehr.data.pictures import PictureDataModule
from lehr.data.sources import Source
from lehr.data.splits import Splits
from lehr.data.tar import Shard, list_shard, shards_of, shards_problem
from lehr.errors import DataError
from lehr.limits import PathPattern, Text

WITHOUT = "samples without a picture"
"""Why a sample is left out."""


class Shards(PictureDataModule):
    """Images in tar files as WebDataset writes them.

    Every shard is listed once, a picture is read from its place in it when it is wanted: so the order of training is
    over all examples, resuming within an epoch is exact, and ranks share the examples of each batch. Labels are what
    `.cls` says, or `.json`, where every sample has one.

    Args:
        path: a folder with tar files, one file, or a pattern with `*` or `{000..009}`.
        test_path: the same of the test split; None to hold out `test_fraction` of `path`.
        extension: which picture of a sample is taken, "jpg" say, where it has several.
        label: the key of a `.json` that holds the label, where there is no `.cls`.
        verify: as of `PictureDataModule`; not done unless it is asked for, as shards may be many.
        **common: see `PictureDataModule`.
    """

    def __init__(
        self,
        *,
        path: PathPattern,
        test_path: PathPattern | None = None,
        extension: Text | None = None,
        label: Text = "label",
        verify: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(verify=verify, **common)
        self.path = path
        self.test_path = test_path
        self.extension = extension
        self.label = label

    def check(self) -> list[str]:
        problems = super().check()
        for key, path in (("path", self.path), ("test_path", self.test_path)):
            if path is not None and (problem := shards_problem(path)):
                problems.append(f"data.{key}: {problem}")
        return problems

    def read(self) -> Splits:
        files = shards_of(self.path)
        test_files = [] if self.test_path is None else shards_of(self.test_path)
        if self.test_path is not None:
            root, test_root = Path(self.path), Path(self.test_path)
            require_apart("data.path", root, files, "data.test_path", test_root, test_files)
        train = self._listed(files)
        name = Path(files[0]).stem if len(files) == 1 else Path(train.title).name
        return self.splits_of(name, train, self._listed(test_files) if test_files else None)

    def _listed(self, files: list[str]) -> Members:
        from tqdm import tqdm

        look = partial(list_shard, extension=self.extension, label=self.label)
        shards = list(tqdm(self._decodes().map(look, files), total=len(files), desc="listing shards", disable=None))
        title = os.path.dirname(files[0]) if len(files) == 1 else os.path.commonpath(list(map(os.path.dirname, files)))
        if problems := [shard.problem for shard in shards if shard.problem]:
            if self.on_corrupt == "error":
                rest = f" (and {len(problems) - 1:,} more shards)" if len(problems) > 1 else ""
                self.close()
                advice = "repair it, or use what can be read with data.on_corrupt=skip"
                raise DataError(f"{problems[0]}{rest}; {advice}")
            self.skipped += [line.removeprefix(f"{title}/") for line in problems]
        if without := [f"{os.path.basename(shard.path)}/{key}" for shard in shards for key in shard.without]:
            self.leave_out(WITHOUT, without)
        source = Members(title, shards)
        if not len(source):
            raise DataError(f"{self.path}: {len(files):,} shards hold no picture")
        return source


class Members(Source):
    """The pictures in shards, one shard after the other."""

    def __init__(self, title: str, shards: Sequence[Shard]) -> None:
        self.title = title
        self._paths = [shard.path for shard in shards]
        self._members = [member for shard in shards for member in shard.members]
        self._values = [value for shard in shards for value in shard.values]
        self._shards = np.repeat(np.arange(len(shards)), [len(shard.members) for shard in shards])
        self._offsets = np.array([offset for shard in shards for offset in shard.offsets], np.int64)
        self._sizes = np.array([size for shard in shards for size in shard.sizes], np.int64)

    def __len__(self) -> int:
        return len(self._members)

    def picture(self, row: int) -> Member:
        archive = self._paths[self._shards[row]]
        return Member(archive, int(self._offsets[row]), int(self._sizes[row]), self._members[row])

    def key(self, row: int) -> str:
        return f"{self._paths[self._shards[row]]}/{self._members[row]}"

    def values(self, rows: Sequence[int]) -> list[str | int] | None:
        found = [value for row in rows if (value := self._values[row]) is not None]
        if len(found) < len(rows):
            return None
        return found if all(isinstance(value, int) for value in found) else list(map(str, found))
