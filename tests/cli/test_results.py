"""`lehr results`: how it is told what to show, what it writes, and what it refuses."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lehr.config.looking import ResultsConfig
from lehr.sweeps.groups import Query, answer
from lehr.sweeps.point import Point
from lehr.sweeps.results import read_runs, write_results
from lehr.sweeps.tables import markdown_table, terminal_table


@pytest.fixture
def sweep() -> Path:
    """KL weights 1 and 2 by two seeds, all done but one; in a directory whose name has to be taken as it is."""
    folder = Path("größe=1,2 [a]")
    for weight in (1.0, 2.0):
        for seed in (0, 1):
            point = Point({"kl": {"weight": weight}, "seed": seed}, {"kl.weight": weight, "seed": seed})
            path = folder / point.name
            path.mkdir(parents=True)
            point.write(path)
            failed = (weight, seed) == (2.0, 1)
            status = {"state": "failed" if failed else "done", "error": "OSError: disk full" if failed else None}
            (path / "status.json").write_text(json.dumps(status))
            if not failed:
                numbers = {"test/elbo": -90.0 - weight - seed, "test/rate": weight, "time/step_ms": 1.0}
                (path / "metrics.json").write_text(json.dumps(numbers))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"keys": ["kl.weight", "seed"], "constant": {}}))
    return folder


def test_the_table_is_that_of_the_function(lehr, sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert lehr("results", str(sweep)) == (0, f"\n{terminal_table(answer(read_runs(sweep)), 50)}\n", "")
    lines = terminal_table(answer(read_runs(sweep)), 50).splitlines()
    assert lines[0] == f"  {sweep}: 4 runs: 3 done, 1 failed"
    assert "     1.0  -91.50 ± 0.71  1 ± 0       2" in lines
    assert "     2.0  -92.00 ±    -  2 ± -  1 of 2" in lines


def test_reading_changes_nothing(lehr, sweep):
    before = sorted(Path().rglob("*"))
    assert lehr("results", str(sweep), "runs=true")[0] == 0
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("metrics", ["metrics=[test/rate,test/elbo]", "metrics=test/rate,test/elbo"])
@pytest.mark.parametrize("first", [True, False])
def test_keys_are_read_wherever_they_stand(lehr, sweep, metrics, first):
    options = [metrics, "by=[]", "format=markdown"]
    expected = markdown_table(answer(read_runs(sweep), Query(["test/rate", "test/elbo"], [])))
    words = [str(sweep), *options] if first else [*options, str(sweep)]
    assert lehr("results", *words) == (0, expected, "")
    assert "| test/rate | test/elbo | n |" in expected
    assert "| 3 of 4 |" in expected


def test_the_formats_of_groups_and_of_runs(lehr, sweep):
    _, out, _ = lehr("results", str(sweep), "format=csv", "sort=-kl.weight")
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["kl.weight"], row["test/elbo/mean"], row["test/elbo/n"], row["runs"]) for row in rows] == [
        ("2.0", "-92.0", "1", "2"),
        ("1.0", "-91.5", "2", "2"),
    ]
    _, out, _ = lehr("results", str(sweep), "format=csv", "runs=true", "sort=test/elbo", "metrics=[test/*]")
    rows = list(csv.DictReader(out.splitlines()))
    assert [(row["kl.weight"], row["seed"], row["test/elbo"], row["state"]) for row in rows] == [
        ("1.0", "0", "-91.0", "done"),
        ("1.0", "1", "-92.0", "done"),
        ("2.0", "0", "-92.0", "done"),
        ("2.0", "1", "", "failed"),
    ]


def test_all_runs_with_all_metrics_are_results_csv(lehr, sweep):
    _, out, _ = lehr("results", str(sweep), "format=csv", "runs=true", "metrics=[test/*]")
    assert out == write_results(read_runs(sweep)).read_text(encoding="utf-8")


def test_what_is_written_is_what_would_be_printed(lehr, sweep):
    for format, name in (("csv", "a=1,2.csv"), ("markdown", "new/ä.md")):
        _, printed, _ = lehr("results", str(sweep), f"format={format}")
        assert lehr("results", str(sweep), f"out={name}") == (0, f"{name}\n", "")
        assert Path(name).read_text(encoding="utf-8") == printed


def test_parquet_has_typed_columns(lehr, sweep):
    pytest.importorskip("pyarrow")
    assert lehr("results", str(sweep), "out=groups.parquet") == (0, "groups.parquet\n", "")
    groups = pd.read_parquet("groups.parquet")
    assert groups.to_dict("list")["test/elbo/mean"] == [-91.5, -92.0]
    assert groups["test/elbo/n"].dtype == "int64"
    assert groups["test/elbo/std"].isna().tolist() == [False, True]
    assert lehr("results", str(sweep), "out=runs.parquet", "runs=true", "sort=-test/rate")[0] == 0
    runs = pd.read_parquet("runs.parquet")
    assert runs["kl.weight"].tolist() == [2.0, 1.0, 1.0, 2.0]  # the highest rate first; the last has none
    assert runs["seed"].dtype == "int64"
    assert runs["error"].dropna().tolist() == ["OSError: disk full"]


def test_parquet_without_pyarrow_says_which_extra_has_it(refused, sweep, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("lehr.sweeps.frame.find_spec", lambda name: None if name == "pyarrow" else find_spec(name))
    assert refused("results", str(sweep), "out=x.parquet") == [
        "x.parquet: Parquet needs pyarrow: pip install 'lehr[parquet]'"
    ]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["say which sweep: lehr results DIR"]),
        (["runs=true"], ["say which sweep: lehr results DIR"]),
        (["nowhere"], ["nowhere: there is no such directory"]),
        (["."], [".: holds no runs"]),
        ([".", "nowhere"], ["nowhere: is one directory too many, after .; other words are key=value"]),
        (["--multirun", "."], ["--multirun: is not a flag of lehr results; there is --help"]),
        ([".", "metric=[test/elbo]"], ["metric: unknown key; did you mean metrics?"]),
        ([".", "format=xls"], ["format=xls: must be 'table', 'csv', 'markdown' or 'parquet'"]),
        ([".", "runs=maybe"], ["runs=maybe: must be true or false"]),
        ([".", "out=x.xls"], ["out=x.xls: must end in .csv, .md, .parquet"]),
        ([".", "out="], ["out=: must not be empty"]),
        ([".", "out=x.md", "format=csv"], ["format=csv: out=x.md is markdown; leave one of them out"]),
        ([".", "format=parquet"], ["format=parquet: is no text; say out=FILE.parquet"]),
    ],
)
def test_mistakes_are_a_line_each(refused, words, lines):
    assert refused("results", *words) == lines


def test_a_folder_of_sweeps_is_not_one(refused):
    Path("outputs/sweeps/one").mkdir(parents=True)
    Path("outputs/sweeps/one/sweep.yaml").touch()
    for typed in ("outputs", "outputs/sweeps"):
        assert refused("results", typed) == [
            f"{typed}: holds no runs; say the directory of a sweep, such as outputs/sweeps/one"
        ]


def test_names_that_the_sweep_has_not_are_a_line_each(refused, sweep):
    assert refused("results", str(sweep), "metrics=[test/elbow]", "by=[kl.wieght]") == [
        "metrics=[test/elbow]: no run has this metric; did you mean test/elbo?",
        "by=[kl.wieght]: was not swept; did you mean kl.weight?",
    ]


def test_a_sweep_that_has_not_begun_is_a_line(refused):
    Path("sweep").mkdir()
    Path("sweep/sweep.yaml").write_text("{keys: [seed], constant: {}}")
    assert refused("results", "sweep") == ["sweep: holds no runs yet"]


def test_the_help_names_every_key(lehr):
    _, out, _ = lehr("results", "--help")
    keys = out.partition("Keys and their defaults:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\w+)=", keys, re.MULTILINE) == list(ResultsConfig.model_fields)


def test_completion_offers_directories_and_keys(lehr, sweep):
    Path("outputs/sweep").mkdir(parents=True)
    for typed, offered in {
        "o": ["out=", "outputs/"],
        "outputs/": ["outputs/sweep/"],
        "outputs/sweep m": ["metrics="],
        "outputs out=o": ["out=outputs/"],
        "format=c": ["format=csv"],
    }.items():
        _, out, _ = lehr("completion", "query", f"lehr results {typed}")
        assert out.split() == offered


def test_neither_torch_nor_pandas_nor_hydra_is_waited_for(sweep):
    program = "import sys; from lehr.cli.main import main; code = main(sys.argv[1:])\n"
    program += "print(code, {'torch', 'lightning', 'pandas', 'hydra', 'numpy'} & set(sys.modules), file=sys.stderr)"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    command = [sys.executable, "-c", program, "results", str(sweep)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.stderr == "0 set()\n"
    assert "-91.50 ? 0.71" in done.stdout  # what the terminal cannot show
