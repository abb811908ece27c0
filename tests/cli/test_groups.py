"""`lehr groups` of a trained run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lehr as package
from lehr.evaluation.image_errors import ImageErrors


@pytest.fixture
def run(finished_run, tmp_path):
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_the_numbers_of_each_group_are_those_of_its_images(run, lehr):
    code, out, _ = lehr("groups", f"run={run}")
    assert code == 0
    (found,) = json.loads((run / "groups.json").read_text())["groupings"]
    assert found["verdict"].split()[0] in out
    loaded = package.load(run)
    from lehr.run.data_record import data_of
    from lehr.run.directory import RunDirectory

    data = data_of(RunDirectory(run), loaded.config, (), {})
    images = torch.cat([batch.images for batch in data.evaluation_loader("test", "cpu")])
    with torch.inference_mode():
        errors = ImageErrors.of(images, loaded.likelihood.mean(loaded.model.decode(loaded.model.encode(images).mean)))
    labels = data.images("test").labels
    psnr = errors.values["psnr"]
    assert sum(group["images"] for group in found["groups"]) == len(images)
    for group in found["groups"]:
        of = labels == int(group["group"])
        assert group["mean"]["psnr"] == pytest.approx(float(psnr[of].mean()), abs=1e-4)
        assert group["gap"]["psnr"]["estimate"] == pytest.approx(float(psnr[of].mean() - psnr[~of].mean()), abs=1e-4)
        assert group["mean"]["brightness"] == pytest.approx(float(images[of].mean()), abs=1e-5)
    with Image.open(run / "groups.png") as picture:
        assert picture.size[0] == 1120


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["by=labl"], "by=labl: is no file, and not label, factor or folder; did you mean label?"),
        (["column=tone"], "column=tone: is for by=factor and for by=FILE.csv"),
        (["by=folder"], "digits, test: its images have no file names, and so no folders and no lines of a table"),
        (["against=nowhere"], "nowhere: "),
        (["split=tset"], "split"),
    ],
)
def test_a_mistake_is_one_line(run, lehr, words, message):
    code, _, err = lehr("groups", f"run={run}", *words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert not (run / "groups.json").exists()


def test_somebody_else_s_files_are_left_alone(run, lehr, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "groups.png").write_bytes(b"mine")
    code, _, err = lehr("groups", f"run={run}", f"out={tmp_path / 'mine'}")
    assert (code, "was not written by lehr; move it away" in err) == (2, True)
    assert (tmp_path / "mine" / "groups.png").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_group_that_training_has_left_out_is_found_by_label_folder_and_table_and_against_one_that_has_not(
    tmp_path, lehr
):
    """Horizontal and vertical stripes; a model that has seen horizontal ones alone."""
    random = np.random.default_rng(0)
    for name in ("across", "down"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(150):
            line = np.repeat(random.integers(0, 256, 4), 4).astype(np.uint8)
            picture = np.broadcast_to(line[:, None] if name == "across" else line, (16, 16))
            Image.fromarray(np.ascontiguousarray(picture)).save(tmp_path / "photos" / name / f"{i}.png")
    words = (f"data.path={tmp_path}/photos", "data=images", "data.size=16", "data.channels=1", "data.test_fraction=0.4")
    words += ("data.workers=0", "model.hidden=[32]", "model.latent_dim=8", "likelihood=gaussian", "kl.weight=0")
    words += ("trainer.max_epochs=60", "data.batch_size=20", "evaluate=none", "logger=none")
    for run, more in (("all", ()), ("one", ("data.train_on=[across]",))):
        assert lehr("train", *words, *more, f"dir={tmp_path}/{run}")[0] == 0
    files = sorted((tmp_path / "photos").rglob("*.png"))
    lines = [f"{path.relative_to(tmp_path / 'photos')},{path.parent.name[0]}" for path in files]
    (tmp_path / "way.csv").write_text("\n".join(["file,way", *lines]))
    for by in ("label", "folder", f"{tmp_path}/way.csv"):
        found = package.groups(tmp_path / "one", by, against=tmp_path / "all").reports[0]
        worst = found.groups[0]
        assert worst.title[0] == "d"
        assert worst.gaps["psnr"].is_real
        assert worst.against.is_real
        assert worst.against.interval.high < -1
