"""Where encoded pictures come from: so many of them, each with a place, a name and perhaps the value of a label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from lehr.data.checks import as_text
from lehr.data.encoded import Encoded


class Source(ABC):
    """Encoded pictures in an order of their own. Nothing is decoded, and read when it is asked for.

    Attributes:
        title: what they are all together called, in front of which a picture's name in a message may be left out.
        class_names: what class i of numbered labels is called, if that is known.
    """

    title: str
    class_names: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def picture(self, row: int) -> Encoded:
        """Where the picture of this row is."""

    @abstractmethod
    def key(self, row: int) -> str:
        """What the picture is called in messages, and known by: `str(picture(row))`, without reading it."""

    def name(self, row: int) -> str:
        """What the picture is called within the data set, wherever that lies."""
        return as_text(self.key(row).removeprefix(f"{self.title}/"))

    def values(self, rows: Sequence[int]) -> Sequence[str | int] | None:
        """Of the labels of these rows: names of classes, or numbers; None where there are none."""
        return None


class Files(Source):
    """Image files below a folder. The first folders on the way to them are their classes.

    Args:
        root: the folder.
        files: their paths.
    """

    def __init__(self, root: Path, files: Sequence[str]) -> None:
        self.title = str(root)
        self._root = root
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, row: int) -> str:
        return self.files[row]

    key = picture

    def name(self, row: int) -> str:
        return as_text(Path(self.files[row]).relative_to(self._root).as_posix())

    def values(self, rows: Sequence[int]) -> list[str | int] | None:
        """The folders below `root`; None where some file lies in `root` itself."""
        found: list[str | int] = []
        for row in rows:
            parts = Path(self.files[row]).relative_to(self._root).parts
            if len(parts) < 2:
                return None
            found.append(parts[0])
        return found
