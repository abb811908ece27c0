"""Shards as WebDataset has them: tar files whose members of one name, but for the extension, are one sample.

A shard is listed once, without reading its pictures, so that each of them can be read at random afterwards. Knows
nothing of torch, as a decoding process imports it.
"""

from __future__ import annotations

import glob
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from lehr.data.checks import as_text, reason_of
from lehr.data.walk import SUFFIXES
from lehr.errors import DataError, LehrError
from lehr.paths import expanded

NAMES = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
"""Of a member: what is before the first dot of its name, which says the sample, and what is after it."""
_REMOTE = re.compile(r"(?:^|/)((?:https?|s3|gs|gcs|hf|ftp|az|abfs|hdfs|pipe):)/*(.*)$")
_BLOCK = 512  # bytes of a tar file
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


@dataclass
class Shard:
    """What a tar file holds.

    Attributes:
        path: of it.
        members, offsets, sizes: of each picture the name, where its bytes begin and how many they are.
        values: of the labels; None of a sample without one.
        without: keys of the samples that have no picture.
        problem: a line on what is wrong with the file, what stands before that is listed all the same; None if nothing.
    """

    path: str
    members: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    values: list[str | int | None] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    problem: str | None = None


def list_shard(path: str, extension: str | None, label: str) -> Shard:
    """What a shard holds.

    Args:
        path: of the tar file.
        extension: which of several pictures of a sample is taken; None where there is one.
        label: under which key a `.json` holds the label, where there is no `.cls`.

    Raises:
        DataError: if a sample has several pictures, and nothing says which one.
    """
    found = Shard(path)
    members = _Members(path)
    before: set[str] = set()
    for key, group in groupby(members, key=lambda member: NAMES.match(member.name)[1]):  # type: ignore[index]
        parts = {member.name[len(key) + 1 :].lower(): member for member in group}
        if members.problem and before and set(parts) != before:
            break  # what was cut off may be the rest of this sample, its label say
        before = set(parts)
        pictures = [name for name in parts if _is_picture(name) and extension in (None, name)]
        if not pictures:
            found.without.append(key)
            continue
        if len(pictures) > 1:
            line = f"{as_text(path)}/{as_text(key)} has several pictures ({', '.join(pictures)})"
            raise DataError(f"{line}: say which with data.extension={pictures[0]}")
        picture = parts[pictures[0]]
        found.members.append(picture.name)
        found.offsets.append(picture.offset_data)
        found.sizes.append(picture.size)
        found.values.append(_value(path, parts, label))
    found.problem = members.problem
    return found


class _Members:
    """The files in an archive, in order, and what is wrong with it once they have all been looked at."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.problem: str | None = None

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        last = ""
        try:
            with tarfile.open(self._path, "r:") as archive:
                size = os.path.getsize(self._path)
                for member in archive:
                    if member.offset_data + member.size > size:
                        self._say(f"is cut off within {as_text(member.name)}")
                        return
                    last = member.name
                    hidden = os.path.basename(member.name).startswith(".")
                    if member.isreg() and not hidden and NAMES.match(member.name):
                        yield member
                with open(self._path, "rb") as file:  # the end of a whole archive is a block of zeros
                    file.seek(archive.offset)
                    if file.read(_BLOCK) != bytes(_BLOCK):
                        self._say(f"is damaged or cut off after {as_text(last)}")
        except tarfile.ReadError:
            if last:
                self._say(f"is damaged or cut off after {as_text(last)}")
            else:
                self._say(_no_tar(self._path))
        except OSError as error:
            self._say(f"cannot be read: {reason_of(error)}")

    def _say(self, problem: str) -> None:
        self.problem = f"{as_text(self._path)} {problem}"


def _no_tar(path: str) -> str:
    with open(path, "rb") as file:
        kind = _COMPRESSED.get(file.read(2))
    if kind:
        return f"is compressed ({kind}), and its members cannot be read at random: decompress it"
    return "is no tar file"


def _is_picture(extension: str) -> bool:
    return f".{extension.rpartition('.')[2]}" in SUFFIXES


def _value(path: str, parts: dict[str, tarfile.TarInfo], label: str) -> str | int | None:
    """The label of a sample: what its `.cls` says, or its `.json` under this key."""
    if "cls" in parts:
        text = _content(path, parts["cls"]).decode(errors="replace").strip()
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    if "json" not in parts:
        return None
    try:
        found: Any = json.loads(_content(path, parts["json"]))
    except ValueError:
        return None
    value = found.get(label) if isinstance(found, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _content(path: str, member: tarfile.TarInfo) -> bytes:
    with open(path, "rb") as file:
        file.seek(member.offset_data)
        return file.read(member.size)


def shards_of(text: str) -> list[str]:
    """The tar files that a path means: a file, all of a folder, or those that a pattern with `*`, `?`, `[abc]`,
    `{000..009}` and `{a,b}` stands for. Sorted; of numbers in braces each has to be there.

    Raises:
        DataError: if there is none, one of them is missing, or a folder cannot be listed.
    """
    if remote := remote_problem(text):
        raise DataError(remote)
    path = expanded(text).absolute()
    if path.is_dir():
        if not (found := sorted(_tar_files(path))):
            raise DataError(f"{path} holds no tar file")
        return found
    found = []
    for one in _braces(str(path)):
        if Path(one).is_file():
            found.append(one)
        elif files := sorted(glob.glob(one)) if glob.has_magic(one) else []:
            found += files
        else:
            raise DataError(f"there is no shard {as_text(one)}")
    return list(dict.fromkeys(found))


def shards_problem(text: str) -> str | None:
    """Why a path means no shards, in a line; None if it does."""
    try:
        shards_of(text)
    except LehrError as error:
        return str(error)
    return None


def remote_problem(text: str) -> str | None:
    """A line where shards are somewhere else than on a disk: read at random they would be asked for one by one."""
    if (match := _REMOTE.search(text)) is None:
        return None
    place = f"{match[1]}//{match[2]}" if match[1] != "pipe:" else f"{match[1]}{match[2]}"
    return f"{place}: shards are read at random from a disk: download them first, and give their folder"


def _tar_files(folder: Path) -> Iterator[str]:
    """Those in a folder and the folders in it, but for hidden ones; links to folders are not followed."""

    def unlisted(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # which went while the others were listed
            raise DataError(f"{as_text(str(error.filename))} cannot be listed: {error.strerror}") from None

    for where, _, names in os.walk(folder, onerror=unlisted):
        yield from (os.path.join(where, name) for name in names if name.endswith(".tar") and not name.startswith("."))


def _braces(text: str) -> Iterator[str]:
    """As a shell expands braces: `{000..009}` are numbers of as many digits, `{a,b}` words."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", text)
    if match is None:
        yield text
        return
    if match[3] is not None:
        words = match[3].split(",")
    else:
        first, last, width = int(match[1]), int(match[2]), len(match[1])
        step = 1 if first <= last else -1
        words = [f"{number:0{width}}" for number in range(first, last + step, step)]
    for word in words:
        yield from _braces(f"{text[: match.start()]}{word}{text[match.end() :]}")
