"""What a sweep came to as a table: groups of runs, in the terminal and in files."""

from __future__ import annotations

import csv
import math
import statistics
from io import StringIO

import pytest
from handmade import add, configuration, elbo, sweep_yaml

from lehr.errors import ConfigError
from lehr.sweeps.groups import Query, answer
from lehr.sweeps.results import read_runs
from lehr.sweeps.tables import markdown_table, terminal_table, write_groups_csv

# ---- groups


def test_mean_and_standard_deviation_are_those_over_the_seeds(sweep):
    table = answer(read_runs(sweep), Query(["test/elbo", "collapse/active_units"]))
    assert table.by == ("kl.weight",)
    half, one, ten = table.rows
    numbers = [elbo(0.5, seed) for seed in range(3)]
    assert half.cells[0].mean == pytest.approx(statistics.fmean(numbers), rel=1e-15)
    assert half.cells[0].std == pytest.approx(statistics.stdev(numbers), rel=1e-13)
    assert (half.cells[1].mean, half.cells[1].std, half.cells[1].n) == (2.0, 1.0, 3)
    # seed 1 failed: the mean is over the others, and says so
    numbers = [elbo(1.0, 0), elbo(1.0, 2)]
    assert one.cells[0].mean == pytest.approx(statistics.fmean(numbers), rel=1e-15)
    assert one.cells[0].std == pytest.approx(statistics.stdev(numbers), rel=1e-13)
    assert (one.done, len(one.runs), one.cells[0].n) == (2, 3, 2)
    assert (ten.cells[0].mean, ten.cells[0].std, ten.cells[0].n, len(ten.runs)) == (-100.0, None, 1, 2)


def test_fewer_keys_average_over_the_others_too(tmp_path):
    for weight in (1, 2):
        for warmup in (0, 5):
            for seed in (0, 1):
                swept = {"kl.weight": weight, "kl.warmup": warmup, "seed": seed}
                add(tmp_path, swept, {"test/elbo": float(weight * 100 + warmup * 10 + seed)})
    sweep_yaml(tmp_path, "kl.weight", "kl.warmup", "seed")
    results = read_runs(tmp_path)
    numbers = [100.0, 101.0, 150.0, 151.0]
    first = answer(results, Query(["test/elbo"], ["kl.weight"])).rows[0]
    assert (first.values, first.cells[0].mean, first.cells[0].n) == ((1,), statistics.fmean(numbers), 4)
    assert first.cells[0].std == pytest.approx(statistics.stdev(numbers), rel=1e-13)
    assert [row.values for row in answer(results, Query(by=["seed", "kl.warmup"])).rows] == [
        (0, 0), (0, 5), (1, 0), (1, 5)
    ]  # fmt: skip
    assert answer(results, Query(["test/elbo"], [])).rows[0].cells[0].n == 8
    assert "over kl.warmup and seeds;" in terminal_table(answer(results, Query(by=["kl.weight"])))
    assert "over seeds;" in terminal_table(answer(results))


@pytest.mark.parametrize(
    ("sort", "weights", "said"),
    [
        ("test/elbo", [0.5, 1.0, 10.0], "sorted by test/elbo, highest first (best)"),
        ("-test/elbo", [10.0, 1.0, 0.5], "sorted by test/elbo, lowest first (worst)"),
        ("test/rate", [0.5, 1.0, 10.0], "sorted by test/rate, lowest first"),
        ("-kl.weight", [10.0, 1.0, 0.5], None),
    ],
)
def test_sorting_by_a_metric_puts_the_best_first_and_says_so(sweep, sort, weights, said):
    table = answer(read_runs(sweep), Query(sort=sort))
    assert [row.values[0] for row in table.rows] == weights
    lines = terminal_table(table).splitlines()
    assert any(line.strip() == said for line in lines) if said else not any("sorted" in line for line in lines)


def test_what_has_no_value_sorts_last(sweep):
    for run in read_runs(sweep).runs:
        if run.swept["kl.weight"] == 0.5:
            (sweep / run.name / "metrics.json").write_text('{"test/elbo": NaN}')
    for sort in ("test/elbo", "-test/elbo"):
        last = answer(read_runs(sweep), Query(sort=sort)).rows[-1]
        assert (last.values, last.done, last.cells[0].n) == ((0.5,), 3, 0)


def test_unknown_names_are_all_said_with_what_was_meant(sweep):
    with pytest.raises(ConfigError) as caught:
        answer(read_runs(sweep), Query(["test/elbow", "foo/*"], ["kl.wieght"], "test/ratee"))
    assert caught.value.problems == (
        "metrics=[test/elbow]: no run has this metric; did you mean test/elbo?",
        "metrics=[foo/*]: no run has this metric; there are: collapse/active_units, test/elbo, test/rate, time/step_ms",
        "by=[kl.wieght]: was not swept; did you mean kl.weight?",
        "sort=test/ratee: is neither a key of the table nor a metric; did you mean test/rate?",
    )


def test_patterns_choose_metrics(sweep):
    assert answer(read_runs(sweep), Query(["test/*", "test/rate"])).metrics == ("test/elbo", "test/rate")


# ---- the terminal


def test_the_columns_of_the_table_are_aligned_and_no_number_is_lost(sweep):
    lines = terminal_table(answer(read_runs(sweep), Query(["test/elbo"])), width=100).splitlines()
    start = lines.index("  kl ───  test ─────────")
    assert lines[start : start + 5] == [
        "  kl ───  test ─────────",
        "  weight            elbo       n",
        "     0.5   -90.33 ± 0.21       3",
        "     1.0   -90.80 ± 0.28  2 of 3",
        "    10.0  -100.00 ±    -  1 of 2",
    ]


def test_what_did_not_end_well_is_listed_by_state_each_with_its_error(sweep):
    text = terminal_table(answer(read_runs(sweep)))
    failed, interrupted = (next(r for r in read_runs(sweep).runs if r.state == s) for s in ("failed", "interrupted"))
    assert text.startswith(f"  {sweep}: 8 runs: 6 done, 1 interrupted, 1 failed\n")
    assert f"\n  failed (1)\n    {failed.name}  NonFiniteLoss: the loss is NaN\n" in text
    assert f"\n  interrupted (1)\n    {interrupted.name}  SIGTERM\n" in text


def test_many_failures_are_counted_where_they_are_not_listed(tmp_path):
    for seed in range(30):
        add(tmp_path, {"seed": seed}, state="failed", error="OSError: disk full")
    sweep_yaml(tmp_path, "seed")
    text = terminal_table(answer(read_runs(tmp_path)), 80)
    assert text.count("OSError: disk full") == 20
    assert "and 10 more, which runs=true shows" in text


def test_a_done_run_without_a_finite_number_is_counted_in_that_cell(tmp_path):
    for seed, value in enumerate([-1.0, math.nan, -3.0]):
        add(tmp_path, {"seed": seed, "kl.weight": 1}, {"test/elbo": value, "test/rate": 1.5 + seed})
    sweep_yaml(tmp_path, "kl.weight", "seed")
    line = next(line for line in terminal_table(answer(read_runs(tmp_path)), 100).splitlines() if "±" in line)
    assert line.split("  ")[-3:] == ["-2.0 ± 1.4 (n=2)", "2.5 ± 1.0", "3"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 150])
def test_the_table_fits_and_says_what_it_left_out(tmp_path, width):
    metrics = ["test/elbo", "test/rate", "test/distortion", "posterior/active_units"]
    for seed in (0, 1):
        add(tmp_path, {"kl.weight": 1, "model.latent_dim": 8, "seed": seed}, dict.fromkeys(metrics, -123.4 - seed))
    sweep_yaml(tmp_path, "kl.weight", "model.latent_dim", "seed")
    lines = terminal_table(answer(read_runs(tmp_path)), width).splitlines()
    table = lines[2 : lines.index("", 2)]
    assert max(map(len, table)) <= width
    left_out = [m for m in metrics if any(f"{m}" in line for line in lines if "no room for" in line)]
    for metric in metrics:
        assert (metric.rpartition("/")[2] in table[1]) != (metric in left_out)
    numbers = "\n".join(table).count("-123.90")
    assert numbers == len(metrics) - len(left_out)
    assert "\n".join(table).count("± 0.71") == numbers
    assert (left_out == []) == (width >= 80)


def test_digits_follow_the_standard_deviation(tmp_path):
    values = {
        "a/units": [17.0, 17.0], "b/rate": [0.01234567, 0.01334567], "c/mse": [1234.5, 1300.25],
        "d/tiny": [1.23456e-7, 1.23456e-7], "e/zero": [-0.0001, 100.0],
    }  # fmt: skip
    for seed in (0, 1):
        add(tmp_path, {"seed": seed}, {name: several[seed] for name, several in values.items()})
    sweep_yaml(tmp_path, "seed")
    table = markdown_table(answer(read_runs(tmp_path), Query(["?/*"]))).splitlines()
    assert table[-1] == "| 17 ± 0 | 0.01285 ± 0.00071 | 1267 ± 46 | 1.235e-07 ± 0 | 50 ± 71 | 2 |"


def test_names_of_other_scripts_keep_the_columns_aligned(tmp_path):
    for i, name in enumerate(["größe", "模型", "plain"]):
        config = configuration(**{"model.latent_dim": i})
        add(tmp_path, {"model": name, "seed": 0}, {"test/elbo": -1.25 - i}, config=config)
    sweep_yaml(tmp_path, "model", "seed")
    lines = terminal_table(answer(read_runs(tmp_path)), 80).splitlines()
    assert [line for line in lines if line.endswith("  1")] == [
        "  größe  -1.250  1",
        "  plain  -3.250  1",
        "  模型   -2.250  1",
    ]


def test_of_long_paths_the_end_is_shown_without_the_folders_that_all_lie_in(tmp_path):
    folder = "/home/somebody/experiments/first stages"
    long = "very_long_names_of_models_that_go_on_and_on/vae.safetensors"
    for i, path in enumerate([f"{folder}/a/vae.safetensors", f"{folder}/b/vae.safetensors", f"{folder}/{long}", None]):
        config = configuration(**{"model.pretrained": path})
        add(tmp_path, {"model.pretrained": path}, {"test/elbo": -1.25 - i}, config=config)
    sweep_yaml(tmp_path, "model.pretrained")
    lines = terminal_table(answer(read_runs(tmp_path)), 80).splitlines()
    named = [line.split("  ")[1] for line in lines if line.endswith("  1")]
    assert named == ["null", "…/a/vae.safetensors", "…/b/vae.safetensors", f"…{long[-39:]}"]
    assert "| …/a/vae.safetensors |" in markdown_table(answer(read_runs(tmp_path)))


def test_one_run_each_is_shown_without_deviations(tmp_path):
    add(tmp_path, {"kl.weight": 1}, {"test/elbo": -97.123456})
    sweep_yaml(tmp_path, "kl.weight")
    text = terminal_table(answer(read_runs(tmp_path)), 80)
    assert "±" not in text
    assert "-97.12 " in text


def test_each_run_by_itself(sweep):
    table = answer(read_runs(sweep), Query(["test/elbo"], runs=True, sort="test/elbo"))
    lines = terminal_table(table, 120).splitlines()
    found = [line.split()[:4] for line in lines[4:12]]
    assert found[0] == ["0.5", "2", "done", "-90.10"]
    assert [cells[2:] for cells in found[-2:]] == [["failed", "-"], ["interrupted", "-"]]
    with pytest.raises(ConfigError, match="by: is for groups of runs"):
        answer(read_runs(sweep), Query(by=["seed"], runs=True))


# ---- files


def test_markdown_has_whole_names_and_escapes_bars(tmp_path):
    for seed in (0, 1):
        add(tmp_path, {"model": "a|b", "kl.weight": 1e-5, "seed": seed}, {"test/elbo": -1.0 - seed})
    sweep_yaml(tmp_path, "model", "kl.weight", "seed")
    assert markdown_table(answer(read_runs(tmp_path))) == (
        "| model | kl.weight | test/elbo | n |\n| :--- | ---: | ---: | ---: |\n| a\\|b | 1e-05 | -1.50 ± 0.71 | 2 |\n"
    )


def test_csv_of_groups_gives_the_numbers_back_exactly(sweep):
    table = answer(read_runs(sweep), Query(["test/elbo"]))
    stream = StringIO()
    write_groups_csv(stream, table)
    rows = list(csv.DictReader(StringIO(stream.getvalue())))
    assert list(rows[0]) == ["kl.weight", "runs", "done", "test/elbo/mean", "test/elbo/std", "test/elbo/n"]
    for row, group in zip(rows, table.rows, strict=True):
        cell = group.cells[0]
        assert float(row["test/elbo/mean"]) == cell.mean
        assert (float(row["test/elbo/std"]) if row["test/elbo/std"] else None) == cell.std
        assert (row["test/elbo/n"], row["runs"], row["done"]) == (str(cell.n), str(len(group.runs)), str(group.done))
    assert rows[2]["test/elbo/std"] == ""
