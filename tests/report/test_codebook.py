"""Reports of runs with a codebook: codes have no noise, and no distance to N(0, I)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_up_sweeps import close, write_run
from safetensors.numpy import save_file

from lehr.report.document import Paragraph, Table, flat
from lehr.report.gather import gather
from lehr.report.run import run_document
from lehr.report.sweep import sweep_document

NUMBERS = {
    "test/distortion": 86.5, "test/active_units": 0.0, "posterior/active_units": 0.0, "posterior/moment_kl_diag": 382.0,
    "posterior/mean_of_var": 0.0, "posterior/scaling_factor": 3.9,
}  # fmt: skip
OF_CODES = {"posterior/codes_used": 64.0, "posterior/code_perplexity": 41.5}
NOT_OF_CODES = {"test/active_units", "posterior/active_units", "posterior/moment_kl_diag", "posterior/mean_of_var"}


@pytest.fixture
def run(tmp_path):
    """A run with latent maps, and curves of them."""
    (tmp_path / "status.json").write_text(json.dumps({"state": "done"}))
    (tmp_path / "evaluation.json").write_text(json.dumps({"collapse/active_units_curve": {"0.01": 3, "0.1": 0}}))
    points = [{"images": i, "val/active_units": 3.0, "val/distortion": 90.0 - i} for i in range(1, 5)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    (tmp_path / "posterior").mkdir()
    maps = {name: np.full(32, 0.5) for name in ("mean", "var", "mean_of_var", "var_of_mean")}
    channels = {f"channels.{name}": np.full(2, 0.5) for name in maps}
    save_file(
        {"latent_shape": np.array([2, 4, 4]), **maps, **channels}, tmp_path / "posterior" / "statistics.safetensors"
    )
    return tmp_path


def shown(run, **numbers):
    """The names of the metrics and of the charts in its report, and its words."""
    (run / "metrics.json").write_text(json.dumps({**NUMBERS, **numbers}))
    document = run_document(run)
    found = [part for section in document.sections for part in flat(section.parts)]
    metrics = {row[3] for part in found if isinstance(part, Table) for row in part.rows if len(row) == 4}
    said = " ".join(part.text for part in (*document.verdict, *found) if isinstance(part, Paragraph))
    return metrics, {chart.name for chart in document.charts()}, said


def test_of_codes_nothing_is_shown_that_they_do_not_have(run):
    metrics, charts, said = shown(run)
    assert metrics == NUMBERS.keys()
    of_noise = {"active_over_time", "active_curve", "against_prior", "position_noise"}
    assert charts > of_noise
    assert "far from the prior" in said

    metrics, of_codes, said = shown(run, **OF_CODES)
    assert metrics == (NUMBERS.keys() | OF_CODES) - NOT_OF_CODES
    assert of_codes == charts - of_noise >= {"position_mean", "position_signal"}
    assert "64 codes are used." in said
    assert "prior" not in said


def test_nor_can_it_be_chosen_in_a_sweep_of_codes(tmp_path):
    for numbers, name, expected in ((OF_CODES, "codes", False), ({}, "others", True)):
        for weight in (1, 2):
            write_run(tmp_path / name, {"kl.weight": weight}, {**NUMBERS, **numbers, "test/elbo": -1.0})
        close(tmp_path / name, ["kl.weight"])
        document = sweep_document(gather([tmp_path / name], tmp_path))
        assert ("posterior/active_units" in dict(document.metrics)) == expected
        assert "posterior/scaling_factor" in dict(document.metrics)
