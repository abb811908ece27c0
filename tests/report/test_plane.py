"""The rate-distortion plane, and maps over two keys."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from planted import ELBO, layout, results, run

from lehr.report.layout import lay_out
from lehr.report.maps import map_keys, maps
from lehr.report.plane import rate_distortion


def plane(points, keys=("kl.weight",)):
    """Of swept values -> (rate, distortion)."""
    runs = [
        run(dict(zip(keys, values, strict=True)), {"test/rate": r, "test/distortion": d})
        for values, (r, d) in points.items()
    ]
    return rate_distortion(lay_out(results(keys, runs)))


def test_a_curve_is_what_differs_in_the_weight_alone_sorted_by_it():
    values = {(w, n, s): (10 / w + n + s, 20 + w - n) for w, n, s in product((10, 2, 1), (8, 2), (0, 1))}
    [found] = plane(values, ("kl.weight", "model.latent_dim", "seed"))
    assert [dict(curve.values) for curve in found.curves] == [{"model.latent_dim": 2}, {"model.latent_dim": 8}]
    assert [[point.weight for point in curve.points] for curve in found.curves] == [[1, 2, 10]] * 2
    first = found.curves[0].points[0]
    assert (first.rate, first.distortion, first.n) == (12.5, 19.0, 2)
    assert (first.rate_std, first.distortion_std) == (pytest.approx(0.5**0.5), 0.0)


def test_front_hull_and_best_agree_with_looking_at_all_points():
    rng = np.random.default_rng(0)
    points = {(i,): tuple(rng.uniform(0, 10, 2)) for i in range(60)}
    [found] = plane(points)
    xy = np.array([(p.rate, p.distortion) for p in found.points])
    for i, point in enumerate(found.points):
        dominated = ((xy <= xy[i]).all(1) & (xy < xy[i]).any(1)).any()
        assert point.on_front == (not dominated)
    # a corner of the hull is the least of distortion + beta * rate at some beta
    corners = {int((xy[:, 1] + beta * xy[:, 0]).argmin()) for beta in np.logspace(-6, 6, 20_001)}
    assert corners == {i for i, point in enumerate(found.points) if point.on_hull}
    assert [i for i, point in enumerate(found.points) if point.is_best] == [int(xy.sum(1).argmin())]


def test_distortions_that_do_not_compare_are_in_planes_of_their_own():
    values = {(w, data): (w, 1.0) for w in (1, 2) for data in ("digits", "mnist")}
    assert [dict(found.where) for found in plane(values, ("kl.weight", "data"))] == [
        {"data": "digits"}, {"data": "mnist"},
    ]  # fmt: skip


def test_without_numbers_there_is_no_plane():
    assert rate_distortion(layout({"kl.weight": [1, 2]}, lambda w: w)) == []
    assert rate_distortion(lay_out(results([], []))) == []


# ---- maps


def test_weight_by_warmup_is_the_map():
    swept = layout({"n": [1, 2], "kl.warmup": [0, 5], "kl.weight": [1, 4]}, lambda *_: 1.0)
    assert map_keys(swept) == ("kl.weight", "kl.warmup")
    assert map_keys(layout({"x": ["a", "b"], "kl.weight": [1, 4]}, lambda *_: 1.0)) is None
    assert map_keys(layout({"a": range(100), "b": [1, 2]}, lambda *_: 1.0)) is None


def test_a_map_has_means_over_seeds_and_says_what_is_missing():
    def elbo(w, up, n, s):
        return None if (w, up, s) == (4, 5, 1) or (w, up) == (1, 5) else 100 * w + 10 * up + n + s

    found = maps(layout({"kl.weight": [4, 1], "kl.warmup": [0, 5], "n": [2, 3], "seed": [0, 1]}, elbo), ELBO)
    assert [dict(one.rest) for one in found] == [{"n": 2}, {"n": 3}]
    first = found[0]
    assert (first.rows, first.columns) == ((1, 4), (0, 5))
    assert [[cell.mean for cell in row] for row in first.cells] == [[102.5, None], [402.5, 452.0]]
    assert [[cell.n for cell in row] for row in first.cells] == [[2, 0], [2, 1]]
    assert [[len(cell.runs) for cell in row] for row in first.cells] == [[2, 2], [2, 2]]
    assert first.missing == 1
    assert first.cells[0][0].std == pytest.approx(0.5**0.5)


def test_maps_of_unlike_numbers_are_apart():
    swept = layout({"kl.weight": [1, 4], "kl.warmup": [0, 5], "data": ["a", "b"]}, lambda *_: 1.0)
    assert [(dict(one.rest), dict(one.where)) for one in maps(swept, ELBO)] == [
        ({"data": "a"}, {"data": "a"}), ({"data": "b"}, {"data": "b"}),
    ]  # fmt: skip
