"""Runs that are killed and resumed end in the same bits as runs that are not."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
import torch
from harness import differences, kill, next_second, visible_events
from PIL import Image
from safetensors.torch import load_file

SHORT = (
    "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1", "kl.hold=0", "kl.warmup=2", "model.hidden=[32]",
    "data.eval_batch_size=100", "callbacks.checkpoints.every_seconds=0", "trainer.log_every_n_steps=5",
    "callbacks.samples.every_n_validations=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(process, tmp_path_factory):
    """The directory of a run with these overrides that nothing happened to."""
    directories = {}

    def of(*overrides):
        if overrides not in directories:
            path = tmp_path_factory.mktemp("undisturbed") / "run"
            finished = process("train", *overrides, f"dir={path}")
            assert finished.code == 0, finished.err
            directories[overrides] = path
        return directories[overrides]

    return of


@pytest.fixture
def disturbed(process, tmp_path):
    """The directory of a run that got a signal at each of these moments in turn, and was resumed after each."""

    def of(moments, *overrides):
        path = tmp_path / "run"
        finished = process.killed_and_resumed(path, moments, *overrides)
        assert "Warning" not in finished.err
        return path

    return of


@pytest.mark.parametrize(
    "moments",
    [
        [("step", 0), ("step", 7), ("validation", 0), ("step", 0)],
        pytest.param([("step", 19), ("step", 0), ("step", 20), ("aggregate", 2)], marks=pytest.mark.slow),
        pytest.param(
            [("saving", 1), ("saving", 3), ("saving", 22), ("epoch", 1), ("pictures", 1)], marks=pytest.mark.slow
        ),
    ],
    ids=lambda moments: " ".join(f"{name}{after}" for name, after in moments),
)
def test_a_run_killed_in_training_ends_in_the_same_bits(undisturbed, disturbed, moments):
    # what is written at the end is written after it was logged, and logged again where that is done once more
    again = moments[-1][0] == "pictures"
    assert differences(undisturbed(*SHORT), disturbed(moments, *SHORT), repeated_events=again) == []


@pytest.mark.slow
def test_what_was_logged_before_a_checkpoint_is_not_lost(undisturbed, disturbed):
    overrides = (*SHORT, "trainer.log_every_n_steps=1000")  # at which TensorBoard's writer would write by itself
    assert differences(undisturbed(*overrides), disturbed([("step", 22), ("epoch", 1)], *overrides)) == []


@pytest.mark.slow
def test_a_run_killed_after_training_ends_in_the_same_bits(undisturbed, disturbed):
    moments = [("validation", 4), ("pictures", 2), ("test", 1), ("export", 0), ("test", 0)]
    # what was logged after the last checkpoint is logged once more, at the same place
    assert differences(undisturbed(*SHORT), disturbed(moments, *SHORT), repeated_events=True) == []


def test_a_validation_that_stands_for_the_test_is_logged_once(undisturbed, disturbed, tmp_path):
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).random((300, 4, 4), dtype=np.float32))
    data = ("data=arrays", f"data.path={tmp_path / 'pixels.npy'}", "data.test_fraction=0", "likelihood=gaussian")
    overrides = (*SHORT, *data, "evaluate=none")
    assert differences(undisturbed(*overrides), disturbed([("export", 0)], *overrides), True) == []


@pytest.mark.slow
def test_gradients_that_were_accumulated_are_not_lost(undisturbed, disturbed):
    overrides = (
        *SHORT, "trainer.accumulate_grad_batches=2", "optimizer.decay=cosine", "likelihood=gaussian",
        "likelihood.scale=optimal", "data.binarize=none",
    )  # fmt: skip
    moments = [("step", 0), ("step", 8), ("step", 9), ("saving", 2), ("validation", 1)]
    assert differences(undisturbed(*overrides), disturbed(moments, *overrides)) == []


WITHOUT_WARMUP = tuple(override for override in SHORT if not override.startswith("kl."))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("kl=geco", "kl.target_distortion=24", "prior=vamp", "prior.components=5"),
        ("kl=control", "kl.target_rate=3", "prior=mixture", "prior.components=5"),
        ("objective=iwae", "objective.samples=3", "kl.hold=0", "kl.warmup=2"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_a_controller_a_prior_and_a_bound_remember_is_in_the_checkpoint(undisturbed, disturbed, overrides):
    overrides = (*WITHOUT_WARMUP, *overrides)
    moments = [("step", 7), ("saving", 12), ("validation", 1)]
    assert differences(undisturbed(*overrides), disturbed(moments, *overrides)) == []


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory):
    """41 colour images of 12 x 9 pixels."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (41, 9, 12, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return folder


@pytest.mark.slow
def test_two_processes_on_batches_of_several_sizes_go_on_to_the_same_bits(undisturbed, disturbed, tmp_path):
    """Aspect buckets: 23 square, 13 wide and 5 high pictures, in batches of 6 of one shape that two ranks share."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    sizes = [(16, 16)] * 23 + [(24, 16)] * 13 + [(16, 24)] * 5
    for i, (width, height) in enumerate(sizes):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    overrides = (
        "data=images", f"data.path={folder}", "data.size=16", "data.buckets=[[16,16],[16,24],[24,16]]",
        "data.crop=random", "data.batch_size=6", "data.eval_batch_size=5", "data.workers=1", "data.test_fraction=0",
        "model=tiny_small", "likelihood=laplace", "likelihood.scale=0.5", "kl=constant", "kl.weight=0",
        "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "trainer.accumulate_grad_batches=2",
        "trainer.log_every_n_steps=1", "trainer.devices=2", "trainer.accelerator=cpu", "callbacks.samples=null",
        "callbacks.checkpoints.every_seconds=0", "evaluate=none",
    )  # fmt: skip
    moments = [("step", 2), ("validation", 0)]
    assert differences(undisturbed(*overrides), disturbed(moments, *overrides)) == []


@pytest.fixture(scope="module")
def shards_of_images(folder_of_images, tmp_path_factory):
    """The same images in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    files = sorted(folder_of_images.iterdir())
    for k in range(3):
        with tarfile.open(folder / f"{k}.tar", "w") as shard:
            for file in files[k::3]:
                shard.add(file, arcname=file.name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("source", ["images", "shards"])
def test_images_decoded_in_other_processes_are_the_same_after_resuming(undisturbed, disturbed, source, request):
    folder = request.getfixturevalue({"images": "folder_of_images", "shards": "shards_of_images"}[source])
    crop = {"images": ("data.crop=random", "data.flip=true"), "shards": ("data.crop=random_resized", "data.flip=both")}
    overrides = (
        f"data={source}", f"data.path={folder}", "data.size=8", "data.workers=2", *crop[source], "data.batch_size=8",
        "data.eval_batch_size=5", "likelihood=gaussian", "model.hidden=[16]",
        "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "kl.hold=0", "kl.warmup=1",
        "trainer.log_every_n_steps=2", "callbacks.checkpoints.every_seconds=0",
    )  # fmt: skip
    moments = [("step", 1), ("validation", 0), ("aggregate", 1)]
    assert differences(undisturbed(*overrides), disturbed(moments, *overrides)) == []


@pytest.mark.parametrize(
    ("signal", "code", "moment", "accumulate"),
    [
        ("SIGTERM", 143, ("step", 7), 3),
        ("SIGINT", 130, ("validation", 0), 1),
        pytest.param("SIGHUP", 129, ("step", 3), 1, marks=pytest.mark.slow),
        pytest.param("SIGUSR1", 138, ("step", 3), 1, marks=pytest.mark.slow),
        pytest.param("SIGTERM", 143, ("aggregate", 1), 1, marks=pytest.mark.slow),
        pytest.param("SIGINT", 130, ("test", 0), 1, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_stops_and_nothing_is_lost(process, undisturbed, tmp_path, signal, code, moment, accumulate):
    path, run = tmp_path / "run", (*SHORT, f"trainer.accumulate_grad_batches={accumulate}")
    # no checkpoint by the clock: the one that is gone on from is the one that the signal wrote
    overrides = [*run, "callbacks.checkpoints.every_seconds=1000"]
    stopped = process("train", *overrides, f"dir={path}", *kill(*moment, signal))
    assert stopped.code == code, stopped.err
    assert stopped.err.splitlines()[-1] == f"lehr train: interrupted by {signal}; go on with: lehr train resume={path}"
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert status["error"] == f"interrupted by {signal}"
    next_second()
    assert process("train", f"resume={path}", "callbacks.kill=null").code == 0
    assert differences(undisturbed(*run), path, repeated_events=moment[0] == "test") == []


def test_two_signals_at_the_same_moment_are_one_wish(process, tmp_path):
    path = tmp_path / "run"
    twice = [*kill("step", 3, "SIGTERM"), "+callbacks.again._target_=killer.Kill", "+callbacks.again.at=step",
             "+callbacks.again.after=3", "+callbacks.again.signal=SIGTERM"]  # fmt: skip
    assert process("train", *SHORT, f"dir={path}", *twice).code == 143
    assert json.loads((path / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.parametrize(
    ("limit", "validations"),
    [
        ("trainer.max_epochs=2", 0),
        # which ends within an epoch, as no longer run does there
        pytest.param("trainer.max_steps=50", 1, marks=pytest.mark.slow),
        pytest.param("trainer.max_steps=42", 0, marks=pytest.mark.slow),
    ],
)
def test_a_finished_run_that_goes_on_equals_a_longer_one(process, undisturbed, tmp_path, limit, validations):
    path = tmp_path / "run"
    assert process("train", *SHORT, "kl.hold=0", "kl.warmup=1", limit, f"dir={path}").code == 0
    next_second()
    longer = ("trainer.max_epochs=4", "trainer.max_steps=null")
    assert process("train", f"resume={path}", *longer).code == 0
    whole = undisturbed(*SHORT, "kl.hold=0", "kl.warmup=1")
    validated = [images for images, _ in visible_events(whole)["val/elbo"]]
    lines = (path / "history.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "val/elbo" not in line or json.loads(line)["images"] in validated]
    assert len(lines) - len(kept) == validations  # that the end of the first of the two added
    (path / "history.jsonl").write_text("".join(kept))
    found = differences(whole, path)
    # it has left its own final events behind, too
    assert [line for line in found if not line.startswith("TensorBoard")] == []
    seen = [(images, value) for images, value in visible_events(path)["val/elbo"] if images in validated]
    assert seen == visible_events(whole)["val/elbo"]
    assert visible_events(path)["train/loss"] == visible_events(whole)["train/loss"]


@pytest.mark.slow
def test_a_run_that_had_stopped_early_is_not_trained_further(undisturbed, disturbed):
    overrides = (*SHORT, "trainer.max_epochs=40", "optimizer.lr=0.01", "callbacks.early_stopping.patience=1")
    whole = undisturbed(*overrides)
    assert len(visible_events(whole)["val/elbo"]) < 40
    assert differences(whole, disturbed([("aggregate", 1), ("test", 0)], *overrides), repeated_events=True) == []


def test_what_is_said_on_resuming_counts(process, tmp_path):
    path = tmp_path / "run"
    process("train", *SHORT, f"dir={path}", *kill("step", 30))
    changed = ["optimizer.lr=0.005", "optimizer.betas=[0.8,0.99]", "callbacks.early_stopping.patience=7"]
    process("train", f"resume={path}", *changed, *kill("step", 10, again=True))
    checkpoint = torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["autoencoder"]["groups"]
    assert group["lr"] == 0.005
    assert tuple(group["betas"]) == (0.8, 0.99)
    (stopping,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EarlyStopping"))
    assert stopping["patience"] == 7


@pytest.mark.slow
def test_a_run_ends_in_the_average_of_its_weights_and_the_average_survives(process, undisturbed, disturbed):
    overrides = (*SHORT, "ema.half_life=500")
    whole = undisturbed(*overrides)
    assert differences(whole, disturbed([("step", 30), ("validation", 1), ("aggregate", 1)], *overrides)) == []
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    exported = load_file(whole / "model" / "model.safetensors")
    assert all(torch.equal(weight, checkpoint["ema"][name]) for name, weight in exported.items())
    assert not any(torch.equal(weight, checkpoint["state_dict"][name]) for name, weight in exported.items())
    # the test and the statistics are of what is exported
    code = process("evaluate", f"run={whole}", "level=quick").code
    evaluation = json.loads((whole / "evaluation.json").read_text())
    metrics = json.loads((whole / "metrics.json").read_text())
    assert code == 0
    assert evaluation["likelihood/rate"] == pytest.approx(metrics["test/rate"], rel=1e-5)
