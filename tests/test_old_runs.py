"""A run directory that an earlier version has written: it loads, samples, is evaluated, and can be gone on with.

`fixtures/old_run` is a run of two epochs of the digits, written and evaluated before there was a room `run`;
`fixtures/old_run_resumed` holds what the same version made of it with a third epoch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lehr as library
from lehr.evaluation.catalogue import is_of_execution

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def old_run(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / "old_run", tmp_path / "run"))


def test_an_old_run_loads_with_its_statistics_and_fitted_samplers(old_run):
    run = library.load(old_run)
    described = json.loads((old_run / "posterior" / "statistics.json").read_text())
    assert run.posterior.mean.tolist() == described["per_dimension"]["mean"]
    assert run.posterior.var.tolist() == pytest.approx(described["per_dimension"]["var"])
    for method in ("aggregate", "prior", "mixture"):
        images = run.sample(3, method=method, seed=1)
        assert images.shape == (3, 1, 8, 8)
        assert images.isfinite().all()


def test_an_old_run_is_evaluated_to_the_same_numbers(old_run, lehr):
    before = json.loads((old_run / "evaluation.json").read_text())
    words = ("level=full", "examples=50", "samplers=[prior,aggregate,mixture]", "features=pca", "iwae_samples=4")
    code, _, err = lehr("evaluate", f"run={old_run}", *words)
    assert code == 0, err
    after = json.loads((old_run / "evaluation.json").read_text())
    assert before.keys() <= after.keys()
    for name, value in before.items():
        if isinstance(value, float) and name.split("/")[0] in ("likelihood", "collapse", "reconstruction"):
            assert after[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_an_old_run_is_gone_on_with_as_it_would_have_been(old_run, lehr):
    code, _, err = lehr("train", f"resume={old_run}", "trainer.max_epochs=3")
    assert code == 0, err
    after = load_file(old_run / "model" / "model.safetensors")
    for name, weight in load_file(FIXTURES / "old_run_resumed" / "model.safetensors").items():
        torch.testing.assert_close(after[name], weight, rtol=1e-3, atol=1e-5)
    metrics = json.loads((old_run / "metrics.json").read_text())
    for name, value in json.loads((FIXTURES / "old_run_resumed" / "metrics.json").read_text()).items():
        if not is_of_execution(name):
            assert metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
