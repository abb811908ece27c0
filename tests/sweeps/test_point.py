from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lehr.errors import CheckpointError
from lehr.run.identity import identity
from lehr.sweeps.names import DIGITS, digits_of
from lehr.sweeps.point import FILE, Point

CONFIG = {
    "seed": 3,
    "kl": {"weight": 0.1},
    "data": {"path": "größe/数"},
    "model": {"hidden": []},
    "dir": "x",
    "logger": None,
}


def test_a_directory_is_enough_to_train_a_point(tmp_path):
    point = Point(CONFIG, {"kl.weight": 0.1, "data.path": "größe/数"}, trial={"study": "s", "number": 3})
    point.write(tmp_path / "deep" / "er")
    again = Point.read(tmp_path / "deep" / "er")
    assert (again.config, again.swept, again.trial) == (point.config, point.swept, point.trial)
    assert (again.id, again.name) == (point.id, point.name)
    assert list(again.swept) == ["kl.weight", "data.path"]
    found = json.loads((tmp_path / "deep" / "er" / FILE).read_text())
    assert found["id"] == point.id == identity(CONFIG)


def test_a_point_is_known_by_its_configuration_alone():
    point = Point(CONFIG, {"seed": 3})
    elsewhere = Point({**CONFIG, "dir": "y", "logger": {"_target_": "z"}}, {"kl.weight": 0.1}, {"number": 1})
    assert point.id == elsewhere.id
    assert point.name != elsewhere.name
    assert digits_of(point.name) == digits_of(elsewhere.name) == point.id[:DIGITS]
    assert replace(point, config={**CONFIG, "seed": 4}).id != point.id


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[", b"[]", b"null", b"{}", b'{"config": {}}', b'{"swept": {}}', b"\xff", b'"x"'],
)
def test_a_directory_without_a_whole_point_is_refused_in_a_line(tmp_path, content):
    if content is not None:
        Path(tmp_path, FILE).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        Point.read(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is not a point of a sweep: {FILE} is missing or damaged"


def test_writing_again_leaves_a_whole_file(tmp_path):
    Point(CONFIG, {"seed": 3}).write(tmp_path)
    Point({**CONFIG, "seed": 4}, {"seed": 4}).write(tmp_path)
    assert Point.read(tmp_path).swept == {"seed": 4}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
