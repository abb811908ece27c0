"""history.jsonl: what is kept of it on resuming, and what is read of one that was cut off."""

from __future__ import annotations

import json
import math

import pytest

from lehr.run.history import History, history_frame, read_history


def test_points_are_read_as_they_were_added(tmp_path):
    history = History(tmp_path / "run" / "history.jsonl")
    history.add(128, {"train/loss": 0.1 + 0.2, "train/rate": 1.0})
    history.add(128, {"val/elbo": -3.5})
    assert history.lines == 2
    history.close()
    history.add(256, {"test/elbo": -3.25})
    history.flush()
    found = read_history(tmp_path / "run" / "history.jsonl")
    history.close()
    assert found == [
        {"images": 128, "train/loss": 0.1 + 0.2, "train/rate": 1.0},
        {"images": 128, "val/elbo": -3.5},
        {"images": 256, "test/elbo": -3.25},
    ]


def test_what_is_no_number_is_null(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.0})
    history.close()
    text = (tmp_path / "history.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"images": 1, "a": None, "b": None, "c": None, "d": 0.0}


def test_a_number_for_each_latent_is_a_list_in_the_point_and_no_curve(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.add(5, {"val/rate": 3.0}, {"kl": [1.0, math.nan, 2.0]})
    history.add(6, {"val/rate": 4.0}, {"kl": [0.0] * 512, "more": [0.0] * 513})
    history.close()
    first, second = read_history(tmp_path / "history.jsonl")
    assert first == {"images": 5, "val/rate": 3.0, "kl": [1.0, None, 2.0]}
    assert second == {"images": 6, "val/rate": 4.0, "kl": [0.0] * 512}
    frame = history_frame(tmp_path / "history.jsonl")
    assert list(frame) == ["val/rate"]
    assert frame["val/rate"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("rest", ["", '{"images": 3, "a": 3.0}\n', '{"images": 3, "a"', '{"images": 3}\n{"im'])
def test_what_follows_the_lines_that_hold_is_dropped(tmp_path, rest):
    path = tmp_path / "history.jsonl"
    path.write_text('{"images": 1, "a": 1.0}\n{"images": 2, "a": 2.0}\n' + rest)
    history = History(path, keep=2)
    assert history.lines == 2
    history.add(3, {"a": 4.0})
    history.close()
    assert read_history(path) == [{"images": 1, "a": 1.0}, {"images": 2, "a": 2.0}, {"images": 3, "a": 4.0}]


def test_nothing_is_touched_before_there_is_something_to_write(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"images": 1}\n{"images": 2}\n')
    History(path, keep=1).close()
    assert len(read_history(path)) == 2


def test_fewer_lines_than_are_to_be_kept_are_all_kept(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"images": 1}\n{"ima')
    history = History(path, keep=5)
    history.add(2, {})
    assert history.lines == 2
    history.close()
    assert read_history(path) == [{"images": 1}, {"images": 2}]


def test_a_line_that_was_cut_off_is_not_read(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"images": 1, "a": 1.0}\n{"images": 2, "a')
    assert read_history(path) == [{"images": 1, "a": 1.0}]
