"""Curves over seeds for TensorBoard: what it reads of them is what the histories of the seeds say."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest
from made_up_sweeps import close, metrics, write_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG

from lehr.report.over_seeds import margin_of
from lehr.report.reading import Curve
from lehr.report.write import Request, write_report

EVENTS = "events.out.tfevents.1.here.1.0.lehr"


def seed_of(sweep, weight, seed, points, **status):
    """A run with events whose ELBO at each validation is as `points` says: images seen -> nats."""
    run = write_run(sweep, {"kl.weight": weight, "seed": seed}, metrics(-25.0 + seed), **status)
    lines = [{"images": images, "val/elbo": value, "val/kl_per_dimension": [1.0]} for images, value in points.items()]
    lines.append({"images": max(points), "train/loss": 1.0})
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / EVENTS).touch()
    return run


@pytest.fixture
def sweep(tmp_path):
    return close(tmp_path / "sweep", ["kl.weight", "seed"])


def read(folder):
    """tag -> (images seen, value), as TensorBoard has them; and the charts that it is told of."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    scalars = {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}
    [layout] = reader.Tensors(CONFIG_SUMMARY_TAG)
    return scalars, layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_combination_has_mean_and_deviation_of_its_seeds_where_all_that_are_done_were_validated(sweep):
    done = [{100: -30.0, 200: -26.0, 300: -25.0}, {100: -31.0, 200: -26.5, 300: -24.0}, {100: -30.5, 300: -20.0}]
    for seed, points in enumerate(done):
        seed_of(sweep, 0.5, seed, points)
    seed_of(sweep, 0.5, 3, {100: -99.0, 300: -99.0}, state="failed", error="x")
    write_report(Request((sweep,)))
    assert names(sweep / "over_seeds") == ["weight=0.5"]
    scalars, layout = read(sweep / "over_seeds" / "weight=0.5")
    expected = {"val/elbo/mean": [], "val/elbo/low": [], "val/elbo/high": []}
    for images in (100, 300):
        values = [points[images] for points in done]
        mean, std = statistics.mean(values), statistics.stdev(values)
        for part, value in (("mean", mean), ("low", mean - std), ("high", mean + std)):
            expected[f"val/elbo/{part}"].append((images, pytest.approx(value, rel=1e-6)))
    assert scalars == expected
    [category] = layout.category
    [chart] = category.chart
    [series] = chart.margin.series
    assert (chart.title, series.value, series.lower, series.upper) == (
        "val/elbo", "val/elbo/mean", "val/elbo/low", "val/elbo/high",
    )  # fmt: skip


def test_one_seed_is_no_margin_and_neither_are_runs_without_events(sweep):
    for seed in range(2):
        (seed_of(sweep, 1, seed, {100: -30.0}) / EVENTS).unlink()
    seed_of(sweep, 2, 0, {100: -30.0})
    write_report(Request((sweep,)))
    assert not (sweep / "over_seeds").exists()


def test_a_second_report_takes_the_place_of_the_first_and_leaves_other_files_alone(sweep):
    runs = [seed_of(sweep, weight, seed, {100: -30.0 - seed}) for weight in (1, 2, 3) for seed in range(2)]
    write_report(Request((sweep,)))
    place = sweep / "over_seeds"
    assert names(place) == ["weight=1", "weight=2", "weight=3"]
    before = names(place / "weight=1")
    (place / "weight=2" / "notes.txt").write_text("mine")
    for run in runs[2:]:
        (run / "status.json").write_text(json.dumps({"state": "failed"}))
    write_report(Request((sweep,)))
    assert names(place) == ["weight=1", "weight=2"]
    assert names(place / "weight=2") == ["notes.txt"]
    assert len(names(place / "weight=1")) == 1
    assert names(place / "weight=1") != before


def test_a_report_in_another_place_or_of_another_kind_writes_none(sweep, tmp_path):
    for seed in range(2):
        seed_of(sweep, 1, seed, {100: -30.0})
    write_report(Request((sweep,), out=tmp_path / "page.html"))
    write_report(Request((sweep,), format="md"))
    write_report(Request((sweep,), refresh=1))
    assert not (sweep / "over_seeds").exists()


def test_a_sweep_over_seeds_alone_is_one_combination(tmp_path):
    sweep = close(tmp_path / "sweep", ["seed"])
    for seed in range(2):
        run = write_run(sweep, {"seed": seed}, metrics(-25.0))
        (run / EVENTS).touch()
    write_report(Request((sweep,)))
    assert names(sweep / "over_seeds") == ["all"]


def test_combinations_whose_names_are_cut_to_the_same_are_apart(tmp_path):
    sweep = close(tmp_path / "sweep", ["model.note", "seed"])
    for end in "ab":
        for seed in range(2):
            run = write_run(sweep, {"model.note": "x" * 60 + end, "seed": seed}, metrics(-25.0))
            (run / EVENTS).touch()
    write_report(Request((sweep,)))
    assert len(names(sweep / "over_seeds")) == 2


def test_where_a_seed_is_not_finite_there_is_no_margin():
    curves = [Curve(np.array([1, 2, 3]), np.array([1.0, np.nan, 4.0])), Curve(np.array([2, 3]), np.array([1.0, 6.0]))]
    assert [(c.images.tolist(), c.values.tolist()) for c in margin_of(curves)] == [
        ([3], [5.0]), ([3], [5.0 - 2**0.5]), ([3], [5.0 + 2**0.5]),
    ]  # fmt: skip
    assert not margin_of([Curve(np.array([1]), np.array([1.0])), Curve(np.array([2]), np.array([1.0]))])
