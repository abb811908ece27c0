"""`lehr.compare`: in what runs differ, what came of it, and what does not compare."""

from __future__ import annotations

import json
import shutil

import pytest
from handmade import add, configuration

import lehr as package
from lehr import CheckpointError, ConfigError

QUICK = {"split": "test", "examples": 5, "split_examples": 359, "dataset": "digits"}


@pytest.fixture
def runs(tmp_path):
    """Two runs of one name in two places: KL weights 1 and 4, evaluated on 5 and on 359 examples."""
    paths = []
    for place, weight, elbo, examples in (("a", 1.0, -91.0, 5), ("b", 4.0, -94.0, 359)):
        metrics = {"test/elbo": elbo, "test/rate": 20.0 / weight, "time/step_ms": 3.0}
        table = {"lehr": "0", **QUICK, "examples": examples, "likelihood/iwae": elbo + 1, "likelihood/iwae_samples": 64}
        config = configuration(**{"kl.weight": weight, "seed": 3})
        paths.append(add(tmp_path / place, {}, metrics, table, point=False, name="run", config=config))
    return paths


def test_runs_stand_side_by_side_with_the_best_marked(runs):
    found = package.compare(*runs, metrics=["test/*", "time/step_ms"])
    assert found.runs == ["a/run", "b/run"]
    assert found.keys == ["kl.weight"]
    assert found.best == {"test/elbo": "a/run"}  # a rate has no direction, and equal times no best
    assert found.notes == []
    frame = found.frame
    assert list(frame.columns) == ["state", "kl.weight", "test/elbo", "test/rate", "time/step_ms"]
    assert frame.loc["b/run"].tolist() == ["done", 4.0, -94.0, 5.0, 3.0]
    lines = [line.split() for line in repr(found).splitlines()]
    assert lines[:3] == [["a/run", "b/run"], ["kl.weight", "1", "4"], ["test/elbo", "-91.00", "*", "-94.00"]]
    page = found._repr_html_()
    assert "<b>-91.00</b>" in page
    assert "<b>-94.00</b>" not in page
    assert ">test ELBO</td>" in page


def test_what_was_measured_on_other_examples_does_not_compare(runs):
    found = package.compare(*runs)
    assert found.metrics == ["test/elbo", "test/rate", "likelihood/iwae"]
    assert "likelihood/iwae" not in found.best
    (note,) = found.notes
    assert note == "likelihood/iwae: the runs differ in examples 5 and 359, and do not compare"
    assert note in repr(found)
    assert note in found._repr_html_()


def test_numbers_of_other_images_do_not_compare(runs):
    for path, digest in zip(runs, "pq", strict=True):
        (path / "data.json").write_text(json.dumps({"splits": {"test": {"digest": digest}, "val": {"digest": "r"}}}))
    found = package.compare(*runs, metrics=["test/elbo", "time/step_ms"])
    assert found.best == {}
    assert found.notes == ["test/elbo: the runs differ in the images of test, and do not compare"]


def test_elbos_of_other_likelihoods_do_not_compare(tmp_path):
    paths = []
    for name in ("Bernoulli", "Gaussian"):
        config = configuration() | {"likelihood": {"_target_": f"lehr.objective.{name}"}}
        paths.append(add(tmp_path, {}, {"test/elbo": -9.0 - len(name)}, point=False, name=name, config=config))
    found = package.compare(*paths)
    assert found.keys == ["likelihood"]
    assert found.best == {}
    assert "differ in likelihood Bernoulli and of densities" in found.notes[0]


def test_a_run_that_is_not_done_stands_there_without_numbers(runs, tmp_path):
    add(tmp_path, {}, point=False, name="failed", state="failed", error="x", config=configuration(seed=3))
    found = package.compare(runs[0], tmp_path / "failed", metrics=["test/elbo"])
    assert found.notes == ["failed: is failed, and has no numbers"]
    assert found.frame["test/elbo"].isna().tolist() == [False, True]
    assert repr(found).splitlines()[1].split() == ["test/elbo", "-91.00", "-"]


def test_all_that_is_wrong_is_said_at_once(runs, tmp_path):
    with pytest.raises(CheckpointError) as error:
        package.compare(runs[0], tmp_path / "nowhere", tmp_path)
    assert [line.partition(": ")[2] for line in error.value.problems] == [
        "there is no such directory", "is not a run directory: it has no config.yaml"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="got 1 run, expected two or more"):
        package.compare(runs[0])
    with pytest.raises(ConfigError, match="got NoneType, expected a run, or the path of its directory"):
        package.compare(runs[0], None)
    assert package.compare(*runs, metrics="test/elbo").metrics == ["test/elbo"]
    with pytest.raises(ConfigError, match=r"no run has this metric; did you mean test/elbo\?"):
        package.compare(*runs, metrics=["test/elbow"])


def test_a_run_compares_with_itself_at_its_best_checkpoint(finished_run, tmp_path):
    copy = shutil.copytree(finished_run, tmp_path / "run")
    best = package.load(copy, weights="best")
    best.evaluate("quick", iwae_samples=64)
    found = package.compare(package.load(copy), best, metrics=["likelihood/elbo"])
    assert found.runs == ["run", "run (best)"]
    assert found.keys == []
    assert found.frame["likelihood/elbo"].tolist() == [
        package.load(copy).evaluation["likelihood/elbo"], best.evaluation["likelihood/elbo"]
    ]  # fmt: skip
    assert found._repr_html_().count("data:image/png;base64,") == 2
