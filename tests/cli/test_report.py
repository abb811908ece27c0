"""`lehr report`: what it can be told, what it writes, and the pages that sweeps and runs end in."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lehr.config.looking import ReportConfig

SMALL = ("trainer.max_epochs=2", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=1", "model.hidden=[16]")
SWEEP = ("-m", "seed=0,1", "kl.weight=0.1,1", "pool.workers=1", *SMALL)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """The directory of a finished sweep of four runs. Not to be changed; copy it."""
    import lehr

    path = tmp_path_factory.mktemp("sweep") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lehr.api.report._try", lambda path, runs: None)
        lehr.sweep([word for word in SWEEP if word != "-m"], **{"hydra.sweep.dir": str(path)})
    return path


@pytest.fixture
def own(sweep, tmp_path, monkeypatch):
    """A copy of it, `sweep` in the working directory."""
    shutil.copytree(sweep, tmp_path / "sweep")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sweep"


def places_in(page: str) -> list[str]:
    """Where the elements of a page lead, or are read from."""
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset"))

    Parser().feed(page)
    return found


def charts_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="page-charts">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_of_a_sweep_is_one_file_with_every_run(lehr, own):
    assert lehr("report", "sweep") == (0, "sweep/report.html\n", "")
    page = (own / "report.html").read_text(encoding="utf-8")
    for run in own.glob("*/status.json"):
        assert run.parent.name in page
    assert {"rate_distortion", "parallel"} <= set(charts_of(page))
    assert all(not value.startswith(("http:", "https:", "//")) for value in places_in(page))
    assert lehr("report", "sweep")[0] == 0  # over its own


def test_the_page_of_a_run_names_its_numbers_and_the_command_that_makes_it_again(lehr, own):
    run = next(path.parent for path in sorted(own.glob("*/metrics.json")))
    assert lehr("report", str(run)) == (0, f"{run}/report.html\n", "")
    page = (run / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((run / "metrics.json").read_text())
    assert f">{metrics['test/elbo']:.2f}<" in page
    assert "lehr train" in page
    assert "kl.weight=0.1" in page


@pytest.mark.parametrize("format", ["md", "png", "pdf"])
def test_other_formats_say_the_same(lehr, own, format):
    assert lehr("report", "sweep", f"format={format}") == (0, f"sweep/report.{format}\n", "")
    file = own / f"report.{format}"
    if format == "md":
        text = file.read_text(encoding="utf-8")
        assert "KL weight of 1 instead of 0.1" in text
        for name in re.findall(r"\]\((report/[^)]+)\)", text):
            with Image.open(own / name) as image:
                image.verify()
    elif format == "png":
        with Image.open(file) as image:
            assert image.size[0] > 800
    else:
        assert file.read_bytes().startswith(b"%PDF")
    assert lehr("report", "sweep", f"out=sweep/report.{format}")[0] == 0  # over its own


@pytest.mark.slow
def test_pages_of_runs_are_written_once_and_a_click_leads_there(lehr, own):
    code, _, _ = lehr("report", "sweep", "runs=true")
    assert code == 0
    pages = sorted(own.glob("*/report.html"))
    assert len(pages) == 4
    before = [page.stat().st_mtime_ns for page in pages]
    assert lehr("report", "sweep", "runs=true")[0] == 0
    assert [page.stat().st_mtime_ns for page in pages] == before
    page = (own / "report.html").read_text(encoding="utf-8")
    for run in pages:
        assert f'href="./{run.parent.name.replace("=", "%3D").replace(",", "%2C")}/report.html"' in page


def test_several_directories_are_one_report(lehr, own):
    runs = sorted(str(path.parent) for path in own.glob("*/status.json"))[:2]
    code, out, err = lehr("report", *runs, "out=both.html")
    assert (code, out, err) == (0, "both.html\n", "")
    code, out, _ = lehr("report", *runs)
    assert out.startswith("outputs/reports/")


def test_watching_what_has_ended_writes_it_once(lehr, own):
    code, out, _ = lehr("report", "sweep", "watch=true", "every=1")
    assert (code, out) == (0, "sweep/report.html  4 runs: 4 done\n")
    assert 'http-equiv="refresh"' not in (own / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ([], ["say which run or sweep: lehr report DIR"]),
        (["nowhere"], ["nowhere: there is no such directory"]),
        (["nowhere", "watch=true"], ["nowhere: there is no such directory"]),
        (["nowhere", "runs=true"], ["nowhere: there is no such directory"]),
        (["sweep", "format=doc"], None),
        (["sweep", "out=x.doc"], ["out=x.doc: must end in .html, .md, .png, .pdf"]),
        (["sweep", "out=x.md", "format=pdf"], ["format=pdf: out=x.md is md; leave one of them out"]),
        (["sweep", "format=md", "watch=true"], ["watch=true: is for pages, not for md"]),
        (["sweep", "metrics=[test/elb]"], ["metrics=[test/elb]: no run has this metric; did you mean test/elbo?"]),
        (["sweep", "--all"], ["--all: is not a flag of lehr report; there is --help"]),
        (["sweep", "every=0"], None),
    ],
)
def test_a_mistake_is_a_line_and_nothing_is_written(lehr, own, words, problems):
    code, out, err = lehr("report", *words)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert all(line.startswith("lehr report: ") for line in lines)
    if problems is not None:
        assert lines == [f"lehr report: {problem}" for problem in problems]
    assert not list(own.glob("report*"))


def test_files_of_others_stay(lehr, own):
    for name in ("report.html", "report.md", "report.png", "report.pdf"):
        (own / name).write_text("mine")
        code, _, err = lehr("report", "sweep", f"format={name[7:]}")
        assert code == 2
        assert f"sweep/{name}: was not written by lehr; move it away, or say out=FILE" in err
        assert (own / name).read_text() == "mine"


@pytest.mark.slow
def test_the_charts_of_two_reports_in_one_folder_are_not_mixed_and_those_of_others_stay(lehr, own):
    runs = sorted(path.parent for path in own.glob("*/metrics.json"))[:2]
    for name, run in zip("ab", runs, strict=True):
        assert lehr("report", str(run), f"out={name}.md")[0] == 0
    for name in "ab":
        shown = re.findall(rf"\]\(({name}/[^)]+)\)", (own.parent / f"{name}.md").read_text())
        assert f"{name}/curves.png" in shown
        assert {path.name for path in (own.parent / name).iterdir()} == {Path(one).name for one in shown}
    (own.parent / "c").mkdir()
    mine = own.parent / "c" / "curves.png"
    mine.write_text("mine")
    code, _, err = lehr("report", str(runs[0]), "out=c.md")
    assert code == 2
    assert "c/curves.png: is there, but no c.md that shows it; move it away, or say out=FILE" in err
    assert mine.read_text() == "mine"
    assert not (own.parent / "c.md").exists()


def test_the_keys_in_the_help_are_those_there_are(lehr):
    code, out, _ = lehr("report", "--help")
    assert code == 0
    assert set(re.findall(r"^  (\w+)=", out, re.MULTILINE)) == set(ReportConfig.model_fields)


def test_where_addresses_are_limited_it_is_said_and_the_process_lives(lehr, own, monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda which: (16 * 2**30, 16 * 2**30))
    code, out, err = lehr("report", "sweep")
    assert (code, out) == (2, "")
    line = "charts cannot be drawn: that reserves up to 96 GiB of addresses, and a process may have 16 here (ulimit -v)"
    assert err == f"lehr report: {line}\n"
    assert not (own / "report.html").exists()


@pytest.mark.reports
@pytest.mark.parametrize(
    "report", ["auto", pytest.param("true", marks=pytest.mark.slow), pytest.param("false", marks=pytest.mark.slow)]
)
def test_a_sweep_ends_in_its_report(lehr, tmp_path, report):
    path = tmp_path / "sweep"
    code, out, err = lehr("train", *SWEEP, "seed=0", f"hydra.sweep.dir={path}", f"report={report}")
    assert code == 0, err
    assert (path / "report.html").exists() == (report != "false")
    assert (f"report       {path}/report.html" in out) == (report != "false")
    assert len(list(path.glob("*/report.html"))) == (2 if report == "true" else 0)
    assert yaml.safe_load((path / "sweep.yaml").read_text())["points"] == [2]


@pytest.mark.reports
def test_a_run_ends_in_its_report_where_that_is_asked_for(lehr, tmp_path):
    code, out, err = lehr("train", f"dir={tmp_path / 'run'}", "report=true", *SMALL)
    assert code == 0, err
    assert f"report       {tmp_path / 'run'}/report.html" in out
    code, _, _ = lehr("train", f"dir={tmp_path / 'run'}", "report=true", "overwrite=true", "seed=1", *SMALL)
    assert code == 0
    assert "report.html" in {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.reports
def test_a_report_that_cannot_be_written_is_a_note(lehr, tmp_path):
    path = tmp_path / "sweep"
    path.mkdir()
    (path / "report.html").write_text("mine")
    code, out, err = lehr("train", *SWEEP, "seed=0", f"hydra.sweep.dir={path}")
    assert code == 0
    assert f"note: no report: {path}/report.html: was not written by lehr" in err
    assert "report  " not in out
