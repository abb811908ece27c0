"""The sentences of a sweep: a known effect, none, too few seeds to tell, and values that are not to be trusted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from planted import ELBO, layout, results, run

from lehr.report.conclusions import say_best
from lehr.report.layout import lay_out
from lehr.report.sentences import say_effects
from lehr.report.words import quantity, words_for

SEEDS = [0, 1, 2]


def said(values, elbo, metric=ELBO):
    return say_effects(layout(values, elbo, metric), metric)


def texts(values, elbo, metric=ELBO):
    return [sentence.text for sentence in said(values, elbo, metric)]


def test_a_known_effect():
    gain = {0: 0.68, 1: 0.70, 2: 0.72}
    [one] = said({"kl.warmup": [0, 10], "seed": SEEDS}, lambda up, s: -97 + s + (gain[s] if up else 0))
    assert one.text == (
        "A warm-up of 10 epochs instead of 0 gives +0.700 nats ELBO (0.650 to 0.750, 3 seeds), better beyond chance."
    )
    assert (one.key, one.verdict, one.better) == ("kl.warmup", "beyond chance", True)
    assert one.contrast.estimate == pytest.approx(0.7)


def test_less_is_better_where_the_catalogue_says_so():
    [one] = said({"kl.weight": [1, 4], "seed": SEEDS}, lambda w, s: 20 + w * (1 + s / 100), "test/distortion")
    assert one.text.endswith("nats distortion (2.955 to 3.105, 3 seeds), worse beyond chance.")
    assert one.better is False


def test_of_what_has_no_better_it_is_not_said():
    [one] = said({"kl.weight": [1, 4], "seed": SEEDS}, lambda w, s: 20 - w * (1 + s / 100), "test/rate")
    assert (
        one.text == "A KL weight of 4 instead of 1 gives -3.030 nats rate (-3.105 to -2.955, 3 seeds), beyond chance."
    )
    assert one.better is None


def test_a_difference_beyond_chance_is_not_told_as_zero():
    gain = {0: 6e-7, 1: 7e-7, 2: 8e-7}
    values = {"trainer.precision": ["32-true", "64-true"], "seed": SEEDS}
    [one] = said(values, lambda p, s: -26.6 + s + (gain[s] if p == "64-true" else 0))
    assert one.text == (
        "Precision 64-true instead of 32-true gives +7e-07 nats ELBO (4.516e-07 to 9.484e-07, 3 seeds), "
        "better beyond chance."
    )
    tables = layout(values, lambda p, s: -26.6 + s + (gain[s] if p == "64-true" else 0))
    [_, behind, *_] = say_best(tables, ELBO)
    assert "is 7e-07 nats behind (4.516e-07 to 9.484e-07, 3 seeds)" in behind.text


def test_no_effect():
    gain = {0: -0.6, 1: 0.4, 2: -0.1}
    [one] = said({"kl.warmup": [0, 1], "seed": SEEDS}, lambda up, s: -97 + s + (gain[s] if up else 0))
    assert one.text == (
        "A warm-up of 1 epoch instead of 0 shows no difference: -0.10 nats ELBO (-1.34 to 1.14, 3 seeds)."
    )
    assert (one.verdict, one.better) == ("not shown", None)


@pytest.mark.parametrize("values", [{"kl.warmup": [0, 10]}, {"kl.warmup": [0, 10], "seed": [3]}])
def test_one_seed_cannot_tell(values):
    [one] = said(values, lambda up, *_: -97 + 0.07 * up)
    assert one.text == (
        "A warm-up of 10 epochs instead of 0 gives +0.70 nats ELBO in one seed, "
        "which cannot tell whether that is chance."
    )
    assert (one.verdict, one.better) == ("cannot tell", None)


def test_among_many_comparisons_one_is_shown_by_chance():
    random = np.random.default_rng(0)
    noise = {(a, s): random.normal() for a in range(20) for s in SEEDS}
    gain = {0: 4.0, 1: 5.0, 2: 6.0}
    found = said({"a": range(20), "seed": SEEDS}, lambda a, s: noise[a, s] * 0.01 + (gain[s] if a == 19 else 0))
    assert found[0].verdict == "shown"
    assert "(2.53 to 7.45, 3 seeds), better, but among 20 comparisons chance can give as much." in found[0].text


def test_the_same_in_every_seed():
    whole = texts({"model.latent_dim": [2, 8], "seed": [0, 1]}, lambda n, s: n, "posterior/active_units")
    assert whole == ["A latent size of 8 instead of 2 gives +6 active units, the same in both seeds."]
    none = texts({"model.latent_dim": [2, 8], "seed": SEEDS}, lambda n, s: s, "posterior/active_units")
    assert none == ["A latent size of 8 instead of 2 makes no difference to active units, the same in all 3 seeds."]
    rounding = texts({"model.latent_dim": [2, 8], "seed": SEEDS}, lambda n, s: -97 + s + n * 1e-15)
    assert rounding == ["A latent size of 8 instead of 2 makes no difference to ELBO, the same in all 3 seeds."]


def test_values_that_no_run_survived_are_named():
    def elbo(p, s):
        return None if p.startswith("16") else s + len(p)

    found = said({"trainer.precision": ["32-true", "64-true", "16-true", "16-mixed"], "seed": SEEDS}, elbo)
    assert found[-1].text == "No run with precision 16-mixed and 16-true has ELBO."
    assert found[-1].verdict == "none"


def test_a_best_value_in_the_middle_is_not_passed_over():
    height = {0.1: 0.0, 1: 9.0, 4: 0.0}
    found = texts({"kl.weight": [0.1, 1, 4], "seed": SEEDS}, lambda w, s: height[w] + 0.01 * s * w)
    assert [text.split(" gives")[0].split(" shows")[0] for text in found] == [
        "A KL weight of 4 instead of 0.1", "A KL weight of 1 instead of 0.1", "A KL weight of 4 instead of 1",
    ]  # fmt: skip


def test_an_effect_that_turns_round_is_said():
    random = np.random.default_rng(0)
    values = {"kl.warmup": [0, 10], "kl.weight": [1, 4], "seed": SEEDS}
    found = said(values, lambda up, w, s: up * (1 if w == 1 else -1) + 0.1 * random.normal())
    depends = [one for one in found if one.verdict == "depends" and one.key == "kl.warmup"]
    assert [one.text for one in depends] == [
        "A warm-up of 10 epochs instead of 0 does one thing here and the opposite there: "
        "from -10.059 nats ELBO (KL weight 4) to +10.030 (KL weight 1)."
    ]


def test_what_cannot_be_compared_is_said():
    assert texts({"kl.weight": [1, 4]}, lambda w: w, "test/loss") == [
        "Loss is another quantity at each KL weight, so that its values do not compare."
    ]
    assert texts({"kl.weight": [1, 4]}, lambda w: w if w == 1 else None) == [
        "Of 2 values of KL weight one alone has ELBO, 1, so there is nothing to compare."
    ]
    assert texts({"kl.weight": [1, 4]}, lambda w: None) == ["No run has ELBO yet, so nothing is known of KL weight."]
    runs = [run({"a.b": i, "kl.weight": i}, {ELBO: 0.0}) for i in range(3)]
    assert [one.text for one in say_effects(lay_out(results(["a.b", "kl.weight"], runs)), ELBO)] == [
        "No two runs with ELBO differ in a.b alone, so its effect is not known.",
        "No two runs with ELBO differ in KL weight alone, so its effect is not known.",
    ]


def test_sentences_hold_for_one_data_set_each():
    found = texts({"data": ["digits", "mnist"], "kl.weight": [1, 4]}, lambda data, w: w)
    assert found == [
        "ELBO is another quantity at each data set, so that its values do not compare.",
        *(
            f"With data set {data}, a KL weight of 4 instead of 1 gives +3 nats ELBO in one seed, "
            "which cannot tell whether that is chance."
            for data in ("digits", "mnist")
        ),
    ]


def test_hostile_values_are_text_of_one_line():
    values = ["<script>alert(1)</script>", "a\nb", "x" * 500, ""]
    found = texts({"data.path": values, "x": [1, 2]}, lambda path, x: x)
    assert all("\n" not in text and len(text) < 400 for text in found)
    plain = texts({"model.act": values, "x": [1, 2]}, lambda path, x: x)
    assert plain[0].startswith("model.act=<script>alert(1)</script> instead of '' gives")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kl.warmup", 10, "10 epochs"), ("kl.warmup", 1, "1 epoch"), ("kl.hold", None, "null"),
        ("model.latent_dim", 32, "32"), ("a.b", True, "true"), ("a.b", [1, 2], "[1, 2]"),
        ("trainer.max_epochs", 1, "1 epoch"), ("optimizer.lr", 0.001, "0.001"), ("a.b", "ü", "ü"),
    ],
)  # fmt: skip
def test_values_as_they_are_typed_with_their_units(key, value, words):
    assert words_for([key], [run({key: value})]).value(key, value) == words


def test_units_are_those_of_the_configurations():
    def unit(keys, *units):
        return words_for(keys, [run({}, config=unit and {"kl.unit": unit}) for unit in units]).value("kl.warmup", 5)

    assert unit(["kl.warmup"], "step", "step") == "5 steps"
    assert unit(["kl.warmup"], "fraction") == "5 of the training"
    assert unit(["kl.warmup"], "step", "epoch") == "5"
    assert unit(["kl.warmup"], None) == "5"
    assert unit(["kl.warmup", "kl.unit"], "step") == "5"


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/elbo", "nats ELBO"), ("posterior/active_units", "active units"), ("mine/x", "mine/x"),
        ("time/images_per_second", "images per second"), ("reconstruction/psnr", "dB PSNR"),
        ("generation/prior/frechet", "frechet of prior"),
    ],
)  # fmt: skip
def test_metrics_by_their_line_in_the_catalogue(metric, words):
    assert quantity(metric).words == words


def test_what_a_sweep_says_is_found_without_what_takes_long_to_import():
    heavy = "torch", "lightning", "hydra", "optuna", "scipy", "pandas", "altair"
    modules = "ablation, conclusions, maps, plane, search_summary"
    program = f"from lehr.report import {modules}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
