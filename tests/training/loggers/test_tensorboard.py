"""What TensorBoard's own plugins make of a run: charts of custom scalars, and latents in the projector."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from harness import visible_events
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from lehr.run.directory import RunDirectory
from lehr.run.latents import Latents
from lehr.training.loggers.projector import write_projector

SMALL = ("trainer.max_epochs=1", "kl=constant", "model.hidden=[8]", "evaluate=none")
FILES = ("projector_config.pbtxt", "projector/tensors.tsv", "projector/metadata.tsv", "projector/sprite.png")
LAYOUT = "custom_scalars__config__"


def projected(run: Path) -> tuple[np.ndarray, list[list[str]], np.ndarray]:
    """Points, rows of the table of labels and images, as the configuration of the plugin says where they are."""
    config = text_format.Parse((run / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    points = np.loadtxt(run / embedding.tensor_path, delimiter="\t", ndmin=2)
    labels = [line.split("\t") for line in (run / embedding.metadata_path).read_text(encoding="utf-8").splitlines()]
    width, height = embedding.sprite.single_image_dim
    with Image.open(run / embedding.sprite.image_path) as sprite:
        pixels = np.asarray(sprite)
    images = [
        pixels[top : top + height, left : left + width]
        for top in range(0, pixels.shape[0], height)
        for left in range(0, pixels.shape[1], width)
    ]
    return points, labels, np.stack(images)[: len(points)]


def test_the_projector_has_the_latents_of_the_run_with_labels_and_thumbnails(finished_run):
    found = load_file(finished_run / "posterior" / "latents.safetensors")
    points, (head, *labels), images = projected(finished_run)
    np.testing.assert_allclose(points, found["mean"], rtol=1e-6)
    assert head == ["label", "row"]
    assert labels == [[str(label), str(row)] for row, label in enumerate(found["labels"].tolist())]
    assert np.array_equal(images, found["thumbnails"][:, 0])


def latents(n=5, channels=3, **values):
    pixels = torch.randint(0, 256, (n, channels, 6, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Latents(torch.arange(2.0 * n).view(n, 2), pixels, torch.arange(n), **values)


def test_names_of_classes_are_cells_of_a_table_whatever_they_are(tmp_path):
    names = ("a\tb", 'é <script>"', "two\nlines")
    what = latents(labels=torch.tensor([0, 1, 2, 3, -1]), classes=names)
    write_projector(tmp_path, what)
    points, labels, images = projected(tmp_path)
    assert [row[0] for row in labels] == ["label", "a b", 'é <script>"', "two lines", "3", "-1"]
    assert np.array_equal(points, what.mean)
    assert np.array_equal(images, what.thumbnails.permute(0, 2, 3, 1))


def test_several_labels_of_an_image_are_columns_and_without_any_there_is_the_row(tmp_path):
    write_projector(tmp_path, latents(labels=torch.arange(10).view(5, 2), channels=2))
    _, labels, images = projected(tmp_path)
    assert labels[:2] == [["factor 0", "factor 1", "row"], ["0", "1", "0"]]
    assert np.array_equal(images, latents(channels=2).thumbnails[:, 0])  # of two channels the first
    write_projector(tmp_path, latents())
    assert projected(tmp_path)[1] == [["0"], ["1"], ["2"], ["3"], ["4"]]  # of one column the plugin wants no name


@pytest.mark.parametrize(("words", "has"), [((), True), (("logger.tensorboard.projector=false",), False)])
def test_a_single_run_has_it_unless_told_otherwise(lehr, tmp_path, words, has):
    assert lehr("train", *SMALL, *words, f"dir={tmp_path}/run")[0] == 0
    assert [(tmp_path / "run" / name).is_file() for name in FILES] == [has] * 4


@pytest.mark.parametrize(("words", "has"), [((), False), (("logger.tensorboard.projector=true",), True)])
def test_a_point_of_a_sweep_has_it_where_that_is_said(lehr, tmp_path, words, has):
    sweep = (f"hydra.sweep.dir={tmp_path}/sweep", "seed=0,1", "hydra/launcher=fused")
    assert lehr("train", "-m", *SMALL, *words, *sweep)[0] == 0
    runs = [path.parent for path in (tmp_path / "sweep").glob("*/metrics.json")]
    assert len(runs) == 2
    for run in runs:
        assert [(run / name).is_file() for name in FILES] == [has] * 4


def test_what_is_shown_of_a_model_that_is_no_more_goes_and_nothing_else(finished_run, tmp_path, lehr):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "projector" / "mine.tsv").write_text("mine")
    assert lehr("train", f"resume={run}", "trainer.max_epochs=5", "logger.tensorboard=null", "evaluate=none")[0] == 0
    assert not any((run / name).exists() for name in FILES)
    RunDirectory(run).clear()
    assert [path for path in run.rglob("*") if path.is_file()] == [run / "projector" / "mine.tsv"]


def charts(run: Path) -> dict[str, list[str]]:
    """title -> the patterns of tags, of each chart of the layout."""
    (event,) = EventAccumulator(str(run)).Reload().Tensors(LAYOUT)
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}


def test_each_chart_of_the_layout_has_its_curves_and_no_others(finished_run):
    scalars = [tag for tag in visible_events(finished_run) if re.match("(train|val|test)/", tag)]
    found = {
        title: {t for p in tags for t in scalars if re.match(p, t)} for title, tags in charts(finished_run).items()
    }
    assert found == {
        "rate and distortion": {"train/rate", "train/distortion", "val/rate", "val/distortion"},
        "ELBO in training and validation": {"train/elbo", "val/elbo"},
        "KL weight": {"train/kl_weight"},
        "active units": {"val/active_units"},
    }


def test_a_run_that_goes_on_has_one_layout(finished_run, tmp_path, lehr):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    assert lehr("train", f"resume={run}", "trainer.max_epochs=5", "evaluate=none")[0] == 0
    assert charts(run) == charts(finished_run)


@pytest.mark.slow
def test_tensorboard_itself_serves_the_layout_and_the_latents(finished_run, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(finished_run, tmp_path / "runs" / name)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "runs"), "--port", "0"]
    with log.open("w") as out:
        served = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=out, stderr=out, env={**os.environ})
    try:
        layout = asked(log, "custom_scalars/layout")
        (category,) = json.loads(layout)["category"]  # one for both runs
        assert {chart["title"] for chart in category["chart"]} == set(charts(finished_run))
        info = json.loads(asked(log, "projector/info", run="one"))
        (embedding,) = info["embeddings"]
        assert embedding["tensorShape"] == [359, 20]
        of_it = {"run": "one", "name": embedding["tensorName"]}
        points = np.frombuffer(asked(log, "projector/tensor", **of_it), np.float32).reshape(359, 20)
        np.testing.assert_allclose(points, projected(finished_run)[0], rtol=1e-6)
        assert asked(log, "projector/metadata", **of_it).decode().splitlines()[0] == "label\trow"
        assert asked(log, "projector/sprite_image", **of_it)[:8] == b"\x89PNG\r\n\x1a\n"
    finally:
        served.kill()
        served.wait()


def asked(log: Path, what: str, **words: str) -> bytes:
    """What the server answers once it has read the runs; where it listens it writes into its log."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if place := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()):
            try:
                with urlopen(f"{place[0]}data/plugin/{what}?{urlencode(words)}") as answer:
                    found: bytes = answer.read()
                if found.strip() != b"{}":
                    return found
            except URLError:
                pass
        time.sleep(0.3)
    raise AssertionError(log.read_text())


def test_event_files_of_one_second_are_read_in_the_order_in_which_they_were_begun(tmp_path, monkeypatch):
    from tensorboard.summary.writer import event_file_writer

    from lehr.training.loggers.tensorboard import TensorBoard

    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(9))
    monkeypatch.setattr(event_file_writer.time, "time", lambda: 1_700_000_000.0)
    for start, purge_step in enumerate((None, 5)):
        logger = TensorBoard(tmp_path, purge_step)
        logger.log_metrics({"test/elbo": float(start)}, step=5)
        logger.experiment.close()
    assert visible_events(tmp_path)["test/elbo"] == [(5, 1.0)]
