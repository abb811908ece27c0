"""Numbers of unlike things: not averaged, and said not to compare where they stand below each other."""

from __future__ import annotations

import pytest
from handmade import add, configuration, sweep_yaml

from lehr.sweeps.groups import Query, answer
from lehr.sweeps.results import read_runs
from lehr.sweeps.tables import terminal_table

METRICS = {"test/elbo": -90.0, "test/loss": 91.0}


def evaluation(examples=359, k=64, **others):
    return {
        "dataset": "digits", "split": "test", "examples": examples, "split_examples": 359, "likelihood/iwae": -80.0 - k,
        "likelihood/elbo": -90.0, "likelihood/iwae_samples": k, "collapse/mi_lower": 3.0,
        "collapse/mi_examples": examples, **others,
    }  # fmt: skip


def table(folder, *evaluations, metrics=("test/elbo", "likelihood/iwae", "likelihood/elbo"), **query):
    for seed, found in enumerate(evaluations):
        add(folder, {"seed": seed}, METRICS, found)
    sweep_yaml(folder, "seed")
    return answer(read_runs(folder), Query(list(metrics), **query))


def notes(found):
    return [line.strip() for line in terminal_table(found).splitlines()]


def test_evaluations_over_other_numbers_of_examples_have_no_average(tmp_path):
    found = table(tmp_path, evaluation(359), evaluation(359), evaluation(5))
    elbo, iwae, bound = found.rows[0].cells
    assert (elbo.mean, elbo.n) == (-90.0, 3)  # of all examples, whatever was evaluated
    assert [(cell.mean, cell.std, cell.n) for cell in (iwae, bound)] == [(None, None, 3)] * 2
    names = "likelihood/iwae and likelihood/elbo"
    assert f"no average of {names} over runs that differ in examples 359 and 5; runs=true shows each" in notes(found)


@pytest.mark.parametrize(
    ("other", "metric", "reason"),
    [
        (evaluation(k=500), "likelihood/iwae", "importance samples 64 and 500"),
        (evaluation(split="val"), "likelihood/elbo", "split test and val"),
        (evaluation(dataset="mnist"), "collapse/mi_lower", "dataset digits and mnist"),
        (evaluation(100), "collapse/mi_lower", "examples 359 and 100; posteriors 359 and 100"),
    ],
)
def test_what_runs_differ_in_is_named(tmp_path, other, metric, reason):
    found = table(tmp_path, evaluation(), other, metrics=[metric])
    assert found.rows[0].cells[0].mean is None
    assert found.rows[0].cells[0].apart == reason


def test_another_number_of_importance_samples_leaves_the_elbo_its_average(tmp_path):
    found = table(tmp_path, evaluation(k=64), evaluation(k=500))
    assert [cell.mean for cell in found.rows[0].cells] == [-90.0, None, -90.0]


def test_distances_in_other_features_or_of_other_numbers_of_images_have_no_average(tmp_path):
    def generated(features, images):
        own = {"generation/prior/frechet": 3.0, "generation/features": features, "generation/examples": images}
        return evaluation(**own)

    classifiers = [generated(f"classifier of accuracy 0.{n} on 129 held-out images", 359) for n in (97, 98)]
    components = generated("64 principal components with 99.0% of the variance of the pixels", 359)
    fewer = generated("63 principal components with 100.0% of the variance of the pixels", 359)
    few = generated("classifier of accuracy 0.97 on 129 held-out images", 100)
    name = "generation/prior/frechet"
    for i, (evaluations, reason) in enumerate([
        (classifiers, None),  # of each seed its own, trained on other images
        ([components, fewer], None),  # of images whose corners never vary
        ([classifiers[0], components], "features classifier and principal components"),
        ([classifiers[0], few], "images 359 and 100"),
    ]):  # fmt: skip
        cell = table(tmp_path / str(i), *evaluations, metrics=[name]).rows[0].cells[0]
        assert cell.apart == reason
        assert cell.mean == (3.0 if reason is None else None)


def test_the_number_of_examples_is_said_beside_metrics_of_the_whole_split(tmp_path):
    few = table(tmp_path / "few", evaluation(100), evaluation(100))
    assert "likelihood: of 100 of 359 test examples; test: of all of the split" in notes(few)
    every = table(tmp_path / "all", evaluation(), evaluation())
    assert "likelihood: of all 359 test examples" in notes(every)
    old = {key: value for key, value in evaluation(100).items() if key != "split_examples"}
    assert "likelihood: of 100 test examples; test: of all of the split" in notes(table(tmp_path / "old", old))
    none = table(tmp_path / "none", evaluation(100), metrics=["test/elbo"])
    assert not any("test examples" in line for line in notes(none))


def test_rows_over_other_numbers_of_examples_are_said_not_to_compare(tmp_path):
    for weight, examples in ((1, 359), (2, 5)):
        add(tmp_path, {"kl.weight": weight, "seed": 0}, METRICS, evaluation(examples))
    sweep_yaml(tmp_path, "kl.weight", "seed")
    found = answer(read_runs(tmp_path), Query(["test/elbo", "likelihood/elbo"], sort="likelihood/elbo"))
    assert all(cell.mean == -90.0 for row in found.rows for cell in row.cells)
    lines = notes(found)
    assert any(line.startswith("likelihood/elbo: rows differ in examples ") for line in lines)
    assert "sorted by likelihood/elbo, highest first" in lines  # and not: (best)
    assert not any("test/elbo: rows" in line for line in lines)


@pytest.mark.parametrize(
    ("key", "values", "metric", "unlike"),
    [
        ("kl.weight", (1, 4), "test/loss", True),
        ("kl.weight", (1, 4), "test/elbo", False),  # at KL weight 1, whatever was trained with
        ("kl.warmup", (1, 4), "test/loss", False),
        ("model.latent_dim", (2, 4), "test/loss", False),
        ("data.binarize", ("none", "dynamic"), "test/elbo", True),
        ("data.seed", (0, 1), "test/elbo", False),
        ("data.batch_size", (10, 20), "test/elbo", False),
        ("likelihood", ("bernoulli", "gaussian"), "test/elbo", True),
        ("likelihood", ("laplace", "gaussian"), "test/elbo", False),  # densities of the same pixels
        ("likelihood", ("bernoulli", "gaussian"), "test/rate", False),
        ("objective", ("elbo", "iwae"), "test/loss", True),
        ("objective", ("elbo", "iwae"), "test/elbo", False),
    ],
)
def test_what_makes_another_quantity_is_not_averaged_over_nor_sorted_by_as_best(tmp_path, key, values, metric, unlike):
    for seed, value in enumerate(values):
        config = configuration(seed=seed)
        add(tmp_path, {key: value, "seed": seed}, {metric: float(seed)}, config=config)
    sweep_yaml(tmp_path, key, "seed")
    results = read_runs(tmp_path)
    together = answer(results, Query([metric], by=[]))
    assert together.rows[0].cells[0].mean == (None if unlike else 0.5)
    assert (
        any(line.startswith(f"no average of {metric} over runs that differ in ") for line in notes(together)) == unlike
    )
    lines = notes(answer(results, Query([metric], sort=metric)))
    assert any(line.startswith(f"{metric}: rows differ in {key} ") for line in lines) == unlike
