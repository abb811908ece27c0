"""The report of a run: what it says of runs of every kind, and that its numbers are those of the files."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from lehr.report import vega
from lehr.report.document import Chart, Commands, Paragraph, Picture, Table, flat
from lehr.report.markdown import write_markdown
from lehr.report.page import page
from lehr.report.poster import poster
from lehr.report.run import best_sampler, run_document
from lehr.run.evaluation import shown
from lehr.run.load import load


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run of the digits."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(autouse=True)
def _undrawn(request, monkeypatch):
    """To draw the charts takes most of the time of a page: only where a test is of what is drawn."""
    if not request.node.get_closest_marker("drawn"):
        monkeypatch.setattr(vega, "svg", lambda spec: "<svg ></svg>")
        monkeypatch.setattr(vega, "png", lambda spec: b"\x89PNG")


def parts(document, kind):
    return [part for section in document.sections for part in flat(section.parts) if isinstance(part, kind)]


def named(document, name):
    return next(chart for chart in document.charts() if chart.name == name)


def values(chart: Chart) -> list[dict]:
    found, stack = [], [chart.spec]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            found += node.get("data", {}).get("values", [])
            stack += [value for key, value in node.items() if key != "data"]
        elif isinstance(node, list):
            stack += node
    return found


def words(document) -> str:
    said = [part.text for part in document.verdict]
    return "\n".join([*said, *(part.text for part in parts(document, Paragraph))])


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_its_numbers_are_those_of_the_files(run):
    metrics = json.loads((run / "metrics.json").read_text())
    evaluation = json.loads((run / "evaluation.json").read_text())
    tables = parts(run_document(run), Table)
    rows = {row[3]: row[1] for table in tables for row in table.rows if len(row) == 4}
    for name, value in {**metrics, **evaluation}.items():
        if "/" in name and isinstance(value, int | float) and not isinstance(value, bool):
            assert rows[name] == shown(name, value)


@pytest.mark.drawn
def test_every_chart_can_be_drawn_and_shows_what_the_run_holds(run):
    document = run_document(run)
    names = [chart.name for chart in document.charts()]
    assert len(set(names)) == len(names)
    assert {"curves", "kl_over_time", "active_over_time", "active_curve", "against_prior", "covariance", "scatter",
            "components"} <= set(names)  # fmt: skip
    for chart in document.charts():
        assert vega.svg(chart.spec).startswith("<svg")
    loaded = load(run)
    shown_rows = {row["latent"]: row for row in values(named(document, "against_prior")) if "signal" in row}
    for j in range(20):
        assert shown_rows[str(j)]["mean"] == pytest.approx(float(loaded.statistics.mean[j]), rel=1e-5, abs=1e-9)
        assert shown_rows[str(j)]["sd"] == pytest.approx(math.sqrt(float(loaded.statistics.var[j])), rel=1e-5)


def test_the_components_are_those_of_an_independent_decomposition(run):
    from sklearn.decomposition import PCA

    from lehr.tensors import read_arrays

    mean = read_arrays(run / "posterior" / "latents.safetensors")[0]["mean"].astype(np.float64)
    expected = PCA(2, svd_solver="full").fit_transform(mean)
    found = np.array([[row["x"], row["y"]] for row in values(named(run_document(run), "components"))])
    for column in range(2):  # of whichever sign
        assert abs(np.corrcoef(found[:, column], expected[:, column])[0, 1]) == pytest.approx(1, abs=1e-5)
        assert found[:, column].std() == pytest.approx(expected[:, column].std(), rel=1e-3)


def test_the_correlations_are_those_of_the_covariance(run):
    covariance = load(run).statistics.covariance
    assert covariance is not None
    sd = covariance.diagonal().sqrt()
    for row in values(named(run_document(run), "covariance")):
        i, j = int(row["i"]), int(row["j"])
        assert row["r"] == pytest.approx(float(covariance[i, j] / sd[i] / sd[j]), abs=2e-3)


def test_the_verdict_says_collapse_the_best_sampler_and_whether_more_training_would_help(run):
    change(run / "evaluation.json", **{
        "generation/real/frechet": 1.0, "generation/prior/frechet": 9.0, "generation/aggregate/frechet": 7.5,
        "generation/mixture/frechet": 4.25, "generation/reconstruction/frechet": 0.5,
    })  # fmt: skip
    said = words(run_document(run))
    assert json.loads((run / "evaluation.json").read_text())["collapse/verdict"] in said
    assert "those of mixture, at a Frechet distance of 4.25, 3.25 below aggregate and 4.75 below the prior" in said


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ({}, ""),
        ({"real": 1.0}, ""),
        ({"prior": 2.0}, "The best samples are those of prior, at a Frechet distance of 2.00."),
        (
            {"prior": 2.0, "aggregate": 3.0, "real": 0.5},
            "The best samples are those of prior, at a Frechet distance of 2.00, 1.00 below aggregate "
            "(real images: 0.50, which is what chance makes of it). It is one drawing of 360 images from each, of one "
            "training, so how far chance moves such a difference is not known here: runs that differ in their seed "
            "alone show it.",
        ),
        (
            {"prior": math.nan, "aggregate": 3.0},
            "The best samples are those of aggregate, at a Frechet distance of 3.00.",
        ),
    ],
)
def test_the_best_sampler(distances, expected):
    evaluation = {f"generation/{name}/frechet": value for name, value in distances.items()}
    assert best_sampler({**evaluation, "generation/examples": 360}) == expected


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("failed", "The run has failed."),
        ("running", "interrupted before its end"),  # nobody is working on it
        ("interrupted", "interrupted before its end"),
        (None, "Nothing says what has become of this run."),
    ],
)
def test_runs_that_are_not_done(run, state, said):
    change(run / "status.json", state=state, error="loss is NaN <script>" if state == "failed" else None)
    shutil.rmtree(run / "posterior")
    shutil.rmtree(run / "samples")
    for name in ("metrics.json", "evaluation.json"):
        (run / name).unlink()
    document = run_document(run)
    assert said in words(document)
    assert named(document, "curves")
    html = page(document)
    assert "NaN <script>" not in html
    assert ("NaN &lt;script&gt;" in html) == (state == "failed")


@pytest.mark.parametrize("left", ["status.json", "config.yaml"])
def test_a_run_of_which_next_to_nothing_is_left(run, left):
    for path in run.iterdir():
        if path.name != left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    document = run_document(run)
    assert "No curve is there yet" in words(document)
    assert page(document)


_DAMAGED = ("posterior/statistics.safetensors", "posterior/latents.safetensors", "config.yaml", "metrics.json",
            "evaluation.json", "history.jsonl", "data.json", "samples/prior.png",
            "samples/interpolation.png")  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGED)
def test_a_damaged_file_leaves_out_what_it_held_and_nothing_else(run, damage):
    before = sum(len(section.parts) for section in run_document(run).sections)
    (run / damage).write_bytes(b"\x89PNG\r\n{damaged: [")
    document = run_document(run)
    assert 0 < sum(len(section.parts) for section in document.sections) <= before
    assert page(document)


def test_statistics_of_other_weights_are_not_shown(run):
    change(run / "status.json", model="0" * 32)
    document = run_document(run)
    assert "or they are of other weights" in words(document)
    assert "against_prior" not in [chart.name for chart in document.charts()]


def latents_of(path, d, **others):
    random = np.random.default_rng(0)
    arrays = {
        "n": np.array(50), "latent_shape": np.array([d]), "mean": random.normal(size=d), "var": np.full(d, 1.2),
        "mean_of_var": np.full(d, 0.5), "var_of_mean": random.uniform(0.01, 0.7, d), **others,
    }  # fmt: skip
    save_file(arrays, path / "posterior" / "statistics.safetensors")
    mean = random.normal(size=(50, len(arrays["var_of_mean"]) if len(arrays["latent_shape"]) == 1 else 4))
    save_file({"mean": mean.astype(np.float32)}, path / "posterior" / "latents.safetensors")


@pytest.mark.drawn
@pytest.mark.parametrize("d", [1, 2, pytest.param(512, marks=pytest.mark.slow)])
def test_latents_of_every_size_and_without_labels(run, d):
    latents_of(run, d, covariance=np.eye(d) + 0.01)
    document = run_document(run)
    assert "no labels" in words(document)
    names = [chart.name for chart in document.charts()]
    assert ("covariance" in names) == (d > 1)
    assert ("components" in names) == (d > 2)
    assert len(page(document)) < 4e6
    for chart in document.charts():
        assert vega.svg(chart.spec)


def test_statistics_that_lack_something_are_none(run):
    save_file({"mean": np.zeros(3)}, run / "posterior" / "statistics.safetensors")
    assert "against_prior" not in [chart.name for chart in run_document(run).charts()]


def test_latent_maps_are_shown_by_channel_and_by_position(run):
    random = np.random.default_rng(0)
    shape, n = (4, 6, 5), 120
    maps = {name: random.uniform(size=n) for name in ("mean", "var", "mean_of_var", "var_of_mean")}
    channels = {f"channels.{name}": random.uniform(size=4) for name in ("mean", "var", "mean_of_var", "var_of_mean")}
    latents_of(run, n, latent_shape=np.array(shape), **maps, **channels)
    document = run_document(run)
    found = {(row["row"], row["column"]): row["v"] for row in values(named(document, "position_signal"))}
    expected = maps["var_of_mean"].reshape(shape).mean(0)
    assert found[4, 3] == pytest.approx(expected[4, 3], rel=1e-3)
    assert len(found) == 30
    assert {row.get("channel") for row in values(named(document, "against_prior"))} >= {"0", "1", "2", "3"}
    assert page(document)


def test_what_was_not_evaluated_is_judged_by_its_statistics(run):
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "evaluation.json").unlink()
    active, rate = metrics["posterior/active_units"], metrics["test/rate"]
    said = words(run_document(run))
    assert f"Not collapsed as a whole: {active:.0f} of 20 latents are active, the rate is {rate:.2f} nats." in said
    assert f"near the prior by its moments ({metrics['posterior/moment_kl_full']:.2f} nats)" in said
    change(run / "metrics.json", **{"test/rate": 0.05, "posterior/moment_kl_full": 3.0})
    said = words(run_document(run))
    assert "Collapsed: " in said
    assert "far from the prior by its moments (3.00 nats)" in said


def test_curves_that_the_catalogue_calls_alike_are_not_mixed(run):
    with (run / "history.jsonl").open("a") as file:
        for images in (100, 200):
            shares = {f"train/gradient_share_{term}": images * i for i, term in enumerate(("lpips", "adversarial"), 1)}
            file.write(json.dumps({"images": images, **shares}) + "\n")
    found = [row for row in values(named(run_document(run), "terms")) if "gradient_share" in row["curve"]]
    assert {(row["curve"], row["value"]) for row in found} == {
        ("train/gradient_share_lpips", 100), ("train/gradient_share_lpips", 200),
        ("train/gradient_share_adversarial", 200), ("train/gradient_share_adversarial", 400),
    }  # fmt: skip


def test_a_run_of_codes_has_no_rate_and_no_distance_to_a_prior(run):
    shutil.rmtree(run / "posterior")
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    own = ("images", "train/distortion", "val/distortion", "val/perplexity")
    kept = [{k: v for k, v in {**line, "val/perplexity": 7.5 + i}.items() if k in own} for i, line in enumerate(lines)]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    document = run_document(run)
    assert {row["term"] for row in values(named(document, "curves"))} == {"distortion"}
    (run / "evaluation.json").unlink()
    change(run / "metrics.json", **{"posterior/codes_used": 4})
    assert "4 codes are used." in words(run_document(run))
    assert any("perplexity" in row["curve"] for row in values(named(document, "terms")))
    assert page(document)


def test_groups_and_probes_are_shown_with_their_numbers(run):
    gap = {"estimate": -1.25, "low": -2.0, "high": -0.5, "p": 0.001, "p_adjusted": 0.004}
    group = {"group": "<b>0</b>", "images": 33, "judged": True, "mean": {"psnr": 12.345}, "gap": {"psnr": gap}}
    groupings = [{"by": "label", "verdict": "Class 0 is worse.", "groups": [group]}]
    (run / "groups.json").write_text(json.dumps({"groupings": groupings}))
    probes = {"probe/grid/period": 8, "probe/grid/fault": True, "probe/grid/sentence": "a grid of 8 pixels"}
    (run / "probes.json").write_text(json.dumps(probes))
    document = run_document(run)
    rows = [row for table in parts(document, Table) for row in table.rows]
    assert ("<b>0</b>", "33", "12.35", "-1.25", "-2.00 to -0.50", "0.004") in rows
    assert ("grid", "fault", "a grid of 8 pixels") in rows
    assert "&lt;b&gt;0&lt;/b&gt;" in page(document)


def test_pictures_are_those_of_the_run_and_the_interpolation_moves(run):
    pictures = {picture.name: picture for picture in parts(run_document(run), Picture)}
    assert pictures["prior"].image == (run / "samples" / "prior.png").read_bytes()
    assert {"aggregate", "reconstruction", "interpolation", "extremes", "traversal"} <= set(pictures)
    moving = pictures["interpolation_moving"]
    assert moving.mime == "image/gif"
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(moving.image)) as image:
        assert image.n_frames == 18  # ten steps there, eight back


def test_the_command_in_it_makes_the_run_again(run, lehr, tmp_path):
    document = run_document(run)
    last = parts(document, Commands)[-1]
    assert last.lines[0].startswith("lehr train ")
    import shlex

    code, out, err = lehr(*shlex.split(last.lines[0])[1:], f"dir={tmp_path / 'again'}", "--cfg", "job")
    assert code == 0, err
    assert "max_epochs: 4" in out
    assert "weight: 1" in out


def test_other_formats_hold_the_verdict_and_the_charts(run, tmp_path):
    document = run_document(run)
    write_markdown(document, tmp_path / "report.md", tmp_path / "report")
    text = (tmp_path / "report.md").read_text()
    assert document.verdict[0].text.split(":")[0] in text
    assert {chart.name for chart in document.charts()} <= {path.stem for path in (tmp_path / "report").iterdir()}
    assert poster(document, "pdf", "mark").endswith(b"% mark\n")


def test_a_hostile_name_is_text(run, tmp_path):
    odd = run.rename(tmp_path / "<img src=x onerror=alert(1)>\"'&")
    html = page(run_document(odd))
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
