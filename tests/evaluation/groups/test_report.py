"""Gaps of groups: planted ones are found with their size, and where there is none intervals cover 0 as they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from lehr.evaluation.groups.grouping import Grouping
from lehr.evaluation.groups.plain import plain
from lehr.evaluation.groups.report import Covariates, GroupReport, adjust, compare_groups
from lehr.evaluation.groups.words import against_verdict, group_table, verdict
from lehr.evaluation.image_errors import ImageErrors

NAMES = ("hat", "shirt", "shoes")


def errors_of(psnr: np.ndarray) -> ImageErrors:
    values = torch.from_numpy(psnr)
    return ImageErrors({"psnr": values, "mse": 10 ** (-values / 10)})


def covariates_of(n: int, detail: np.ndarray | None = None, seed: int = 1) -> Covariates:
    random = np.random.default_rng(seed)
    detail = random.normal(-20, 5, n) if detail is None else detail
    return Covariates(torch.from_numpy(random.uniform(0, 1, n)), torch.from_numpy(detail))


def grouped(*sizes: int, names: tuple[str, ...] = NAMES) -> Grouping:
    return Grouping.of("label", [name for name, n in zip(names, sizes, strict=False) for _ in range(n)])


def compared(psnr: np.ndarray, *sizes: int, **options: object) -> GroupReport:
    return compare_groups(grouped(*sizes), errors_of(psnr), covariates_of(len(psnr)), **options)


def by_title(report: GroupReport) -> dict:
    return {group.title: group for group in report.groups}


def test_by_hand_two_groups_of_three_images() -> None:
    report = compared(np.array([20.0, 21, 22, 26, 28, 30]), 3, 3)
    hat, shirt = report.groups
    assert (hat.title, hat.n, hat.means["psnr"], shirt.means["psnr"]) == ("hat", 3, 21.0, 28.0)
    assert hat.means["psnr_of_mse"] == pytest.approx(-10 * math.log10((0.01 + 10**-2.1 + 10**-2.2) / 3))
    assert hat.gaps["psnr"].interval.estimate == -7.0
    assert shirt.gaps["psnr"].interval.estimate == 7.0
    assert hat.gaps["psnr"].interval.p == pytest.approx(
        stats.ttest_ind([20, 21, 22], [26, 28, 30], equal_var=False).pvalue
    )
    assert not hat.judged
    assert hat.gaps["psnr"].p is None
    assert report.largest is None
    assert verdict(report) == "Nothing is judged: no group by label has 20 images, and so many others beside it."


def test_a_planted_gap_is_found_with_its_size() -> None:
    random = np.random.default_rng(0)
    psnr = random.normal(28, 3, 400)
    psnr[:100] -= 3.0
    report = compared(psnr, 100, 150, 150)
    worst = report.groups[0]
    assert (worst.title, worst.gaps["psnr"].is_real) == ("hat", True)
    assert worst.gaps["psnr"].interval.covers(-3.0)
    assert worst.adjusted.is_real
    assert report.largest[1] == "hat"
    assert report.largest[0] > report.chance.upper
    words = verdict(report)
    assert "worse than the other images: hat by" in words
    assert "not due to brightness and detail" in words


def test_means_of_psnr_and_of_squared_error_can_rank_groups_the_other_way_round() -> None:
    steady, wild = np.full(40, 25.0), np.tile([35.0, 16.0], 20)
    groups = by_title(compared(np.concatenate([steady, wild]), 40, 40))
    assert groups["shirt"].means["psnr"] > groups["hat"].means["psnr"]
    assert groups["shirt"].means["psnr_of_mse"] < groups["hat"].means["psnr_of_mse"]


def test_a_gap_that_is_the_images_detail_alone_goes_away_when_it_is_taken_out() -> None:
    random = np.random.default_rng(2)
    detail = np.concatenate([random.normal(-15, 3, 100), random.normal(-22, 3, 200)])
    psnr = 15 - 0.6 * detail + random.normal(0, 1, 300)
    report = compare_groups(grouped(100, 200), errors_of(psnr), covariates_of(300, detail))
    hat = by_title(report)["hat"]
    assert hat.gaps["psnr"].interval.covers(-0.6 * 7)
    assert hat.adjusted.interval.covers(0.0)
    assert report.explained == pytest.approx(0.36 * 9 / (0.36 * 9 + 1), abs=0.05)
    assert "no more than chance is left" in verdict(report)


def test_the_slope_is_that_within_groups_so_that_a_gap_beside_the_covariate_stays() -> None:
    x = torch.tensor([[0.0], [1.0], [10.0], [11.0]], dtype=torch.float64)
    codes = torch.tensor([0, 0, 1, 1])
    values, explained = adjust(torch.tensor([0.0, 2.0, 0.0, 2.0], dtype=torch.float64), x, codes)
    assert (values[2:].mean() - values[:2].mean()).item() == pytest.approx(-20.0)
    assert explained == pytest.approx(1.0)
    same, nothing = adjust(torch.ones(4), torch.zeros(4, 1), codes)
    assert (same.tolist(), nothing) == ([1.0] * 4, None)


def test_small_groups_are_shown_and_not_judged_and_count_among_the_others() -> None:
    random = np.random.default_rng(3)
    psnr = random.normal(28, 1, 110)
    psnr[:10] -= 8
    report = compared(psnr, 10, 50, 50)
    hat = by_title(report)["hat"]
    assert (hat.gaps["psnr"].p, hat.gaps["psnr"].is_real) == (None, False)
    assert hat.gaps["psnr"].interval.estimate < -7
    assert by_title(report)["shirt"].gaps["psnr"].interval.estimate == pytest.approx(
        psnr[10:60].mean() - np.concatenate([psnr[:10], psnr[60:]]).mean()
    )
    assert "Not judged, with fewer than 20 images: hat" in verdict(report)


def test_a_group_is_not_judged_by_others_that_are_too_few() -> None:
    random = np.random.default_rng(3)
    psnr = random.normal(28, 1, 66)
    psnr[60:] += 8
    report = compared(psnr, 60, 6)
    assert [group.gaps["psnr"].p for group in report.groups] == [None, None]
    assert verdict(report).startswith("Nothing is judged: no group by label has 20 images, and so many others")


def test_p_values_of_three_groups_are_holms_and_of_two_the_one_that_there_is() -> None:
    random = np.random.default_rng(4)
    psnr = random.normal(28, 3, 120)
    psnr[:40] += 1.5
    three = by_title(compared(psnr, 40, 40, 40))
    p = sorted(three.values(), key=lambda group: group.gaps["psnr"].interval.p)
    assert p[0].gaps["psnr"].p == pytest.approx(3 * p[0].gaps["psnr"].interval.p)
    two = compared(psnr, 60, 60)
    assert two.groups[0].gaps["psnr"].p == two.groups[0].gaps["psnr"].interval.p


def test_a_group_of_one_image_has_no_interval_and_images_in_no_group_are_left_out() -> None:
    psnr = np.concatenate([[20.0], np.random.default_rng(5).normal(28, 1, 40), [0.0, 0.0]])
    grouping = Grouping.of("tone", ["dark", *["light"] * 40, None, None])
    report = compare_groups(grouping, errors_of(psnr), covariates_of(43))
    assert by_title(report)["dark"].gaps == {}
    assert (report.n, report.n_without) == (41, 2)
    assert report.overall["psnr"] == pytest.approx(psnr[:41].mean())
    assert "2 images are in no group" in group_table(report)


def test_another_model_on_the_same_images_is_compared_in_pairs() -> None:
    random = np.random.default_rng(6)
    psnr = random.normal(28, 4, 200)
    lost = np.where(np.arange(200) < 60, 2.0, 0.0) + random.normal(0, 0.3, 200)
    report = compare_groups(grouped(60, 140), errors_of(psnr - lost), covariates_of(200), errors_of(psnr))
    hat, shirt = by_title(report)["hat"].against, by_title(report)["shirt"].against
    assert hat.interval.covers(-2.0)
    assert hat.is_real
    assert hat.interval.half_width < 0.1
    assert shirt.interval.covers(0.0)
    assert not shirt.is_real
    assert against_verdict(report, "all").startswith("Worse than all: hat by 1.98 dB (1.90 to 2.06)")


def test_where_groups_are_too_small_nothing_is_said_of_another_model_and_columns_stay_apart() -> None:
    psnr = np.array([10.0, 40.0, 28.0, 29.0, 30.0])
    report = compare_groups(grouped(2, 3), errors_of(psnr), covariates_of(5), errors_of(psnr - 6))
    table = group_table(report, "all")
    assert against_verdict(report, "all") == ""
    assert "chance" not in table
    head, hat, *_ = [line for line in table.splitlines() if line.startswith(("  by", "  hat"))]
    assert "  -4.00 (" in hat
    assert head.index("to the others, dB") + len("to the others, dB") == hat.index(")") + 1


def test_values_that_do_not_vary_are_no_gap_and_json_holds_no_nan() -> None:
    report = compared(np.full(60, 100.0), 30, 30)
    assert "beyond chance" in verdict(report)
    text = str(plain(report))
    assert "nan" not in text
    assert "inf" not in text
    group_table(report, "another")


@pytest.mark.slow
def test_where_nothing_differs_intervals_cover_zero_and_verdicts_are_silent_as_often_as_they_promise() -> None:
    random, covers, silent, below, times = np.random.default_rng(8), 0, 0, 0, 300
    for _ in range(times):
        report = compared(random.normal(28, 4, 190), 25, 65, 100)
        covers += sum(group.gaps["psnr"].interval.covers(0.0) for group in report.groups)
        silent += not any(group.gaps["psnr"].is_real for group in report.groups)
        below += report.largest[0] <= report.chance.upper
    assert covers / (3 * times) == pytest.approx(0.95, abs=0.02)
    assert silent / times == pytest.approx(0.95, abs=0.035)
    assert below / times == pytest.approx(0.95, abs=0.035)


@pytest.mark.slow
def test_the_gap_that_would_be_found_is_found_in_four_cases_of_five() -> None:
    random = np.random.default_rng(9)
    wanted = by_title(compared(random.normal(28, 4, 200), 50, 150))["hat"].detectable
    found = 0
    for _ in range(200):
        psnr = random.normal(28, 4, 200)
        psnr[:50] -= wanted
        found += by_title(compared(psnr, 50, 150))["hat"].gaps["psnr"].is_real
    assert found / 200 == pytest.approx(0.8, abs=0.08)
