"""Files are whole or absent."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lehr.files import replacing, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_file_whole_and_nothing_else(tmp_path, error):
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["metrics.json"]


def test_an_error_while_writing_a_new_file_leaves_none(tmp_path):
    def write() -> None:
        with replacing(tmp_path / "new.bin") as temporary:
            temporary.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert names(tmp_path) == []


def test_an_error_before_anything_is_written_is_the_one_that_is_seen(tmp_path):
    with pytest.raises(RuntimeError, match="early"), replacing(tmp_path / "new.bin"):
        raise RuntimeError("early")
    assert names(tmp_path) == []


def test_until_the_end_readers_see_the_old_file_and_then_the_new(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename within one file system
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_missing_folders_are_made(tmp_path):
    with replacing(tmp_path / "a" / "b" / "c.bin") as temporary:
        temporary.write_bytes(b"\x00\x01")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\x01"


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "β=0.1 µ\n")
    assert (tmp_path / "a.txt").read_bytes() == "β=0.1 µ\n".encode()


def test_json_has_null_for_what_is_not_finite(tmp_path):
    value = {"a": math.nan, "b": [1.5, -math.inf, (math.inf, 2)], "c": {"d": {"e": math.nan}}, 3: "NaN", "t": True}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse) == {
        "a": None,
        "b": [1.5, None, [None, 2]],
        "c": {"d": {"e": None}},
        "3": "NaN",
        "t": True,
    }
    assert text.endswith("}\n")


def test_json_keeps_every_digit_of_a_float(tmp_path):
    values = [0.1, 1 / 3, 1e-300, 123456789.123456789, -0.0]
    write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_text()) == values


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
