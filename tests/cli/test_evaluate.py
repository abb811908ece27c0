"""`lehr evaluate`: what it writes, that it is the same each time, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import lehr as package
from lehr.cli.main import main
from lehr.evaluation.catalogue import find_metric

SMALL = ("trainer.max_epochs=2", "kl=constant", "model.hidden=[16]", "logger=none", "callbacks.samples=null")


@pytest.fixture
def run(finished_run, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(finished_run.parent / "cache"))  # the classifier is trained once
    shutil.copytree(finished_run, "run")
    return Path("run")


def evaluation(path, name="evaluation.json"):
    return json.loads((Path(path) / name).read_text())


def measured(table):
    return {key: value for key, value in table.items() if "/" in key}


def test_a_training_ends_with_a_quick_evaluation(run):
    table, metrics = evaluation(run), json.loads((run / "metrics.json").read_text())
    assert (table["level"], table["split"], table["examples"]) == ("quick", "test", 359)
    # other noise than that of the test, the same quantity
    assert table["likelihood/elbo"] == pytest.approx(metrics["test/elbo"], abs=0.5)
    assert table["likelihood/rate"] == pytest.approx(metrics["test/rate"], rel=1e-6)
    assert table["likelihood/elbo"] == pytest.approx(-(table["likelihood/rate"] + table["likelihood/distortion"]))
    assert table["likelihood/elbo"] < table["likelihood/iwae"]
    assert table["collapse/active_units"] == metrics["test/active_units"]
    assert table["likelihood/bits_per_dim"] == pytest.approx(-table["likelihood/elbo"] / (64 * np.log(2)))
    assert not any(key.startswith("generation/") for key in table)


@pytest.fixture(scope="module")
def full(finished_run, tmp_path_factory):
    """The table of a full evaluation, and what was printed."""
    path = tmp_path_factory.mktemp("full") / "run"
    shutil.copytree(finished_run, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(finished_run.parent / "cache"))
        assert main(["evaluate", f"run={path}", "iwae_samples=20"]) == 0
    return path


def test_every_number_is_in_the_catalogue_and_so_in_the_docs(full):
    assert {key for key in measured(evaluation(full)) if find_metric(key) is None} == set()


def test_a_full_evaluation_compares_all_samplers_and_keeps_what_it_fitted(full):
    table = evaluation(full)
    samplers = {key.split("/")[1] for key in table if key.startswith("generation/") and key.endswith("/frechet")}
    assert samplers == {"real", "reconstruction", "prior", "aggregate", "aggregate_full", "mixture", "two_stage"}
    assert table["generation/real/frechet"] < min(table[f"generation/{name}/frechet"] for name in samplers - {"real"})
    assert table["generation/left_out"] == {}
    assert (full / "posterior" / "mixture.safetensors").exists()
    assert (full / "posterior" / "two_stage.safetensors").exists()
    run = package.load(full)
    for method in ("mixture", "two_stage"):
        assert run.sample_latents(3, method, seed=1).shape == (3, 20)
    # the density of held-out latents under N(0, I), once more by hand
    assert table["generation/prior/latent_log_prob"] < 0
    assert 0 < table["representation/probe_accuracy"] <= 1


def test_the_same_evaluation_gives_the_same_numbers_in_batches_of_any_size(run, lehr):
    assert lehr("evaluate", "run=run", "level=quick", "iwae_samples=7")[0] == 0
    first = evaluation(run)
    assert lehr("evaluate", "run=run", "level=quick", "iwae_samples=7")[0] == 0
    assert evaluation(run) == first
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("eval_batch_size: 1000", "eval_batch_size: 37"))
    assert lehr("evaluate", "run=run", "level=quick", "iwae_samples=7")[0] == 0
    for key, value in measured(evaluation(run)).items():
        if isinstance(value, float):
            assert value == pytest.approx(first[key], rel=1e-5, abs=1e-7), key


def test_a_part_of_the_validation_split(run, lehr):
    code, out, _ = lehr("evaluate", "run=run", "level=quick", "split=val", "examples=15")
    assert code == 0
    table = evaluation(run, "evaluation-val.json")
    assert (table["split"], table["examples"]) == ("val", 15)
    assert evaluation(run)["split"] == "test"
    # 15 examples of 20 latents: the covariance cannot be known, and that is said
    assert table["collapse/moment_kl_full"] is None
    assert "rank is deficient" in table["collapse/moment_kl_problem"]
    assert "rank is deficient" in " ".join(out.split())


def test_a_run_that_goes_on_loses_what_was_measured_of_it(run, lehr):
    (run / "posterior" / "mixture.safetensors").write_bytes(b"of the model before")
    assert lehr("train", "resume=run", "trainer.max_epochs=5", "evaluate=none")[0] == 0
    assert not (run / "evaluation.json").exists()
    assert not (run / "posterior" / "mixture.safetensors").exists()


def test_data_without_labels_have_no_probe_and_no_classifier(lehr, tmp_path):
    rng = np.random.default_rng(0)
    np.save("grey.npy", rng.random((60, 6, 6)).astype(np.float32))
    code, _, err = lehr("train", "data=arrays", "data.path=grey.npy", "likelihood=gaussian", "dir=run", *SMALL)
    assert code == 0, err
    assert lehr("evaluate", "run=run", "samplers=[prior]", "iwae_samples=3")[0] == 0
    table = evaluation("run")
    assert "probe_accuracy" not in str(table)
    assert "has no labels" in table["representation/note"]
    assert "principal components" in table["generation/features"]
    assert table["likelihood/bits_per_dim"] is None
    code, out, err = lehr("evaluate", "run=run", "samplers=[prior]", "features=classifier")
    assert (code, out) == (2, "")
    assert err == "lehr evaluate: features=classifier: grey has no labels to learn from; use features=pca\n"


def test_a_learned_prior_is_what_the_prior_s_samples_come_from(lehr):
    code, _, err = lehr("train", "prior=mixture", "prior.components=3", "dir=run", *SMALL)
    assert code == 0, err
    assert lehr("evaluate", "run=run", "level=full", "samplers=[prior]", "iwae_samples=3", "features=pca")[0] == 0
    run = package.load("run")
    z = run.prior.sample(5, 0)
    assert torch.equal(run.sample_latents(5, "prior", seed=0), z)
    assert evaluation("run")["generation/prior/latent_log_prob_is_bound"] is False


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("", ["run: is missing; say run=PATH"]),
        ("run=nowhere", ["nowhere: there is no such directory"]),
        (
            "run=run level=all split=train iwae_samples=0 samplers=[prior,gmm] features=fid examples=1 k=5",
            [
                "k: unknown key",
                "level=all: must be 'quick' or 'full'",
                "split=train: must be 'test' or 'val'",
                "examples=1: must be greater than or equal to 2",
                "iwae_samples=0: must be greater than 0",
                "samplers.1=gmm: must be 'prior', 'aggregate', 'aggregate_full', 'mixture' or 'two_stage'",
                "features=fid: must be 'auto', 'inception', 'classifier' or 'pca'",
            ],
        ),
    ],
)
def test_a_mistake_is_one_line(refused, arguments, lines):
    assert refused("evaluate", *arguments.split()) == lines


def test_a_quick_evaluation_does_not_take_the_place_of_a_full_one(full, lehr):
    before = evaluation(full)
    code, out, _ = lehr("evaluate", f"run={full}", "level=quick", "examples=20")
    assert code == 0
    assert "evaluation-quick.json" in out
    assert evaluation(full) == before
    assert evaluation(full, "evaluation-quick.json")["examples"] == 20


def test_data_that_are_not_those_of_the_training_are_refused(lehr, tmp_path):
    rng = np.random.default_rng(0)
    np.save("grey.npy", rng.random((60, 6, 6)).astype(np.float32))
    assert lehr("train", "data=arrays", "data.path=grey.npy", "likelihood=gaussian", "dir=run", *SMALL)[0] == 0
    np.save("grey.npy", rng.random((30, 6, 6)).astype(np.float32))
    code, out, err = lehr("evaluate", "run=run")
    assert (code, out) == (2, "")
    assert "not the data that the run was trained on: train has 24 images, had 49" in err


def test_what_was_measured_of_another_model_is_not_written(run, monkeypatch):
    from lehr.run import evaluate as evaluating

    loaded, before = package.load(run), evaluation(run)
    measure = evaluating.evaluate

    def trained_meanwhile(*arguments):
        (run / "model" / "model.safetensors").write_bytes(b"of another model")
        return measure(*arguments)

    monkeypatch.setattr(evaluating, "evaluate", trained_meanwhile)
    with pytest.raises(package.errors.CheckpointError, match="was trained further in the meantime"):
        evaluating.evaluate_run(loaded, evaluating.Request(level="quick"))
    assert evaluation(run) == before


@pytest.mark.parametrize("state", ["failed", "interrupted", "running"])
def test_a_run_that_did_not_finish_is_refused(run, refused, state):
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": state}))
    assert refused("evaluate", "run=run") == [f"run: it is {state}: finish it with lehr train resume=run"]


def test_a_sampler_that_was_not_fitted_says_how_to_fit_it(run, refused):
    assert refused("sample", "run=run", "method=mixture") == [
        "run: has no mixture sampler; lehr evaluate run=run samplers=[mixture] fits it"
    ]


def test_an_evaluation_that_fails_does_not_take_the_training_with_it(lehr, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no memory\nis left")

    monkeypatch.setattr("lehr.run.evaluate.evaluate", fail)
    code, _, err = lehr("train", "dir=run", *SMALL)
    assert code == 0
    note = "note: the run is finished, but its evaluation failed (RuntimeError: no memory is left); once more: "
    assert f"{note}lehr evaluate run=run\n" in err
    assert json.loads(Path("run/status.json").read_text())["state"] == "done"
    assert package.load("run").model.latent_shape == (20,)


def test_a_part_of_a_sorted_data_set_has_all_of_its_classes(lehr):
    labels = np.repeat([0, 1, 2, 3], 30)
    for name in ("sorted.npz", "test.npz"):
        np.savez(name, x=np.broadcast_to((labels / 3)[:, None, None], (120, 6, 6)).astype(np.float32), y=labels)
    data = ("data=arrays", "data.path=sorted.npz", "data.key=x", "data.labels_key=y", "data.test_path=test.npz")
    code, _, err = lehr("train", *data, "likelihood=gaussian", "dir=run", "evaluate=none", *SMALL)
    assert code == 0, err
    arguments = ("samplers=[prior]", "iwae_samples=2", "examples=40", "features=pca")
    assert lehr("evaluate", "run=run", *arguments)[0] == 0
    assert evaluation("run")["examples"] == 40
    assert evaluation("run")["representation/probe_baseline"] < 0.5  # the first 40 are of two classes


def test_labels_that_nothing_can_be_learnt_from_are_said_and_nothing_is_lost(lehr):
    rng = np.random.default_rng(0)
    np.savez(
        "one.npz",
        x=rng.random((60, 6, 6)).astype(np.float32),
        y=np.stack([np.zeros(60), np.arange(60) % 3], 1).astype(int),
    )
    data = ("data=arrays", "data.path=one.npz", "data.key=x", "data.labels_key=y")
    code, _, err = lehr("train", *data, "likelihood=gaussian", "dir=run", "evaluate=none", *SMALL)
    assert code == 0, err
    assert lehr("evaluate", "run=run", "samplers=[prior]", "iwae_samples=2", "features=pca")[0] == 0
    table = evaluation("run")
    assert table["representation/note"].startswith("no scores of disentanglement: ")
    assert "representation/mig" not in table
    assert table["representation/probe_accuracy"] >= 0


def test_a_run_without_statistics_is_evaluated_and_used_as_far_as_it_can_be(lehr, tmp_path):
    small = (
        "trainer.max_epochs=1",
        "kl=constant",
        "model.hidden=[16]",
        "callbacks.aggregate=null",
        "data.split_seed=3",
    )
    assert lehr("train", *small, "evaluate=quick", f"dir={tmp_path}/run")[0] == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["evaluated"] == "quick"
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["level"] == "quick"
    code, out, _ = lehr("evaluate", f"run={tmp_path}/run", "samplers=[prior,aggregate,aggregate_full]", "features=pca")
    assert code == 0
    table = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert table["level"] == "full"
    assert table["generation/prior/frechet"] > 0
    assert table["generation/left_out"].keys() == {"aggregate", "aggregate_full"}
    assert "has no statistics of q(z)" in table["generation/left_out"]["aggregate"]
    assert "aggregate left out" in out
    run = package.load(tmp_path / "run")
    assert run.sample(3, "prior").shape == (3, 1, 8, 8)
    for use in (lambda: run.posterior, lambda: run.sample(3), lambda: run.sample(3, covariance="full")):
        with pytest.raises(package.CheckpointError, match=r"callbacks.aggregate=null left them out"):
            use()
    code, _, err = lehr("sample", f"run={tmp_path}/run")
    assert code != 0
    (line,) = err.splitlines()
    assert line.startswith(f"lehr sample: {tmp_path}/run: has no statistics of q(z), which aggregate needs")


def test_statistics_that_are_lost_are_not_taken_for_such_as_never_were(finished_run, tmp_path):
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    (copy / "posterior" / "statistics.safetensors").unlink()
    with pytest.raises(package.CheckpointError, match="there are no statistics"):
        package.load(copy)
