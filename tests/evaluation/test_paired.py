"""Which model is better on the same images: against scipy, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest, ttest_rel

from lehr.evaluation.image_errors import ImageErrors
from lehr.evaluation.paired import level_of_each, paired, worst_images


def errors(psnr, lpips=None):
    values = {"psnr": torch.tensor(psnr, dtype=torch.float64)}
    if lpips is not None:
        values["lpips"] = torch.tensor(lpips, dtype=torch.float64)
    return ImageErrors(values)


def drawn(shift, n=40):
    """PSNRs that vary by 4 dB over images, and by 0.5 dB between two models of one image."""
    generator = torch.Generator().manual_seed(0)
    common = 25 + 4 * torch.randn(n, generator=generator, dtype=torch.float64)
    return common, common + shift + 0.5 * torch.randn(n, generator=generator, dtype=torch.float64)


def test_the_difference_and_its_interval_are_those_of_a_paired_t_test():
    a, b = drawn(0.3)
    (pair,) = paired({"a": errors(a.tolist()), "b": errors(b.tolist())})
    expected = ttest_rel(a.numpy(), b.numpy())
    interval = expected.confidence_interval(0.95)
    assert pair.difference.estimate == pytest.approx(float((a - b).mean()))
    assert [pair.difference.low, pair.difference.high] == pytest.approx([interval.low, interval.high])
    assert pair.difference.p == pytest.approx(expected.pvalue)
    assert pair.best == "b"
    assert (pair.first, pair.second, pair.better + pair.worse) == ("a", "b", 40)
    wilson = binomtest(pair.better, 40).proportion_ci(0.95, method="wilson")
    assert pair.share_interval == pytest.approx((wilson.low, wilson.high))


def test_of_a_distance_the_smaller_is_better_and_equal_images_are_neither():
    a, b = errors([30.0] * 4, [0.1, 0.2, 0.3, 0.4]), errors([30.0] * 4, [0.2, 0.3, 0.4, 0.4])
    by = {pair.measure: pair for pair in paired({"a": a, "b": b})}
    assert (by["lpips"].better, by["lpips"].worse, by["lpips"].share) == (3, 0, 1.0)
    assert by["lpips"].difference.estimate == pytest.approx(-0.075)
    assert (by["psnr"].share, by["psnr"].share_interval, by["psnr"].best) == (None, None, None)
    assert by["psnr"].difference.estimate == 0


def test_a_difference_that_may_be_chance_makes_nobody_better():
    a, b = drawn(0.0)
    (pair,) = paired({"a": errors(a.tolist()), "b": errors(b.tolist())})
    assert pair.difference.covers(0)
    assert pair.best is None


def test_more_models_have_wider_intervals_that_hold_at_once():
    assert level_of_each(2) == pytest.approx(0.95)
    assert level_of_each(4) == pytest.approx(1 - 0.05 / 6)
    a, b = (errors(part.tolist()) for part in drawn(0.3))
    (two,) = paired({"a": a, "b": b})
    three = paired({"a": a, "b": b, "c": b})
    assert [(pair.first, pair.second) for pair in three] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert three[0].difference.half_width > two.difference.half_width
    assert math.isnan(three[2].difference.p)  # of equal numbers nothing is shown
    assert three[2].best is None


def test_each_model_has_its_turn_among_the_worst_images_and_so_have_those_that_all_are_bad_at():
    #            0     1     2     3     4     5
    a = errors([30.0, 20.0, 31.0, 12.0, 30.0, 30.0])
    b = errors([30.0, 28.0, 25.0, 11.0, 30.5, 22.0])
    found = worst_images({"a": a, "b": b}, 4)
    # a is the furthest behind at 1 (8 dB), b at 5 (8 dB), and the best of both is the worst at 3; then a again, at 4
    assert [(one.row, one.model) for one in found] == [(1, "a"), (4, "a"), (5, "b"), (3, None)]
    assert {one.row for one in worst_images({"a": a, "b": b}, 100)} == set(range(6))


def test_of_one_model_the_worst_images_are_those_of_the_lowest_psnr():
    found = worst_images({"a": errors([30.0, 20.0, 25.0])}, 2)
    assert [(one.row, one.model) for one in found] == [(1, None), (2, None)]
