"""Files of a run that anybody may have written: what is in them that cannot be is left out of its page."""

from __future__ import annotations

import json

import pytest

from lehr.report import vega
from lehr.report.page import page
from lehr.report.run import run_document


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    """Charts are drawn in tests of their own."""
    monkeypatch.setattr(vega, "svg", lambda spec: "<svg ></svg>")


@pytest.mark.parametrize("odd", [pytest.param(10**400, id="huge"), [[]], {"a": 1}, "1.5", True, float("nan"), None])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("history.jsonl", "images"),
        ("history.jsonl", "val/rate"),
        ("history.jsonl", "train/rate"),
        ("history.jsonl", "val/kl_per_dimension"),
        ("metrics.json", "test/bits_per_dim"),
        ("evaluation.json", "generation/prior/frechet"),
        ("evaluation.json", "collapse/active_units_curve"),
        ("status.json", "seconds"),
        ("status.json", "finished"),
    ],
)
def test_a_value_that_is_none_of_its_kind_is_left_out(tmp_path, file, name, odd):
    point = {"images": 100, "val/elbo": -9.0, "val/distortion": 5.0, "val/rate": 4.0, "val/kl_weight": 1.0}
    (tmp_path / "status.json").write_text(json.dumps({"state": "done", "seconds": {"total": 1.0}}))
    (tmp_path / "metrics.json").write_text(json.dumps({"test/elbo": -9.25}))
    (tmp_path / "evaluation.json").write_text(json.dumps({"likelihood/iwae": -9.0}))
    (tmp_path / "history.jsonl").write_text("".join(json.dumps({**point, "images": i}) + "\n" for i in (1, 2, 3)))
    if file == "history.jsonl":
        with (tmp_path / file).open("a") as history:
            history.write(json.dumps({**point, "images": 4, name: odd}) + "\n")
    else:
        found = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps(found | {name: odd}))
    text = page(run_document(tmp_path))
    assert "-9.25" in text
