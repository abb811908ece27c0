"""A comparison of groups as `groups.json` has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lehr.evaluation.groups.report import Gap, Group, GroupReport
from lehr.evaluation.groups.words import against_verdict, verdict


def plain(report: GroupReport, other: str | None = None) -> dict[str, Any]:
    """For JSON: what is not finite is null. docs/latents.md says what each is.

    Args:
        report: of one grouping.
        other: what the model is called that it is compared with; None without.
    """
    found: dict[str, Any] = {
        "by": report.name,
        "verdict": verdict(report),
        "images": report.n,
        "images_in_no_group": report.n_without,
        "overall": _numbers(report.overall),
        "largest_gap": None,
        "explained_by_brightness_and_detail": report.explained,
        "images_per_group_for_a_decibel": report.n_for_a_decibel,
        "groups": [_group(group) for group in report.groups],
    }
    if other is not None:
        found["against_verdict"] = against_verdict(report, other)
    if report.largest and report.chance:
        gap, worst, best = report.largest
        chance = {"expected": report.chance.expected, "upper": report.chance.upper, "p": report.chance.p}
        found["largest_gap"] = {"psnr": gap, "worst": worst, "best": best, "of_chance": _numbers(chance)}
    return found


def _group(group: Group) -> dict[str, Any]:
    return {
        "group": group.title,
        "images": group.n,
        "judged": group.judged,
        "mean": _numbers(group.means),
        "gap": {name: _gap(gap) for name, gap in group.gaps.items()},
        "adjusted_gap": _gap(group.adjusted),
        "detectable_gap": group.detectable,
        **({} if group.against is None else {"against": _gap(group.against)}),
    }


def _gap(gap: Gap | None) -> dict[str, Any] | None:
    if gap is None:
        return None
    interval = gap.interval
    numbers = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "p": interval.p}
    return _numbers({**numbers, "p_adjusted": gap.p})


def _numbers(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None or not math.isfinite(value) else float(value) for name, value in values.items()}
