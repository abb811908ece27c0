"""`Run`: what the commands do from Python, and what a run directory says of itself."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import lehr as package
from lehr import CheckpointError, ConfigError
from lehr.run import html
from lehr.tensors import model_id, read_tensors, write_tensors


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "copy")


@pytest.fixture(scope="module")
def run(finished_run):
    return package.load(finished_run)


QUICK = {"examples": 20, "iwae_samples": 3, "seed": 4}


def test_an_evaluation_is_that_of_the_command_to_the_bit(copy, lehr):
    assert lehr("evaluate", f"run={copy}", "level=quick", *(f"{key}={value}" for key, value in QUICK.items()))[0] == 0
    written = (copy / "evaluation.json").read_bytes()
    (copy / "evaluation.json").unlink()
    run = package.load(copy)
    found = run.evaluate(level="quick", **QUICK)
    assert (copy / "evaluation.json").read_bytes() == written
    assert found.path == copy / "evaluation.json"
    assert dict(found) == dict(run.evaluation) == json.loads(written)
    assert found.frame.loc["likelihood/elbo", "value"] == found["likelihood/elbo"]
    assert tuple(found.frame.loc["likelihood/elbo", ["label", "unit"]]) == ("ELBO", "nats")
    assert f"ELBO {found['likelihood/elbo']:.2f} nats" in " ".join(repr(found).split())
    assert f">{found['likelihood/elbo']:.2f}</td>" in found._repr_html_()


def test_what_was_measured_of_a_checkpoint_or_of_another_model_is_kept_apart(copy, lehr):
    best = package.load(copy, weights="best")
    assert best.evaluation is None
    found = best.evaluate(level="quick", **QUICK)
    assert found.path == copy / "evaluation-best.json"
    assert dict(best.evaluation) == dict(found)
    assert found["weights"] == "best"
    written = found.path.read_bytes()
    words = ("weights=best", "level=quick", *(f"{key}={value}" for key, value in QUICK.items()))
    assert lehr("evaluate", f"run={copy}", *words)[0] == 0
    assert found.path.read_bytes() == written
    table = json.loads((copy / "evaluation.json").read_text())
    assert package.load(copy).evaluation["model"] == table["model"]
    (copy / "evaluation.json").write_text(json.dumps(table | {"model": "0" * 32}))
    assert package.load(copy).evaluation is None


def test_what_the_command_would_refuse_is_refused_all_at_once(run):
    with pytest.raises(ConfigError) as error:
        run.evaluate(level="quik", split="tset", examples=1, iwae_samples=0, samplers="prior", features="x", seed=-1)
    assert [line.partition("=")[0] for line in error.value.problems] == [
        "level", "split", "examples", "iwae_samples", "samplers", "features", "seed",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="from=-1: must be greater than or equal to 0"):
        run.sample(method="interpolate", from_=-1)
    with pytest.raises(ConfigError, match="lies between images"):
        run.sample_latents(3, method="interpolate")
    with pytest.raises(ConfigError, match=r"n=2\.5: must be an integer"):
        run.sample(np.float32(2.5))
    assert torch.equal(run.sample(np.int64(3), seed=np.int64(1)), run.sample(3, seed=1))


@pytest.mark.parametrize(
    ("said", "line"),
    [({"weights": "bes"}, "weights=bes: must be best, last, ema or None"), ({"path": None}, "load: got NoneType")],
)
def test_what_cannot_be_loaded_is_said_in_a_line(run, said, line):
    with pytest.raises(ConfigError, match=f"^{line}"):
        package.load(**{"path": run.path, **said})
    assert package.load(run.path, trust="mine").trust == ("mine",)


def test_samples_and_interpolations_are_those_of_the_command(run, lehr, tmp_path):
    for words, images in (
        (("n=5", "seed=3", "covariance=full"), run.sample(5, seed=3, covariance="full")),
        (("method=interpolate", "from=3", "to=8", "steps=4"), run.sample(method="interpolate", from_=3, to=8, steps=4)),
    ):
        code, _, err = lehr("sample", f"run={run.path}", f"out={tmp_path}/a.npy", *words)
        assert (code, err) == (0, "")
        assert np.array_equal(np.load(tmp_path / "a.npy"), images)


def test_a_device_that_is_not_there_is_said_in_a_line(run):
    assert run.to("cpu") is run
    assert run.device == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"^device=gpu: must be cpu, cuda or cuda:NUMBER$"):
        run.to("gpu")
    for odd in (None, "meta"):  # where weights would be lost
        with pytest.raises(ConfigError, match=rf"^device={odd}: must be cpu"):
            run.to(odd)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"^device=cuda: is not there \(.*\)$"):
            run.to("cuda")
    assert run.sample(2).device == torch.device("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_images_are_encoded_and_latents_drawn_there(finished_run):
    run, levels = package.load(finished_run), np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    before, prior = run.encode(levels).mean, run.prior.sample(7, 3, "cuda")
    run.to("cuda")
    found = run.encode(levels)
    assert found.mean.device.type == run.sample(5).device.type == "cuda"
    torch.testing.assert_close(found.mean.cpu(), before, rtol=1e-3, atol=1e-3)
    assert torch.equal(run.sample_latents(7, "prior", seed=3), prior)  # the device's own generator
    assert torch.equal(run.decode(found.mean.cpu()), run.decode(found.mean))
    assert run.to("cpu").sample(5).device.type == "cpu"


def test_curves_are_columns_by_images_seen(run):
    points = [json.loads(line) for line in (run.path / "history.jsonl").read_text().splitlines()]
    lists = {name for point in points for name, value in point.items() if isinstance(value, list)}
    assert lists == {"val/kl_per_dimension"}  # which are no curves
    points = [{name: value for name, value in point.items() if name not in lists} for point in points]
    frame = run.history
    assert frame.index.name == "images"
    assert frame.index.is_monotonic_increasing
    assert set(frame) == {name for point in points for name in point} - {"images"}
    assert set(frame.index) == {point["images"] for point in points}
    for point in points:
        for name in point.keys() - {"images"}:
            assert frame.loc[point["images"], name] == point[name]
    assert frame.count().sum() == sum(len(point) - 1 for point in points)


def test_a_point_that_was_not_finite_is_nan_and_a_later_one_counts(copy):
    lines = ['{"images": 20, "a": null}', '{"images": 10, "a": 1.0, "b": 2}', '{"images": 10, "a": 3.0}', '{"ima']
    (copy / "history.jsonl").write_text("\n".join(lines))
    wanted = pd.DataFrame({"a": [3.0, np.nan], "b": [2.0, np.nan]}, index=pd.Index([10, 20], name="images"))
    pd.testing.assert_frame_equal(package.load(copy).history[["a", "b"]], wanted)
    (copy / "history.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"history\.jsonl: there are no curves"):
        package.load(copy).history  # noqa: B018


def test_a_run_shows_its_numbers_with_units_and_its_samples(run):
    page = run._repr_html_()
    assert f">{run.metrics['test/elbo']:.2f}</td>" in page
    assert ">test ELBO</td>" in page
    assert ">nats</td>" in page
    assert run.evaluation["collapse/verdict"] in page
    assert "Data: digits, 1,294 train, 144 val, 359 test images." in page
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"<script|https?://|<link|<style", page)
    split = f"test elbo {run.metrics['test/elbo']:.2f}, test rate {run.metrics['test/rate']:.2f}"
    assert repr(run).startswith(f"<Run {run.path}: done, {split}")


def test_what_a_directory_says_is_text_and_never_markup(copy):
    status = json.loads((copy / "status.json").read_text())
    evil = "<img src=x onerror=alert(1)>"
    exported = {"weights": "best", "step": "x"}
    (copy / "status.json").write_text(json.dumps(status | {"error": evil, "state": evil, "exported": exported}))
    data = json.loads((copy / "data.json").read_text())
    (copy / "data.json").write_text(json.dumps(data | {"name": evil}))
    table = json.loads((copy / "evaluation.json").read_text())
    (copy / "evaluation.json").write_text(json.dumps(table | {"collapse/verdict": evil, f"x/{evil}": 3}))
    (copy / "samples" / "prior.png").write_bytes(b"no picture")
    run = package.load(copy)
    assert "<img src" not in run._repr_html_()
    assert "<img src" not in run.evaluation._repr_html_()
    assert run._repr_html_().count("data:image/png;base64,") == 2


@pytest.mark.parametrize(
    "content", ["[1]", "3", '{"splits": 3, "state": 5, "exported": [1]}', '{"a/b": "x", "n": {}}', "{"]
)
def test_whatever_lies_in_its_files_a_run_can_be_looked_at(copy, content):
    for name in ("data.json", "metrics.json", "evaluation.json", "status.json", "history.jsonl"):
        (copy / name).write_text(content)
    run = package.load(copy)
    assert repr(run).startswith(f"<Run {copy}: ")
    assert "No final numbers yet." in run._repr_html_()
    assert run.advice == []
    assert run.evaluation is None
    if content != "{":
        with pytest.raises(CheckpointError, match="there are no curves"):
            run.history  # noqa: B018


def test_a_run_opens_without_its_weights_and_says_when_they_have_changed(copy):
    weights = copy / "model" / "model.safetensors"
    run = package.load(copy)
    assert "_parts" not in vars(run)
    assert run.status["state"] == "done"
    assert run.metrics["test/elbo"] < 0
    assert repr(run)
    assert run.history.size
    assert "_parts" not in vars(run)
    changed = {name: tensor + 1 for name, tensor in read_tensors(weights)[0].items()}
    write_tensors(weights, changed, model_id(changed))
    with pytest.raises(CheckpointError, match="was trained further in the meantime; load it once more"):
        run.sample(1)


def test_pieces_of_html_are_escaped_once_and_large_pictures_made_smaller(tmp_path):
    assert html.text("a<b & c") == "a&lt;b &amp; c"
    assert html.text(html.text("a<b")) == "a&lt;b"
    assert html.joined("<", None, "", html.bold("&")) == "&lt;<b>&amp;</b>"
    assert html.table([("<i>", 1)], ("a", "b")).count("&lt;i&gt;") == 1
    from PIL import Image

    Image.new("L", (1000, 500)).save(tmp_path / "a.png")
    assert len(html.picture_of(tmp_path / "a.png")) < 2000
    assert html.picture_of(tmp_path / "none.png") == ""
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\xff\0\0\0\xff\0\0\x08\0\0\0\0\0\0\0\0")
    assert html.picture_of(tmp_path / "bomb.png") == ""
