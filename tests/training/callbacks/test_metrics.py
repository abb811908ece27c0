"""What TensorBoard shows of a run, read back from its event files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import yaml
from harness import visible_events
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lehr.evaluation.catalogue import is_of_execution
from lehr.run.history import read_history

N, BATCH = 1294, 64  # training images of the digits, and the default batch size: the last of 21 batches has 14
RUN = (
    "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2", "kl.hold=0", "kl.warmup=1", "model.hidden=[32]",
    "trainer.log_every_n_steps=3", "callbacks.samples.every_n_validations=1", "callbacks.samples.n=9",
)  # fmt: skip

TRAIN = {f"train/{name}" for name in ("loss", "elbo", "rate", "distortion", "kl_weight", "clamped_share",
                                      "learning_rate")}  # fmt: skip
EVALUATION = ("loss", "elbo", "rate", "distortion", "kl_weight", "active_units", "bits_per_dim")
POSTERIOR = {f"posterior/{name}" for name in (
    "active_units", "effective_rank", "effective_rank_total", "moment_kl_diag", "moment_kl_full", "kl_standard_normal",
    "scaling_factor", "scaling_factor_of_mean", "shift_factor", "mean_of_var", "var_of_mean", "noise_lost_bfloat16",
    "noise_lost_float16", "clamped_low", "clamped_high")}  # fmt: skip
TIME = {"time/images_per_second", "time/step_ms", "time/waiting_share"}
PICTURES = {f"samples/{name}" for name in ("aggregate", "prior", "interpolation", "reconstruction", "traversal",
                                           "extremes")}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from lehr.cli.main import main

    path = tmp_path_factory.mktemp("tensorboard") / "run"
    assert main(["train", *RUN, f"dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def events(run):
    return visible_events(run)


def test_the_history_has_every_scalar_that_tensorboard_shows(run, events):
    found = {}
    for point in read_history(run / "history.jsonl"):
        images = point.pop("images")
        point.pop("val/kl_per_dimension", None)
        for name, value in point.items():
            found.setdefault(name, []).append((images, pytest.approx(value, rel=1e-6)))  # float32 there
    assert found.keys() >= TRAIN | POSTERIOR | TIME
    assert 0 < json.loads((run / "metrics.json").read_text())["time/waiting_share"] < 1
    for name, points in found.items():
        assert events[name] == points, name


def test_a_run_without_a_logger_has_the_same_history(run, tmp_path, lehr):
    assert lehr("train", *RUN, "logger=none", f"dir={tmp_path}/run")[0] == 0
    assert not list((tmp_path / "run").glob("events.*"))
    without, usual = (
        [{name: x for name, x in point.items() if not name.startswith("time/")} for point in read_history(path)]
        for path in (tmp_path / "run" / "history.jsonl", run / "history.jsonl")
    )
    assert without == usual


def images_after(step, accumulate=1):
    """Images seen after optimiser step number `step`, counted from 1, from the sizes of the batches."""
    sizes = [*[BATCH] * (N // BATCH), N % BATCH]
    per_epoch = -(-len(sizes) // accumulate)
    epochs, rest = divmod(step, per_epoch)
    return epochs * N + sum(sizes[: rest * accumulate])


def test_every_tag_has_its_name(events):
    evaluation = {f"{split}/{name}" for split in ("val", "test") for name in EVALUATION}
    hparams = {f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info")}
    others = {"val/kl_per_dimension", "config/text_summary", "custom_scalars__config__"} | hparams
    assert set(events) == TRAIN | evaluation | POSTERIOR | TIME | PICTURES | others


def test_the_x_axis_is_images_seen(events):
    assert [x for x, _ in events["train/loss"]] == [images_after(step) for step in range(3, 85, 3)]
    assert [x for x, _ in events["val/elbo"]] == [2 * N, 4 * N]
    assert [x for x, _ in events["val/kl_per_dimension"]] == [2 * N, 4 * N]
    for tag in ("test/elbo", "posterior/active_units"):
        assert [x for x, _ in events[tag]] == [4 * N]


def test_the_x_axis_is_images_seen_where_gradients_are_accumulated(lehr, tmp_path):
    assert lehr("train", *RUN, "trainer.accumulate_grad_batches=4", f"dir={tmp_path}/run")[0] == 0
    xs = [x for x, _ in visible_events(tmp_path / "run")["train/loss"]]
    assert xs == [images_after(step, accumulate=4) for step in range(3, 25, 3)]  # 6 steps an epoch


def test_a_run_without_a_test_split_shows_its_last_validation_once(lehr, tmp_path):
    pixels = np.random.default_rng(0).random((40, 4, 4), dtype=np.float32)
    np.save(tmp_path / "a.npy", pixels)
    code, *_ = lehr(
        "train", "data=arrays", f"data.path={tmp_path}/a.npy", "data.test_fraction=0", "data.batch_size=12", *RUN[:4],
        f"dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 0
    events = visible_events(tmp_path / "run")
    assert [x for x, _ in events["val/elbo"]] == [72, 144]
    assert [x for x, _ in events["posterior/active_units"]] == [144]
    assert not any(tag.startswith("test/") for tag in events)


def test_the_values_are_those_of_the_final_metrics(run, events):
    metrics = json.loads((run / "metrics.json").read_text())
    for name, value in metrics.items():
        if not is_of_execution(name):
            assert events[name][-1][1] == pytest.approx(value, rel=1e-6), name


def test_the_histogram_is_of_the_kl_of_each_latent(run, events):
    _, histogram = events["val/kl_per_dimension"][-1]
    assert histogram.num == 20
    rate = json.loads((run / "metrics.json").read_text())["val/rate"]
    assert histogram.sum == pytest.approx(rate, rel=1e-5)


def test_each_validation_has_the_kl_of_each_latent_in_the_history(run, events):
    points = [point for point in read_history(run / "history.jsonl") if "val/elbo" in point]
    assert len(points) == 2
    for point, (x, histogram) in zip(points, events["val/kl_per_dimension"], strict=True):
        kl = point["val/kl_per_dimension"]
        assert point["images"] == x
        assert len(kl) == 20
        assert min(kl) >= 0
        assert sum(kl) == pytest.approx(point["val/rate"], rel=1e-6)  # of the prior N(0, I)
        assert (histogram.min, histogram.max) == (min(kl), max(kl))
    assert not any("val/kl_per_dimension" in p for p in read_history(run / "history.jsonl") if "val/elbo" not in p)


def test_the_grids_are_the_pictures_of_the_run(run, events):
    for name in PICTURES:
        (x, encoded) = events[name][-1]
        assert x == 4 * N
        shown = np.asarray(Image.open(io.BytesIO(encoded)).convert("L"))
        saved = np.asarray(Image.open(run / f"{name}.png"))
        assert np.array_equal(shown, saved), name
    assert [x for x, _ in events["samples/prior"]] == [2 * N, 4 * N]  # at each validation, and not twice at the last
    for name in ("aggregate", "traversal", "extremes"):
        assert [x for x, _ in events[f"samples/{name}"]] == [4 * N]


def test_the_configuration_is_a_card(run):
    reader = EventAccumulator(str(run)).Reload()
    (card,) = reader.Tensors("config/text_summary")
    text = card.tensor_proto.string_val[0].decode()
    lines = text.split("\n")
    assert all(line.startswith("    ") for line in lines)  # which Markdown shows as it is
    shown = yaml.safe_load("\n".join(line[4:] for line in lines))
    assert shown == yaml.safe_load((run / "config.yaml").read_text())


def test_the_table_of_hyperparameters_has_its_values_and_its_columns(run, events):
    reader = EventAccumulator(str(run)).Reload()
    content = reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["model.latent_dim"].number_value == 20
    assert values["kl.warmup"].number_value == 1
    assert values["model"].string_value == "MLP"
    assert values["seed"].number_value == 0
    content = reader.summary_metadata["_hparams_/experiment"].plugin_data.content
    columns = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    names = {column.name.tag for column in columns}
    assert {"test/elbo", "posterior/active_units"} <= names
    assert names <= set(events)  # a column without a scalar would stay empty


def test_nothing_but_what_was_promised_lies_in_the_run_directory(run):
    found = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    others = {name for name in found if not name.startswith("events.out.tfevents.")}
    assert others == {
        "config.yaml", "data.json", "status.json", "metrics.json", "history.jsonl", "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "model/model.safetensors", "model/config.json", "posterior/statistics.json",
        "posterior/statistics.safetensors", "posterior/latents.safetensors", "samples/aggregate.png",
        "samples/prior.png",
        "samples/interpolation.png", "samples/reconstruction.png", "samples/traversal.png", "samples/extremes.png",
        "evaluation.json", "projector_config.pbtxt", "projector/tensors.tsv", "projector/metadata.tsv",
        "projector/sprite.png",
    }  # fmt: skip


def test_without_a_logger_the_files_are_the_same(lehr, run, tmp_path):
    assert lehr("train", *RUN, "logger=none", f"dir={tmp_path}/run")[0] == 0
    assert not list((tmp_path / "run").glob("events*"))
    for name in ("samples/prior.png", "model/model.safetensors", "posterior/statistics.json"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.parametrize(
    ("of_the_trainer", "steps"),
    [
        (["trainer.max_epochs=1"], range(2, 22, 2)),  # 21 steps
        (["trainer.max_epochs=null", "trainer.max_steps=7"], range(1, 8)),
        (["trainer.max_epochs=2", "trainer.accumulate_grad_batches=4"], range(1, 13)),
        (["trainer.max_epochs=3"], [50]),
    ],
)
def test_a_training_shorter_than_the_interval_has_a_curve_too(lehr, tmp_path, of_the_trainer, steps):
    small = ("model.hidden=[8]", "kl=constant", "evaluate=none", "callbacks.samples=null", "logger=none")
    assert lehr("train", *small, *of_the_trainer, f"dir={tmp_path}/run")[0] == 0
    xs = [point["images"] for point in read_history(tmp_path / "run" / "history.jsonl") if "train/loss" in point]
    accumulate = 4 if "trainer.accumulate_grad_batches=4" in of_the_trainer else 1
    assert xs == [images_after(step, accumulate) for step in steps]


def test_a_training_that_was_stopped_before_anything_was_due_shows_its_last_step(lehr, tmp_path):
    stops_at_once = ("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1e9")
    every = ("trainer.check_val_every_n_epoch=1", "trainer.max_epochs=40")
    small = ("model.hidden=[8]", "kl=constant", "evaluate=none", "callbacks.samples=null", "logger=none")
    assert lehr("train", *small, *every, *stops_at_once, f"dir={tmp_path}/run")[0] == 0
    xs = [point["images"] for point in read_history(tmp_path / "run" / "history.jsonl") if "train/loss" in point]
    assert xs == [2 * N]
