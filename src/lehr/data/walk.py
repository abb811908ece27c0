"""The image files below a folder, and what is left out of them and why."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lehr.data.checks import as_text
from lehr.errors import DataError

_READ = """
    .png .apng .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .gif .tif .tiff .avif .jp2 .j2k .jpf .jpx .j2c .jpc
    .ppm .pgm .pbm .pnm .tga .pcx .ico .qoi
"""
_NOT_READ = """
    .avifs .heic .heif .jxl .jxr .svg .svgz .eps .ps .wmf .emf .psd .xcf .dds .exr .hdr .pfm .fits .fit .cur .icns
    .sgi .rgb .rgba .bw .ras .xbm .xpm .msp .im .fli .flc .dcx .blp .ftc .ftu .pcd .pxr .vda .vst .icb .gbr .raw .dng
    .cr2 .cr3 .nef .arw .orf .rw2 .raf .dcm
"""
_SYSTEM = """
    __macosx __pycache__ @eadir @tmp @recycle #recycle #snapshot $recycle.bin recycler lost+found
"""
SUFFIXES = frozenset(_READ.split())
"""What the names of files end in that are read as images."""
OTHER_SUFFIXES = frozenset(_NOT_READ.split())
"""Images as well, but of formats that are not read."""
SYSTEM_NAMES = frozenset([*_SYSTEM.split(), "system volume information"])
"""What systems put beside one's own files without hiding it, in lower case."""
HIDDEN, ALIAS, FORMAT, UNREADABLE = "hidden", "other names of the same", "other formats", "unreadable"
"""Why something is left out."""
FURTHER = "further pictures in a file"
"""Why something of a file is left out: the first picture is taken, see `picture`."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: the image files, sorted by their path within the folder.
        left_out: for each reason (`HIDDEN`, `ALIAS`, `FORMAT`, `UNREADABLE`) what is left out for it, sorted: files,
            and folders that lead to files which are there already, or cannot be listed.
        problems: for everything unreadable a line that says why.
        others: the files whose names are no images', sorted; what is hidden is not among them.
    """

    files: list[str]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def in_words(left_out: Mapping[str, int]) -> str:
    """How many were left out for each reason."""
    return ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())


def list_images(root: Path, *, skip_unreadable: bool = False) -> Listing:
    """All image files below `root`, each real file and each real folder once.

    Hidden files and folders are left out, and those of systems. Links are followed, also out of `root`, but to no
    folder that `root` or the link itself lies in. Of several names of a file one that is no link counts, of those the
    first.

    Raises:
        DataError: if a folder cannot be listed, or an image is no file; with `skip_unreadable` it is left out instead.
    """
    return _Walk(root, skip_unreadable).listing()


class _Walk:
    """One walk. What is real comes before what a link leads to, whatever their names."""

    def __init__(self, root: Path, skip_unreadable: bool) -> None:
        self._root = os.fspath(root)
        self._skip_unreadable = skip_unreadable
        self._real: list[tuple[str, int]] = []  # path and inode
        self._linked: list[tuple[str, int]] = []
        self._left_out: dict[str, list[str]] = {}
        self._problems: list[str] = []
        self._others: list[str] = []

    def listing(self) -> Listing:
        self._visit_folders()
        files = sorted(self._distinct_files(), key=self._place)
        left_out = {reason: sorted(paths) for reason, paths in sorted(self._left_out.items())}
        return Listing(files, left_out, sorted(self._problems), sorted(self._others))

    def _place(self, path: str) -> str:
        return path.removeprefix(self._root).lstrip("/")

    def _visit_folders(self) -> None:
        root = os.path.realpath(self._root)
        visited: set[str] = set()
        folders, links = deque([self._root]), deque[str]()
        while folders or links:
            is_link = not folders
            folder = links.popleft() if is_link else folders.popleft()
            real = os.path.realpath(folder)
            leads_up = is_link and any(_lies_in(path, real) for path in (root, os.path.realpath(Path(folder).parent)))
            if leads_up or real in visited:
                self._leave_out(ALIAS, folder)
                continue
            visited.add(real)
            for entry in self._entries(folder):
                if self._is_folder(entry):
                    (links if entry.is_symlink() else folders).append(entry.path)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._unreadable(folder, f"cannot be listed: {error.strerror}")
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is a folder to visit. If it is a file, it is taken or left out."""
        suffix = os.path.splitext(entry.name)[1].lower()
        try:
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
                for path in _images(entry):
                    self._leave_out(HIDDEN, path)
            elif entry.is_dir():
                return True
            elif entry.is_symlink() and not os.path.exists(entry.path):
                if suffix in SUFFIXES or not suffix:  # of a folder, perhaps
                    self._unreadable(entry.path, "is a link that leads nowhere")
            elif suffix in OTHER_SUFFIXES:
                self._leave_out(FORMAT, entry.path)
            elif suffix in SUFFIXES and not entry.is_file():
                self._unreadable(entry.path, "is no file")
            elif suffix in SUFFIXES:
                (self._linked if entry.is_symlink() else self._real).append((entry.path, _inode(entry)))
            else:
                self._others.append(entry.path)
        except OSError as error:  # permission, a link to itself
            self._unreadable(entry.path, f"cannot be read: {error.strerror}")
        return False

    def _distinct_files(self) -> Iterator[str]:
        kept: dict[int, list[str]] = {}
        for files in (self._real, self._linked):
            for path, inode in sorted(files, key=lambda file: self._place(file[0])):
                others = kept.setdefault(inode, [])
                if any(_is_same_file(path, other) for other in others):
                    self._leave_out(ALIAS, path)
                else:
                    others.append(path)
                    yield path

    def _unreadable(self, path: str, reason: str) -> None:
        line = f"{as_text(path)} {reason}"
        if not self._skip_unreadable:
            raise DataError(line)
        self._problems.append(line)
        self._leave_out(UNREADABLE, path)

    def _leave_out(self, reason: str, path: str) -> None:
        self._left_out.setdefault(reason, []).append(path)


def _images(entry: os.DirEntry[str]) -> Iterator[str]:
    """The paths that look like images: this one, or those below it; what cannot be listed has none."""
    if not entry.is_dir(follow_symlinks=False):
        names = [(os.path.dirname(entry.path), [entry.name])]
    else:
        names = [(folder, files) for folder, _, files in os.walk(entry.path)]
    for folder, files in names:
        yield from (os.path.join(folder, name) for name in files if Path(name).suffix.lower() in SUFFIXES)


def _inode(entry: os.DirEntry[str]) -> int:
    return entry.stat().st_ino if entry.is_symlink() else entry.inode()


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _is_same_file(one: str, other: str) -> bool:
    """Of two paths with the same inode number, which on some file systems are of different files."""
    a, b = os.stat(one), os.stat(other)
    return os.path.samestat(a, b) and (a.st_nlink > 1 or os.path.realpath(one) == os.path.realpath(other))
