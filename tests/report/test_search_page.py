"""What a search found, as a section of the report of a sweep."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna")

from made_up_sweeps import close, metrics, write_run
from test_search_summary import study

from lehr.report.document import Chart, Link, Paragraph, Table, flat
from lehr.report.gather import gather
from lehr.report.page import page
from lehr.report.sweep import sweep_document

TRIALS = [(0.1 * i, 0.5 - 0.04 * i, -20.0 - (i - 4) ** 2) for i in range(1, 9)]


def searched(path, directions, names, values):
    """A sweep of `TRIALS`, whose study has `values(x, y, elbo)` of each; the report."""
    runs = [write_run(path, {"x": x, "y": y}, metrics(elbo, rate=10 * x)).name for x, y, elbo in TRIALS]
    close(path, ["x", "y"])
    study(path, directions, names, [(x, y, values(x, y, elbo)) for x, y, elbo in TRIALS])
    journal = path / "optuna.journal"
    text = journal.read_text()
    for i, name in enumerate(runs):
        text = text.replace(f'"run{i}"', f'"{name}"')
    journal.write_text(text)
    return runs, sweep_document(gather([path], path))


def section(document):
    [found] = [one for one in document.sections if one.name == "search"]
    return list(flat(found.parts))


def test_one_objective(tmp_path):
    runs, document = searched(tmp_path, ["maximize"], ["test/elbo"], lambda x, y, elbo: [elbo])
    parts = section(document)
    assert parts[0] == Paragraph("search: a search to maximise test/elbo. 8 trials: 8 done.")
    history, importances = (part for part in parts if isinstance(part, Chart))
    line, dots = (layer["data"]["values"] for layer in history.spec["layer"])
    assert [row["value"] for row in dots] == [elbo for *_, elbo in TRIALS]
    assert [row["value"] for row in line] == [-29, -24, -21, -20, -20, -20, -20, -20]
    assert [row["href"] for row in dots] == [f"#unfold={name.replace('=', '%3D').replace(',', '%2C')}" for name in runs]
    assert sum(row["share"] for row in importances.spec["data"]["values"]) == pytest.approx(1, abs=1e-3)
    [table] = [part for part in parts if isinstance(part, Table)]
    assert table.head == ("run", "x", "y", "test/elbo")
    assert table.rows == ((Link(runs[3], dots[3]["href"]), "0.4", "0.34", "-20.00"),)
    page(document)


def test_the_pareto_front_of_two_objectives(tmp_path):
    both = ["test/rate", "test/distortion"]
    _, document = searched(tmp_path, ["minimize"] * 2, both, lambda x, y, elbo: [10 * x, -elbo - 10 * x])
    parts = section(document)
    assert parts[0].text == "search: a search to minimise test/rate and minimise test/distortion. 8 trials: 8 done."
    front = next(part for part in parts if isinstance(part, Chart))
    line, dots = (layer["data"]["values"] for layer in front.spec["layer"])
    assert [row["x"] for row in line] == [1, 2, 3, 4]  # the fifth has more rate, and no less distortion
    assert len(dots) == 8
    assert document.metrics[0][0] == "test/rate"
    [table] = [part for part in parts if isinstance(part, Table)]
    assert len(table.rows) == 4
