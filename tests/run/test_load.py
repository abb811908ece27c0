"""`lehr.load`: what training had, and nothing that is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import lehr
from lehr import CheckpointError, ConfigError, randomness
from lehr.data import Digits
from lehr.evaluation.statistics import read_statistics
from lehr.training.checkpoint import read_checkpoint

SMALL = ("trainer.max_epochs=2", "kl.hold=0", "kl.warmup=1", "model.hidden=[16]", "model.latent_dim=3")


@pytest.fixture
def copy(finished_run, tmp_path):
    """A copy of a finished run, to be damaged."""
    return shutil.copytree(finished_run, tmp_path / "copy")


def whole(path):
    """The run with all that is read only when it is asked for."""
    run = lehr.load(path)
    run.model_id  # noqa: B018
    return run


@pytest.fixture(scope="module")
def images():
    data = Digits(
        batch_size=64, eval_batch_size=1000, val_fraction=0.1, binarize="dynamic", seed=0, test_fraction=0.2
    )  # fmt: skip
    data.setup()
    return next(iter(data.evaluation_loader("test", "cpu"))).images


def test_the_model_is_that_of_the_end_of_training(finished_run, images):
    run = lehr.load(finished_run)
    state = read_checkpoint(finished_run / "checkpoints" / "last.ckpt")["state_dict"]
    weights = {f"model.{name}": weight for name, weight in run.model.state_dict().items()}
    assert weights.keys() == {name for name in state if name.startswith("model.")}
    for name, weight in weights.items():
        assert torch.equal(weight, state[name]), name
    assert not any(part.training for part in run.model.modules())
    # the test ELBO of the run is that of the loaded model
    noise = randomness.rows("normal", 0, "posterior/test", 0, len(images), (20,))
    q = run.encode(images)
    log_prob = run.likelihood.log_prob(images, run.model.decode(q.sample(noise)))
    elbo = (log_prob - q.kl()).double().mean().item()
    assert json.loads((finished_run / "metrics.json").read_text())["test/elbo"] == pytest.approx(elbo, rel=1e-6)


def test_encode_decode_and_sample_are_those_of_the_model(finished_run, images):
    run = lehr.load(finished_run)
    q, direct = run.encode(images), run.model.encode(images)
    assert torch.equal(q.mean, direct.mean)
    assert torch.equal(q.logvar, direct.logvar)
    assert torch.equal(run.decode(q.mean), run.model.decode(q.mean).sigmoid())
    assert not q.mean.requires_grad
    noise = randomness.normal(4, "sample", 0, (10, 20))
    assert torch.equal(run.sample_latents(10, "prior", seed=4), noise)
    assert torch.equal(run.sample(10, "prior", seed=4), run.decode(noise))
    expected = run.posterior.mean.float() + run.posterior.var.sqrt().float() * noise
    assert torch.equal(run.sample_latents(10, "aggregate", seed=4), expected)
    with pytest.raises(ConfigError) as error:
        run.sample(0, "posterior", seed=-1, covariance="half")
    assert [line.partition(":")[0] for line in error.value.problems] == [
        "method=posterior", "n=0", "seed=-1", "covariance=half"
    ]  # fmt: skip


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_samples_have_the_moments_of_the_aggregate_posterior(finished_run, covariance):
    run = lehr.load(finished_run)
    z = run.sample_latents(40000, "aggregate", seed=1, covariance=covariance).double()
    expected = run.posterior.covariance if covariance == "full" else torch.diag(run.posterior.var)
    error = (expected.diagonal().outer(expected.diagonal()) / 40000).sqrt()  # of an estimated covariance
    assert ((z.mean(0) - run.posterior.mean).abs() < 5 * (run.posterior.var / 40000).sqrt()).all()
    assert ((torch.cov(z.T) - expected).abs() < 5 * error * 2**0.5).all()


def test_one_seed_gives_the_same_images_and_another_gives_others(finished_run):
    run = lehr.load(finished_run)
    assert torch.equal(run.sample(5, seed=7), lehr.load(finished_run).sample(5, seed=7))
    assert not torch.equal(run.sample(5, seed=7), run.sample(5, seed=8))


def test_the_statistics_are_those_that_were_written(finished_run):
    run, written = lehr.load(finished_run), read_statistics(finished_run / "posterior")
    assert torch.equal(run.posterior.mean, written.mean)
    assert torch.equal(run.posterior.covariance, written.covariance)


@pytest.mark.parametrize(
    "overrides",
    [
        ("likelihood=gaussian", "likelihood.scale=optimal", "data.binarize=none"),
        ("likelihood=gaussian", "likelihood.scale=learned", "trainer.precision=bf16-true"),
        ("model=linear", "~model.hidden", "trainer.precision=64-true"),
        ("model=conv", "model.channels=[4]", "model.hidden=8", "trainer.precision=bf16-mixed"),
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_every_kind_of_run_is_loaded_bit_by_bit(lehr, tmp_path, overrides):
    import lehr as package

    small = [word for word in SMALL if overrides[0] not in ("model=linear", "model=conv") or "hidden" not in word]
    code, _, err = lehr("train", *small, *(word for word in overrides if "~" not in word), f"dir={tmp_path}/run")
    assert code == 0, err
    run = package.load(tmp_path / "run")
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    for prefix, module in (("model", run.model), ("likelihood", run.likelihood)):
        for name, value in module.state_dict().items():
            saved = state[f"{prefix}.{name}"]
            assert value.dtype == saved.dtype, name
            assert torch.equal(value, saved), name
    x = torch.rand(2, *run.model.image_shape)
    assert run.decode(run.encode(x).mean).shape == x.shape


class Explode:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_loading_executes_nothing_of_a_checkpoint(copy):
    for name in ("last.ckpt", "best.ckpt"):
        (copy / "checkpoints" / name).write_bytes(pickle.dumps(Explode()))
    lehr.load(copy)


def test_resuming_executes_nothing_of_a_checkpoint(copy, lehr):
    torch.save({"state_dict": Explode()}, copy / "checkpoints" / "last.ckpt")
    code, _, err = lehr("train", f"resume={copy}", "trainer.max_epochs=9")
    assert code != 0
    assert "last.ckpt: is not a checkpoint of lehr's: it holds more than tensors" in err.splitlines()[-1]
    assert json.loads((copy / "status.json").read_text())["state"] == "done"  # nothing was touched


@pytest.mark.parametrize("target", ["os.system", "evil.Model", "torch.os.system", "torch.nn.Linear", "builtins.exec"])
def test_a_class_of_another_package_is_refused(copy, target):
    path = copy / "model" / "config.json"
    config = json.loads(path.read_text())
    config["model"]["_target_"] = target
    path.write_text(json.dumps(config))
    # what the directory itself says about trust is not believed
    values = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump(values | {"trust": ["os", "evil", "builtins"]}))
    with pytest.raises(ConfigError) as error:
        whole(copy)
    assert target in str(error.value)
    assert "\n" not in str(error.value)


def edit_config(edit):
    def apply(run):
        path = run / "model" / "config.json"
        config = json.loads(path.read_text())
        edit(config)
        path.write_text(json.dumps(config))

    return apply


def write(name, contents):
    return lambda run: (run / name).write_bytes(contents)


def cut(name, n):
    def apply(run):
        contents = (run / name).read_bytes()
        (run / name).write_bytes(contents[:n])

    return apply


def rename_a_weight(run):
    path = run / "model" / "model.safetensors"
    weights = load_file(path)
    weights["model.other"] = weights.pop(next(iter(weights)))
    save_file(weights, path)


@pytest.mark.parametrize(
    "damage",
    [
        cut("model/model.safetensors", 1000), cut("model/model.safetensors", 3), cut("model/config.json", 20),
        write("model/config.json", b"\xff\xfe\x00"), write("model/config.json", b"[]"),
        write("model/config.json", b"{}"), write("model/config.json", b"3"), rename_a_weight,
        edit_config(lambda config: config.pop("model")), edit_config(lambda config: config.update(model=3)),
        edit_config(lambda config: config.update(model={})),
        edit_config(lambda config: config.update(image_shape=None)),
        edit_config(lambda config: config.update(image_shape=[1, 8])),
        edit_config(lambda config: config.update(image_shape="188x")),
        edit_config(lambda config: config["model"].update(_target_=3)),
        edit_config(lambda config: config["model"].update(latent_dim=7)),
        cut("posterior/statistics.safetensors", 500), write("posterior/statistics.safetensors", b""),
        write("config.yaml", b"a: [1"), write("config.yaml", b"- 1"), write("config.yaml", b"\xff\xfe\x00"),
        lambda run: shutil.rmtree(run / "model"), lambda run: shutil.rmtree(run / "posterior"),
        lambda run: (run / "config.yaml").unlink(), lambda run: (run / "model" / "model.safetensors").unlink(),
    ],
)  # fmt: skip
def test_what_is_damaged_or_missing_is_said_in_one_line(copy, damage):
    damage(copy)
    with pytest.raises((CheckpointError, ConfigError)) as error:
        whole(copy)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) > 10


def test_no_run_directory_and_no_finished_run_are_said_to_be_so(tmp_path, copy):
    with pytest.raises(CheckpointError, match="there is no such directory"):
        lehr.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="is not a run directory"):
        lehr.load(tmp_path / "empty")
    shutil.rmtree(copy / "model")
    (copy / "status.json").write_text('{"state": "interrupted"}')
    with pytest.raises(CheckpointError, match="interrupted: finish it with lehr train resume="):
        lehr.load(copy)


def test_a_run_that_is_being_trained_is_to_be_waited_for(copy):
    shutil.rmtree(copy / "model")
    (copy / ".claim-1").write_text(json.dumps({"pid": os.getppid(), "host": "elsewhere", "machine": "another"}))
    with pytest.raises(CheckpointError, match=f"process {os.getppid()} on elsewhere is training there; wait for it"):
        lehr.load(copy)


@pytest.fixture(scope="module")
def checkpoint_bytes(finished_run):
    return (finished_run / "checkpoints" / "last.ckpt").read_bytes()


def changed(contents, changes):
    result = bytearray(contents)
    for place, value in changes:
        result[place] = value
    return bytes(result)


def test_a_damaged_checkpoint_is_refused_in_one_line_or_read_whole(tmp_path, checkpoint_bytes):
    path, n = tmp_path / "damaged.ckpt", len(checkpoint_bytes)
    # where its zip file and its pickle describe what is in it, and anywhere
    places = st.one_of(st.integers(0, 5000), st.integers(n - 3000, n - 1), st.integers(0, n - 1))
    cut = places.map(lambda place: checkpoint_bytes[:place])
    flipped = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=5).map(
        lambda changes: changed(checkpoint_bytes, changes)
    )

    @settings(max_examples=150, deadline=None)
    @given(st.one_of(cut, flipped, st.binary(max_size=200)))
    def check(contents):
        path.write_bytes(contents)
        message = ""
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            message = str(error)
        else:
            assert len(contents) == n
            assert {"state_dict", "loops", "optimizer_states"} <= found.keys()
        assert "\n" not in message
        assert not message or str(path) in message

    check()


@pytest.mark.parametrize("contents", [[], {"state_dict": {}}, torch.zeros(3), {"epoch": 3}])
def test_another_program_s_checkpoint_is_said_to_be_so(tmp_path, contents):
    torch.save(contents, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of lehr's"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_a_checkpoint_of_another_model_is_refused_by_the_name_of_a_weight(lehr, copy):
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("latent_dim: 20", "latent_dim: 5"))
    code, _, err = lehr("train", f"resume={copy}", "trainer.max_epochs=9")
    assert code != 0
    assert "is of another model: model.encoder" in err.splitlines()[-1]
    assert json.loads((copy / "status.json").read_text())["state"] == "done"
