"""The curve of the default run, shortened: no change of the algorithm goes unnoticed.

The tolerances let another machine pass, whose sums round otherwise, and nothing else: they are about five times what
the run in float64 differs by, and less than what Adam's betas of (0.9, 0.99) change. Where the curve is meant to
change, renew it and say so in the commit:

    LEHR_RENEW_GOLDEN=1 python -m pytest tests/training/test_golden.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from harness import visible_events

GOLDEN = Path(__file__).with_name("golden_digits.json")
CURVES = {
    "train/loss": 6e-4, "train/rate": 2e-2, "train/distortion": 5e-3, "train/kl_weight": 1e-5, "val/elbo": 2e-4,
}  # fmt: skip
FINAL = {
    "test/elbo": 3e-4, "test/rate": 4e-3, "test/distortion": 1e-3, "posterior/kl_standard_normal": 4e-3,
    "posterior/moment_kl_diag": 3e-2, "posterior/scaling_factor": 5e-4, "posterior/effective_rank": 5e-3,
    "posterior/active_units": 0.05,
}  # fmt: skip
"""Relative tolerances."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    from lehr.cli.main import main

    path = tmp_path_factory.mktemp("golden") / "run"
    assert main(["train", "trainer.max_epochs=20", "trainer.accelerator=cpu", f"dir={path}"]) == 0
    events, metrics = visible_events(path), json.loads((path / "metrics.json").read_text())
    curves = {tag: {str(images): round(value, 6) for images, value in events[tag]} for tag in CURVES}
    found = {"run": "trainer.max_epochs=20", **curves, "final": {name: round(metrics[name], 6) for name in FINAL}}
    if os.environ.get("LEHR_RENEW_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    return found


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("tag", CURVES)
def test_the_curve_is_the_one_that_was_committed(measured, golden, tag):
    assert measured[tag] == pytest.approx(golden[tag], rel=CURVES[tag], abs=1e-6)


@pytest.mark.parametrize("name", FINAL)
def test_the_final_number_is_the_one_that_was_committed(measured, golden, name):
    assert measured["final"][name] == pytest.approx(golden["final"][name], rel=FINAL[name])
