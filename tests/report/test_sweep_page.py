"""The report of a sweep: what stands in it is what the runs have, whatever has become of them and is in their names."""

from __future__ import annotations

import csv
import html
import json
import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from made_up_sweeps import HOSTILE, close, draw, metrics, warmup_sweep, write_run

from lehr.errors import ConfigError
from lehr.evaluation.catalogue import is_of_execution
from lehr.report import vega
from lehr.report.document import ByMetric, Chart, Folded, Paragraph, RunsTable, Table, flat
from lehr.report.gather import gather
from lehr.report.layout import lay_out
from lehr.report.markdown import write_markdown
from lehr.report.page import page
from lehr.report.sentences import say_effects
from lehr.report.sweep import sweep_document
from lehr.report.write import Request, watch
from lehr.run.evaluation import shown
from lehr.sweeps.results import read_runs, write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return warmup_sweep(tmp_path_factory.mktemp("sweeps") / "warm")


@pytest.fixture(scope="module")
def document(folder):
    return sweep_document(gather([folder], folder))


@pytest.fixture(scope="module")
def written(document):
    return page(document)


def document_of(path, *more, **options):
    return sweep_document(gather([path, *more], path), **options)


def parts(document, kind, section=None):
    sections = [one for one in document.sections if section in (None, one.name)]
    return [part for one in sections for part in flat(one.parts) if isinstance(part, kind)]


def chart(document, name):
    [found] = [one for one in document.charts() if one.name == name]
    return found


def verdict(document, metric=None):
    return [part.text for part in flat(document.verdict, metric) if isinstance(part, Paragraph)]


def rows_of(spec):
    """All rows of data within a specification."""
    if isinstance(spec, dict):
        own = spec["data"]["values"] if isinstance(spec.get("data"), dict) else []
        return [*own, *(row for key, value in spec.items() if key != "data" for row in rows_of(value))]
    return [row for value in spec for row in rows_of(value)] if isinstance(spec, list) else []


def test_the_table_has_the_numbers_of_results_csv_to_the_digits_shown(folder, document):
    with write_results(read_runs(folder)).open(newline="") as stream:
        expected = {row["run"]: row for row in csv.DictReader(stream)}
    [table] = parts(document, RunsTable)
    assert set(table.names) == set(expected)
    assert len(table.names) == 36
    names = [name for name, _ in table.metrics]
    for run, (state, *cells) in zip(table.names, table.rows, strict=True):
        row = expected[run]
        assert state == row["state"]
        assert cells[: len(table.keys)] == [row[key] for key in table.keys]
        for name, cell in zip(names, cells[len(table.keys) :], strict=True):
            if not is_of_execution(name):
                assert cell == (shown(name, float(row[name])) if row[name] else "")


def test_charts_have_the_numbers_of_results_csv(folder, document):
    with write_results(read_runs(folder)).open(newline="") as stream:
        expected = {row["run"]: row for row in csv.DictReader(stream) if row["state"] == "done"}
    lines = {row["name"]: row["m"] for row in rows_of(chart(document, "parallel").spec) if "m" in row}
    assert set(lines) == set(expected)
    for run, own in lines.items():
        assert own["test/elbo"] == pytest.approx(float(expected[run]["test/elbo"]), rel=1e-5)
    points = [row for row in rows_of(chart(document, "rate_distortion").spec) if "front" in row]
    assert len(points) == 10
    group = [row for row in expected.values()
             if (row["kl.weight"], row["kl.warmup"], row["trainer.precision"]) == ("4.0", "0", "32-true")]  # fmt: skip
    [point] = [row for row in points if row["name"].startswith("KL weight 4.0, warm-up 0 epochs, precision 32-true")]
    for name in ("rate", "distortion"):
        assert point[name] == pytest.approx(sum(float(row[f"test/{name}"]) for row in group) / 3, rel=1e-5)


def test_the_verdict_names_the_best_first_and_then_each_key_for_each_metric(folder, document):
    layout = lay_out(read_runs(folder, config=True))
    for metric, _ in document.metrics:
        said = verdict(document, metric)
        for sentence in say_effects(layout, metric)[:8]:
            assert sentence.text in said
    said = verdict(document)
    assert said[0] == "30 of 36 runs are done; 6 failed."
    assert said[1].startswith("The best ELBO of 10 combinations is ")
    assert "at KL weight 0.5, warm-up 10 epochs, precision 32-true" in said[1]
    assert any(
        re.match(r"A warm-up of 10 epochs instead of 0 gives \+0\.7\d* nats ELBO \(.*3 seeds\)", text) for text in said
    )


def test_what_hangs_on_the_metric_is_there_for_each(document):
    names = {name for name, _ in document.metrics}
    every = [*document.verdict, *(part for section in document.sections for part in flat_all(section.parts))]
    chosen = [part for part in every if isinstance(part, ByMetric)]
    assert len(chosen) >= 3
    assert all(set(part.parts) == names for part in chosen)
    for name in ("rate_distortion", "map", "parallel", "effect_0", "precision_differences"):
        [parameter] = [one for one in chart(document, name).spec["params"] if one["name"] == "metric"]
        assert parameter["value"] == document.metrics[0][0]


def flat_all(parts):
    for part in parts:
        yield part
        if hasattr(part, "parts") and not isinstance(part, ByMetric):
            yield from flat_all(part.parts)


def test_every_chart_is_drawn_by_another_metric(document):
    for one in document.charts():
        spec = json.loads(json.dumps(one.spec))
        for parameter in spec.get("params", []):
            if parameter["name"] == "metric":
                parameter["value"] = "posterior/active_units"
        drawn = vega.svg(spec)
        assert not [word for word in ("[object Object]", "undefined", "NaN") if word in drawn]
        assert ("active units" in drawn) == (one.name not in ("rate_distortion", "cost"))


def test_a_cell_without_a_number_stands_in_the_map(document):
    cells = [row for row in rows_of(chart(document, "map").spec) if "facet" in row]
    lacking = [row for row in cells if row["m"]["test/elbo"] is None]
    assert len(cells) == 12
    assert {(row["x"], row["y"], row["runs"]) for row in lacking} == {("4.0", "10", 3)}


def test_failures_are_told_by_their_error(document):
    table, every = parts(document, Table, "failures")
    assert [row[:3] for row in table.rows] == [("6", "failed", "NonFiniteLoss: the loss is NaN in step 0")]
    assert "and 3 more" in table.rows[0][3]
    assert len(every.rows) == 6
    assert {link.href for link, *_ in every.rows} <= {f"#unfold={quote(run['name'])}" for run in document.data["runs"]}


def test_cost_is_summed_up(document):
    assert any("36 runs took 36 min 54 s" in part.text for part in parts(document, Paragraph, "cost"))
    [table] = parts(document, Table, "cost")
    assert table.rows == (("training", "36 min", "1 min", "36"),)


def test_precisions_are_compared_in_pairs(document):
    [table] = parts(document, Table, "precision")
    row = dict(zip(table.head, next(row for row in table.rows if row[0].startswith("ELBO")), strict=True))
    assert (row["difference"], row["seeds"], row["combinations"]) == ("-0.02", "3", "5")
    rows = [row for row in rows_of(chart(document, "precision_differences").spec) if row.get("metric") == "test/elbo"]
    assert [(row["pair"], row["mean"]) for row in rows] == [("bf16-mixed less 32-true", pytest.approx(-0.02))]


def test_a_click_leads_to_the_report_of_a_run_or_unfolds_its_row(tmp_path):
    runs = [write_run(tmp_path, {"a b": value}, metrics(-20.0 - value)) for value in (1, 2)]
    close(tmp_path, ["a b"])
    (runs[0] / "report.html").write_text("lehr report")
    links = {row["name"]: row["href"] for row in rows_of(chart(document_of(tmp_path), "parallel").spec) if "m" in row}
    assert links == {
        runs[0].name: f"./{runs[0].name.replace(' ', '%20').replace('=', '%3D')}/report.html",
        runs[1].name: f"#unfold={runs[1].name.replace(' ', '%20').replace('=', '%3D')}",
    }


class _Scripts(HTMLParser):
    """The elements of a page, and what is in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_hostile_names_are_text(tmp_path):
    for path, values in ((tmp_path / "plain", "abcde"), (tmp_path / "hostile", HOSTILE)):
        for value in values:
            for seed in range(2):
                run = write_run(path, {"data.name": value, "seed": seed}, metrics(-20.0 - seed - len(value) % 7))
                draw(run)
            write_run(path, {"data.name": value, "seed": 2}, error=f"{value}")
        close(path, ["data.name", "seed"], note=values[0])
    plain, hostile = (_Scripts(page(document_of(path))) for path in (tmp_path / "plain", tmp_path / "hostile"))
    assert hostile.tags.count("script") == plain.tags.count("script")
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]
    assert any("alert(1)" in text for text in hostile.words)  # as words
    write_markdown(document_of(tmp_path / "hostile"), tmp_path / "report.md", tmp_path / "report")
    assert "<script" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("swept", [{}, {"kl.weight": 1.0}])
def test_one_run_is_a_sweep_too(tmp_path, swept):
    write_run(tmp_path, {**swept, "seed": 0}, metrics(-20.0))
    close(tmp_path, [*swept, "seed"])
    document = document_of(tmp_path)
    assert verdict(document)[0].startswith("ELBO is -20")
    assert "nothing to compare it with" in verdict(document)[0]
    page(document)


def test_a_sweep_without_runs(tmp_path):
    document = document_of(close(tmp_path / "none", ["kl.weight", "seed"]))
    assert verdict(document) == ["There are no runs yet."]
    assert document.note == "0 runs: none yet"
    assert "There are no runs yet." in page(document)


def test_nothing_but_failures(tmp_path):
    for weight in (1, 2):
        write_run(tmp_path, {"kl.weight": weight}, error="DataError: there are no images")
    document = document_of(close(tmp_path, ["kl.weight"]))
    assert verdict(document) == [
        "0 of 2 runs are done; 2 failed.",
        "No run has a number yet, so there is nothing to compare.",
    ]
    assert document.metrics == ()
    assert [one.name for one in document.charts()] == ["cost"]
    page(document)


def test_runs_that_are_done_without_a_number(tmp_path):
    for weight in (1, 2):
        run = write_run(tmp_path, {"kl.weight": weight}, state="done")
        (run / "metrics.json").write_text(json.dumps({"test/elbo": None}))
    document = document_of(close(tmp_path, ["kl.weight"]))
    assert verdict(document) == ["No run has a number yet, so there is nothing to compare."]
    page(document)


def test_an_unfinished_sweep_says_what_is_missing(tmp_path):
    write_run(tmp_path, {"kl.weight": 1}, metrics(-20.0))
    write_run(tmp_path, {"kl.weight": 2}, metrics(-21.0))
    left = write_run(tmp_path, {"kl.weight": 3}, state="interrupted")
    begun = write_run(tmp_path, {"kl.weight": 4}, state=None)
    document = document_of(close(tmp_path, ["kl.weight"]), refresh=10)
    assert verdict(document)[0] == (
        "The sweep is not finished. 2 of 4 runs are done; 1 waiting and 1 interrupted. "
        "What stands here is of those that are done."
    )
    [table] = [part for part in flat(document.verdict) if isinstance(part, Table)]
    assert [(row[0].text, *row[1:]) for row in table.rows] == [
        (left.name, "interrupted", "3"),
        (begun.name, "waiting", "4"),
    ]
    assert document.refresh == 10
    assert document_of(close(tmp_path / "done", ["a"]), refresh=10).refresh is None


def test_runs_that_have_not_begun_are_said_where_one_grid_says_how_many_there_are(tmp_path):
    write_run(tmp_path, {"kl.weight": 1}, metrics(-20.0))
    write_run(tmp_path, {"kl.weight": 2}, state="interrupted")
    document = document_of(close(tmp_path, ["kl.weight"], [24]), refresh=10)
    assert document.note == "24 runs: 1 done, 1 interrupted, 22 not begun"
    assert verdict(document)[0].startswith(
        "The sweep is not finished. 1 of 24 runs is done; 1 interrupted and 22 not begun. "
    )
    [left] = [part for part in document.verdict if isinstance(part, Folded)]
    assert left.summary == "1 run still to come, and 22 that have no directory yet"
    assert document.refresh == 10


@pytest.mark.parametrize("points", [[], [None], [24, 24], [True], ["24"], [2], [1]])
def test_of_several_grids_and_of_searches_nothing_is_said_of_what_has_not_begun(tmp_path, points):
    for weight in (1, 2):
        write_run(tmp_path, {"kl.weight": weight}, metrics(-20.0 - weight))
    document = document_of(close(tmp_path, ["kl.weight"], points), refresh=10)
    assert document.note == "2 runs: 2 done"
    assert document.refresh is None


def test_watching_goes_on_until_the_runs_that_have_not_begun_have_ended(tmp_path):
    write_run(tmp_path, {"kl.weight": 1}, metrics(-20.0))
    close(tmp_path, ["kl.weight"], [3])
    looks = watch(Request((tmp_path,)), every=0.01)
    file, said = next(looks)
    assert said == "3 runs: 1 done, 2 not begun"
    assert 'http-equiv="refresh"' in file.read_text()
    write_run(tmp_path, {"kl.weight": 2}, metrics(-21.0))
    write_run(tmp_path, {"kl.weight": 3}, state="failed")
    assert next(looks)[1] == "3 runs: 2 done, 1 failed"
    assert next(looks, None) is None
    assert 'http-equiv="refresh"' not in file.read_text()


def test_watching_ends_with_a_damaged_run(tmp_path):
    write_run(tmp_path, {"kl.weight": 1}, metrics(-20.0))
    (write_run(tmp_path, {"kl.weight": 2}, state="running") / "status.json").write_text("{")
    [(_, said)] = watch(Request((close(tmp_path, ["kl.weight"]),)), every=0.01)
    assert said == "2 runs: 1 done, 1 damaged"


def test_metrics_can_be_chosen(folder):
    document = document_of(folder, metrics=["test/rate", "posterior/*"])
    assert [name for name, _ in document.metrics] == ["test/rate", "posterior/active_units"]
    with pytest.raises(ConfigError, match=r"metrics=\[test/rat\]: no run has this metric; did you mean test/rate"):
        document_of(folder, metrics=["test/rat"])


def test_pictures_are_those_of_the_runs_that_have_drawn_some(folder, document):
    drawn = [one["name"] for one in document.data["runs"] if "pictures" in one]
    assert len(drawn) == 5
    assert all((folder / name / "samples" / "prior.png").exists() for name in drawn)
    curves = {one["name"]: one.get("curves") for one in document.data["runs"]}
    assert curves[drawn[0]][0][0] == "elbo"
    assert len(curves[drawn[0]][0][1]) == 8


def test_the_page_has_every_section(document, written):
    text = html.unescape(written)
    for section in document.sections:
        assert f'id="{section.name}"' in written
        assert section.title in text
    assert [one.name for one in document.sections] == [
        "plane", "effects", "precision", "runs", "pictures", "failures", "cost", "sweep",
    ]  # fmt: skip
    assert len(parts(document, Chart)) == written.count("data-chart=")
