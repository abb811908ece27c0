from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lehr.data import ImageFolder
from lehr.data.walk import ALIAS, FORMAT, HIDDEN, UNREADABLE, Listing, list_images
from lehr.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def files(listing: Listing, root: Path) -> list[str]:
    return [Path(file).relative_to(root).as_posix() for file in listing.files]


def left_out(listing: Listing, root: Path) -> dict[str, list[str]]:
    return {reason: [os.path.relpath(path, root) for path in paths] for reason, paths in listing.left_out.items()}


def test_files_are_listed_by_path_without_other_files(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.jpg", "a.PNG", "b/0.TIFF", "B.webp", "notes.txt", "b/c/d.gif", "e.JFIF", "f.pgm", "g.avif")
    listing = list_images(tmp_path)
    assert files(listing, tmp_path) == [
        "B.webp",
        "a.PNG",
        "b/0.TIFF",
        "b/1.jpg",
        "b/c/d.gif",
        "e.JFIF",
        "f.pgm",
        "g.avif",
    ]
    assert not listing.left_out


@pytest.mark.parametrize(
    "folder",
    [
        ".ipynb_checkpoints",
        ".Trash-1000",
        ".thumbs",
        ".git",
        "__MACOSX",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "cat/.thumbnails",
        "cat/@eaDir",
    ],
)
def test_hidden_folders_and_those_of_systems_are_left_out_and_counted(tmp_path: Path, folder: str) -> None:
    touch(
        tmp_path, "cat/1.png", "dog/2.png", "dog/._2.png", f"{folder}/deep/3.png", f"{folder}/4.jpg", f"{folder}/x.txt"
    )
    listing = list_images(tmp_path)
    assert files(listing, tmp_path) == ["cat/1.png", "dog/2.png"]
    assert left_out(listing, tmp_path) == {HIDDEN: sorted((f"{folder}/4.jpg", f"{folder}/deep/3.png", "dog/._2.png"))}


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/photos/1.png")
    assert len(list_images(tmp_path / ".cache").files) == 1


def test_images_of_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.HEIC", "c.svg", "d.eps", "e.md")
    assert left_out(list_images(tmp_path), tmp_path) == {FORMAT: ["b.HEIC", "c.svg", "d.eps"]}


def test_a_link_to_a_folder_above_does_not_multiply_images(tmp_path: Path) -> None:
    root = tmp_path / "data" / "train"
    touch(root, "cat/1.png", "dog/2.png")
    touch(tmp_path, "data/test/3.png")
    for name, target in (("self", root), ("cat/self", root / "cat"), ("cat/up", root), ("above", tmp_path / "data")):
        (root / name).symlink_to(target)
    (root / "round").symlink_to(root / "round")
    listing = list_images(root, skip_unreadable=True)
    assert files(listing, root) == ["cat/1.png", "dog/2.png"]
    assert left_out(listing, root) == {ALIAS: ["above", "cat/self", "cat/up", "self"], UNREADABLE: ["round"]}


def test_another_name_of_a_folder_is_no_second_class(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "cat/1.png", "cat/sub/2.png")
    (root / "animal").symlink_to("cat")
    (root / "zsub").symlink_to("cat/sub")
    listing = list_images(root)
    assert files(listing, root) == ["cat/1.png", "cat/sub/2.png"]
    assert left_out(listing, root) == {ALIAS: ["animal", "zsub"]}


def test_another_name_of_a_file_counts_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(root, "cat/1.png", "cat/2.png")
    touch(tmp_path, "elsewhere/3.png")
    (root / "animal").mkdir()
    (root / "animal" / "1.png").symlink_to(root / "cat" / "1.png")
    os.link(root / "cat" / "2.png", root / "animal" / "2.png")
    (root / "cat" / "3.png").symlink_to(tmp_path / "elsewhere" / "3.png")
    (root / "cat" / "4.png").symlink_to(tmp_path / "elsewhere" / "3.png")
    listing = list_images(root)
    assert files(listing, root) == ["animal/2.png", "cat/1.png", "cat/3.png"]
    assert left_out(listing, root) == {ALIAS: ["animal/1.png", "cat/2.png", "cat/4.png"]}


def test_different_files_with_one_inode_number_are_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network file systems that number files with too few bits."""
    touch(tmp_path, "1.png", "2.png")
    one = os.stat(tmp_path / "1.png")
    monkeypatch.setattr(os, "stat", lambda *args, **kwargs: one)
    monkeypatch.setattr("lehr.data.walk._inode", lambda entry: 7)
    assert files(list_images(tmp_path), tmp_path) == ["1.png", "2.png"]


def test_links_to_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    touch(tmp_path, "disk/cats/1.png", "disk/cats/more/2.png", "disk/dogs/3.png")
    for name in ("cats", "dogs"):
        (root / name).symlink_to(tmp_path / "disk" / name)
    listing = list_images(root)
    assert files(listing, root) == ["cats/1.png", "cats/more/2.png", "dogs/3.png"]
    assert not listing.left_out


def test_what_is_no_file_is_named_or_counted_and_never_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "folder.png/b.png")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "unmounted").symlink_to("nowhere")
    (tmp_path / "notes.txt").symlink_to("nowhere.txt")
    with pytest.raises(
        DataError, match=r"(fifo|null)\.png is no file|(gone\.png|unmounted) is a link that leads nowhere"
    ):
        list_images(tmp_path)
    listing = list_images(tmp_path, skip_unreadable=True)
    assert files(listing, tmp_path) == ["a.png", "folder.png/b.png"]
    assert left_out(listing, tmp_path) == {UNREADABLE: ["fifo.png", "gone.png", "null.png", "unmounted"]}
    assert len(listing.problems) == 4


def test_a_folder_that_cannot_be_listed_is_named_or_counted(
    tmp_path: Path, common: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "cat/1.png", "dog/2.png")
    scan = os.scandir

    def scandir(path: str) -> Any:  # permissions do not keep out the superuser, who may run this test
        if os.path.basename(path) == "dog":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=f"^{tmp_path}/dog cannot be listed: Permission denied$"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="dog cannot be listed"):
        ImageFolder(path=str(tmp_path), **common).setup()
    listing = list_images(tmp_path, skip_unreadable=True)
    assert files(listing, tmp_path) == ["cat/1.png"]
    assert listing.problems == [f"{tmp_path}/dog cannot be listed: Permission denied"]


def test_names_that_are_no_text_are_listed_and_named_in_a_line_of_text(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    for name in (b"\xff\xfe.png", b"two\nlines.png"):
        Path(os.fsdecode(raw + b"/" + name)).touch()
    os.mkfifo(raw + b"/no\nfile\xff.png")
    listing = list_images(tmp_path, skip_unreadable=True)
    assert [os.fsencode(file).split(b"/")[-1] for file in listing.files] == [b"two\nlines.png", b"\xff\xfe.png"]
    assert listing.problems == [rf"{tmp_path}/no\nfile\xff.png is no file"]
