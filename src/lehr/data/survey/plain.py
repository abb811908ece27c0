"""A survey in plain containers: what JSON has of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lehr.data.survey.pixels import PixelStatistics

if TYPE_CHECKING:
    from lehr.data.survey.survey import Survey

MADE_BY = "lehr data"
"""What a file says that a survey was written to, so that another one may take its place."""


def plain(survey: Survey) -> dict[str, Any]:
    """All numbers and names of a survey. docs/data.md says what each is."""
    return {
        "made_by": MADE_BY,
        "name": survey.name,
        "shape": list(survey.shape),
        "levels": survey.levels,
        "splits": {split: _of_pixels(one) for split, one in survey.pixels.items()},
        "labels": [factor.plain() for factor in survey.factors],
        "equal": {
            "counts": dict(survey.equal.counts),
            "groups": [[list(place) for place in group] for group in survey.equal.groups],
            "n_groups": survey.equal.n_groups,
            "contradicting": survey.equal.contradicting,
        },
        "findings": [one.plain() for one in survey.findings],
        "files": survey.files.plain() if survey.files else None,
        "binarize": survey.binarize,
        "suggestion": {**asdict(survey.suggestion), "words": list(survey.suggestion.words)},
    }


def _of_pixels(one: PixelStatistics) -> dict[str, Any]:
    return {
        "n": one.n,
        "low": one.low,
        "high": one.high,
        "mean": one.overall_mean,
        "std": one.overall_std,
        "distinct": None if one.values is None else len(one.values),
        "even_levels": one.grid,
        "on": one.on,
        "between": one.between,
        "drawing": one.drawing,
        "bimodality": one.bimodality,
        "histogram": one.histogram.tolist(),
    }
