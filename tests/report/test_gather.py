"""Several directories in one report: what they differ in is swept, and no run counts twice."""

from __future__ import annotations

import json
import shutil

import pytest
from made_up_sweeps import close, metrics, write_run

from lehr.errors import CheckpointError
from lehr.report.document import Paragraph, flat
from lehr.report.gather import SWEEP, gather
from lehr.report.layout import lay_out, numbers_of
from lehr.report.sweep import sweep_document

SEEDS = range(3)


def sweep(path, weights=(1, 2), seeds=SEEDS, shift=0.0, **fixed):
    for weight in weights:
        for seed in seeds:
            swept = {"kl.weight": weight, "seed": seed, **fixed}
            write_run(path, swept, metrics(-20.0 - weight - 0.1 * seed + shift))
    return close(path, ["kl.weight", "seed"])


def names(gathered):
    return [run.name for run in gathered.results.runs]


def elbos(gathered):
    return numbers_of(lay_out(gathered.results), "test/elbo").values.tolist()


def test_what_two_sweeps_differ_in_is_swept(tmp_path):
    a = sweep(tmp_path / "a", **{"model.latent_dim": 8})
    b = sweep(tmp_path / "b", shift=3.0, **{"model.latent_dim": 16})
    found = gather([a, b], tmp_path)
    assert set(found.results.keys) == {"kl.weight", "model.latent_dim", "seed"}
    assert found.results.keys[-1] == "seed"
    assert len(found.results.runs) == 12
    assert all(found.path_of(run).is_dir() for run in found.results.runs)
    said = [part.text for part in flat(sweep_document(found).verdict) if isinstance(part, Paragraph)]
    assert any(text.startswith("A latent size of 16 instead of 8 gives +3") for text in said)
    assert found.title == "2 directories: a, b"


def test_numbers_of_other_data_are_not_compared(tmp_path):
    a = sweep(tmp_path / "a", **{"data._target_": "lehr.data.Digits"})
    b = sweep(tmp_path / "b", shift=50.0, **{"data._target_": "lehr.data.MNIST"})
    found = gather([a, b], tmp_path)
    assert found.results.keys == ["kl.weight", "data", "seed"]
    said = [part.text for part in flat(sweep_document(found).verdict) if isinstance(part, Paragraph)]
    best = [text for text in said if " best ELBO of " in text]
    assert [text.partition(",")[0] for text in best] == [
        "With data set lehr.data.Digits",
        "With data set lehr.data.MNIST",
    ]
    assert not any("instead of lehr.data" in text for text in said)


def test_runs_that_lie_in_both_count_once(tmp_path):
    a, b = sweep(tmp_path / "a", seeds=(0, 1)), sweep(tmp_path / "b", seeds=(1, 2))
    found = gather([a, b], tmp_path)
    assert found.results.keys == ["kl.weight", "seed"]
    assert [run.swept["seed"] for run in found.results.runs] == [0, 1, 2, 0, 1, 2]
    assert len(found.results.copies) == 2
    assert found.results.notes[0].startswith("the same run once more, and in no number here: b/")


def test_of_runs_that_lie_in_both_the_one_that_is_done_counts(tmp_path):
    a, b = sweep(tmp_path / "a"), sweep(tmp_path / "b")
    for run in a.glob("weight=1*seed=0*"):
        (run / "metrics.json").unlink()
        (run / "status.json").write_text(json.dumps({"state": "failed", "error": "killed"}))
    found = gather([a, b], tmp_path)
    assert len(found.results.runs) == 6
    assert all(run.state == "done" for run in found.results.runs)
    assert [name.partition("/")[0] for name in names(found)] == ["b", "a", "a", "a", "a", "a"]


def test_the_same_grid_with_other_numbers_is_compared_by_directory(tmp_path):
    found = gather([sweep(tmp_path / "a"), sweep(tmp_path / "b", shift=0.5)], tmp_path)
    assert found.results.keys == [SWEEP, "kl.weight", "seed"]
    said = [part.text for part in flat(sweep_document(found).verdict) if isinstance(part, Paragraph)]
    assert any(text.startswith("Sweep=b instead of a gives +0.5") or "sweep=b instead of a" in text for text in said)


@pytest.mark.parametrize("again", ["", ".", "../a"])
def test_the_same_directory_twice_is_one_sweep(tmp_path, again):
    a = sweep(tmp_path / "a")
    found = gather([a, a / again], tmp_path)
    assert found.paths == (a,)
    assert names(found) == names(gather([a], tmp_path))


def test_a_copy_of_a_directory_adds_nothing(tmp_path):
    a = sweep(tmp_path / "a")
    shutil.copytree(a, tmp_path / "b")
    found = gather([a, tmp_path / "b"], tmp_path)
    assert len(found.results.runs) == len(found.results.copies) == 6
    assert elbos(found) == elbos(gather([a], tmp_path))


def test_a_run_and_a_sweep(tmp_path):
    a = sweep(tmp_path / "a")
    alone = write_run(tmp_path, {"kl.weight": 4, "seed": 0}, metrics(-24.0))
    found = gather([a, alone], tmp_path)
    assert found.results.keys == ["kl.weight", "seed"]
    assert len(found.results.runs) == 7
    assert found.path_of(found.results.runs[-1]) == alone
    inside = next(a.glob("weight=1*seed=0*"))
    assert len(gather([a, inside], tmp_path).results.runs) == 6


def test_directories_of_one_name_are_told_apart(tmp_path):
    a = sweep(tmp_path / "one" / "sweep", **{"model.latent_dim": 8})
    b = sweep(tmp_path / "two" / "sweep", **{"model.latent_dim": 16})
    found = gather([a, b], tmp_path)
    assert {name.rpartition("/")[0] for name in names(found)} == {"one/sweep", "two/sweep"}
    assert len(set(names(found))) == 12


def test_a_directory_without_runs_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty: holds no runs"):
        gather([sweep(tmp_path / "a"), tmp_path / "empty"], tmp_path)
