"""Precisions against the most exact one."""

from __future__ import annotations

import pytest
from planted import ELBO, layout, results, run

from lehr.report.ablation import PRECISION, SPEED, precision
from lehr.report.conclusions import say_precision
from lehr.report.layout import lay_out

LOSS = {"64-true": 0.0, "32-true": 0.0, "bf16-mixed": -0.5}
SPEEDS = {"64-true": 100, "32-true": 200, "bf16-mixed": 500}


def sweep(precisions, seeds=(0, 1, 2), hosts=("here",)):
    runs = [
        run(
            {PRECISION: p, "kl.weight": w, "seed": s},
            {ELBO: -90 - w - s + LOSS[p] + 0.02 * s * (p == "bf16-mixed"), SPEED: SPEEDS[p] * (1 + 0.1 * s)},
            host=hosts[s % len(hosts)],
        )
        for p in precisions for w in (1, 4) for s in seeds
    ]  # fmt: skip
    return lay_out(results([PRECISION, "kl.weight", "seed"], runs))


def test_each_precision_is_compared_with_the_most_exact_one_there_is():
    found = precision(sweep(["bf16-mixed", "32-true", "64-true"]))
    pairs = [(one.metric, one.contrast.value, one.contrast.against) for one in found]
    assert pairs == [
        (ELBO, "32-true", "64-true"), (ELBO, "bf16-mixed", "64-true"),
        (SPEED, "32-true", "64-true"), (SPEED, "bf16-mixed", "64-true"),
    ]  # fmt: skip
    assert found[1].contrast.per_seed == pytest.approx([-0.5, -0.48, -0.46])
    assert found[1].contrast.combinations == 2
    assert {one.contrast.comparisons for one in found} == {4}


def test_a_speed_is_a_ratio():
    [_, fast] = precision(sweep(["bf16-mixed", "32-true"]))
    assert fast.ratio == pytest.approx((2.5, 2.5, 2.5))
    assert fast.contrast.estimate == pytest.approx(330)
    [single] = precision(sweep(["bf16-mixed", "32-true"], seeds=(0,)), [SPEED])
    assert single.ratio == (pytest.approx(2.5), None, None)


def test_speeds_of_several_machines_are_not_averaged():
    found = precision(sweep(["bf16-mixed", "32-true"], hosts=("a", "b", "c")), [SPEED])
    assert [dict(one.where) for one in found] == [{"host": "a"}, {"host": "b"}, {"host": "c"}]


def test_without_a_second_precision_there_is_no_ablation():
    assert precision(sweep(["32-true"])) == []
    assert precision(layout({"a": [1, 2]}, lambda a: a)) == []


def test_in_sentences():
    swept = sweep(["bf16-mixed", "32-true"])
    assert [one.text for one in say_precision(precision(swept), swept)] == [
        "Precision bf16-mixed instead of 32-true gives -0.480 nats ELBO (-0.530 to -0.430, 3 seeds), "
        "worse beyond chance.",
        "Precision bf16-mixed instead of 32-true is 2.50 times as fast (2.50 to 2.50, 3 seeds).",
    ]
