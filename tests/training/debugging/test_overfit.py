"""`debug=overfit` and `debug=fast`: what they say of runs that can learn, cannot, and would take long."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
import yaml

import lehr as library
from lehr.config.build import build
from lehr.data.module import ImageDataModule
from lehr.training.debugging.overfit import LEARNT, explained
from lehr.training.debugging.reasons import Evidence, principal_share, reasons

SMALL = ("model.hidden=[64]", "data.batch_size=32")


def test_the_share_that_is_explained_is_that_of_the_variance_about_the_mean_image():
    images = torch.rand(5, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    mean = images.mean(0, keepdim=True).expand_as(images)
    assert explained(images, images) == 1
    assert explained(images, mean) == pytest.approx(0, abs=1e-12)
    # half way from the mean image to the image a quarter of the squares is left
    assert explained(images, (images + mean) / 2) == pytest.approx(0.75, abs=1e-6)
    assert explained(images, 2 * mean - images) == pytest.approx(-3, abs=1e-5)
    assert explained(images, images * math.nan) == -math.inf


def test_principal_components_explain_what_a_batch_of_known_rank_has():
    axes = torch.eye(9)[:3].view(3, 1, 3, 3)
    # +- each axis: variances 1, 4 and 9 of the sum of 14
    images = torch.cat([sign * scale * axes[i : i + 1] for i, scale in enumerate((1, 2, 3)) for sign in (1, -1)])
    assert [principal_share(images + 0.5, k) for k in (1, 2, 3)] == pytest.approx([9 / 14, 13 / 14, 1.0])


SEEN = Evidence(
    frozen=(), idle=(), trained=8, moved=0.5, rate=1e-3, curve=[(25, 0.1), (50, 0.3), (75, 0.5), (100, 0.5)],
    latents=20, active=20, linear=0.97,
)  # fmt: skip

DEAD = (
    "no gradient reaches model.a.weight, of 8 trained tensors: units that are dead (ReLU below 0 for every image), "
    "saturated, or cut off by detach()"
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["nothing speaks against it but the network itself"]),
        ({"frozen": ("encoder", "decoder")}, ["encoder and decoder frozen (optimizer.freeze)"]),
        ({"idle": ("model.a.weight", "model.a.bias")}, ["no gradient reaches model.a.weight and 1 more, of 8 trained"]),
        ({"idle": ("model.a.weight",), "moved": 50.0}, [f"{DEAD}; optimizer.lr=0.001 may have made them so"]),
        ({"moved": 1e-5}, ["the weights have moved by 1e-05 of their norm: optimizer.lr=0.001 is too small"]),
        ({"curve": [(25, 0.1), (50, 0.8), (75, 0.1)]}, ["it goes up and down (0.800 at best): optimizer.lr=0.001"]),
        ({"curve": [(25, 0.1), (50, 0.2), (75, 0.4), (100, 0.6), (125, 0.7)]}, ["it is still rising (by 0.100"]),
        ({"curve": [(25, 0.01), (50, 0.02)]}, ["hardly anything was learnt, and the weights have moved by no more"]),
        ({"curve": [(25, 0.01), (50, 0.02)], "linear": 0.4}, ["hardly anything was learnt"]),
        ({"active": 0}, ["no latent differs from image to image"]),
        ({"linear": 0.4}, ["the latents may be too few: all 20 are in use"]),
        ({"linear": 0.4, "active": 19}, ["nothing speaks against it"]),
    ],
)  # fmt: skip
def test_what_was_seen_gives_the_reason(changes, said):
    found = reasons(replace(SEEN, **changes))
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_a_batch_that_can_be_learnt_is_and_the_run_ends_there(lehr, tmp_path):
    code, out, err = lehr("train", f"dir={tmp_path}/run", "debug=overfit", *SMALL, "optimizer.lr=0.01")
    assert code == 0
    assert out == f"\n  run          {tmp_path}/run\n\n"
    (verdict,) = (line for line in err.splitlines() if "learnt" in line)
    assert "debug=overfit: learnt: after" in verdict
    assert (tmp_path / "run" / "samples" / "overfit.png").exists()
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["kl"]["weight"], config["trainer"]["overfit_batches"], config["data"]["binarize"]) == (
        0,
        1,
        "dynamic",
    )
    # the model that was written has learnt the batch that the loader gives, whatever the callback says
    data = build(config["data"], ImageDataModule, key="data", trust=())
    data.use_less(config["trainer"])
    data.prepare_data()
    data.setup()
    (batch, *_) = data.train_dataloader()
    run = library.load(tmp_path / "run")
    with torch.no_grad():
        decoded = run.likelihood.mean(run.model.decode(run.model.encode(batch.images).mean))
    assert explained(batch.images, decoded) >= LEARNT
    assert len(batch.images) == 32


def test_one_that_is_not_ends_in_a_failure_that_says_why(lehr, tmp_path):
    words = ("optimizer.lr=1e-8", "trainer.max_steps=5", "optimizer.freeze=[model.encoder.*]")
    code, out, err = lehr("train", f"dir={tmp_path}/run", "debug=overfit", *SMALL, *words)
    assert (code, out) == (1, "")
    first, *others = (line.removeprefix("lehr train: ") for line in err.splitlines() if line.startswith("lehr train"))
    assert first.startswith("debug=overfit: not learnt: after 5 steps ")
    assert others[0].startswith("debug=overfit: encoder frozen (optimizer.freeze)")
    assert others[1].startswith("debug=overfit: the weights have moved by ")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "not learnt" in status["error"]


def test_a_batch_with_nothing_to_tell_apart_is_refused(lehr, tmp_path):
    code, _, err = lehr("train", f"dir={tmp_path}/run", "debug=overfit", "model.hidden=[4]", "data.batch_size=1")
    assert code == 1
    said = "the batch has one image, and nothing to tell apart; say another data.batch_size or seed"
    assert err.splitlines()[-1] == f"lehr train: debug=overfit: {said}"


def test_one_step_of_everything_leaves_what_a_whole_run_leaves(lehr, tmp_path, finished_run):
    code, _, err = lehr("train", f"dir={tmp_path}/run", "debug=fast", "model.hidden=[32]")
    assert code == 0
    assert "debug=fast: one step and all that follows it, on at most 64 images of each split" in err

    def names(folder):
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        return {name for name in found if not name.startswith("events.")}

    assert names(tmp_path / "run") == names(finished_run)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["evaluated"], status["exported"]["step"]) == ("done", "quick", 1)
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {split: found["n"] for split, found in data["splits"].items()} == {"train": 64, "val": 64, "test": 64}
    # what is evaluated later are the same few images
    assert lehr("evaluate", f"run={tmp_path}/run", "level=quick", "iwae_samples=2")[0] == 0
