"""Whatever precision the networks run in: likelihood, KL and statistics in float32 at least, pixels as they are."""

from __future__ import annotations

import json
import signal

import pytest
import torch
from harness import Tiny, fit, vae
from lightning.pytorch import Callback
from safetensors.torch import load_file

from lehr import randomness
from lehr.data import Digits
from lehr.objective import Gaussian
from lehr.run.measure import one_sample
from lehr.training import AggregateStatistics, SampleGrids
from lehr.training.module import VAEModule

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")
WIDE = {"64-true": torch.float64}
NETWORK = {"bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16, "64-true": torch.float64}


class Types(Callback):
    """What goes through the module in training, in evaluation, and in the aggregate pass."""

    def __init__(self):
        self.images, self.noise, self.terms, self.encoded = [], [], [], []
        self.outputs, self.measured_outputs = set(), set()

    def setup(self, trainer, pl_module, stage):
        draw, encode = pl_module.objective.draw, pl_module.model.encode

        def watched_draw(images, posterior, noise, *rest):
            result = draw(images, posterior, noise, *rest)
            self.see(images, noise, result.terms, posterior)
            return result

        def watched_encode(images):
            if not pl_module.model.training and not trainer.validating:
                self.encoded.append(images.clone())
            return encode(images)

        pl_module.objective.draw, pl_module.model.encode = watched_draw, watched_encode
        pl_module.model.decoder.register_forward_hook(self.output)

    def output(self, decoder, inputs, output):
        (self.outputs if decoder.training else self.measured_outputs).add(output.dtype)

    def measured(self, components, images, posterior, noise):
        draw = one_sample(components, images, posterior, noise)
        self.see(images, noise, draw.terms, posterior)
        return draw

    def see(self, images, noise, terms, posterior):
        self.images.append(images.clone())
        self.noise.append(noise.clone())
        self.terms += [terms.distortion, terms.rate, posterior.mean, posterior.logvar]


@pytest.fixture(scope="module", params=PRECISIONS)
def seen(request, tmp_path_factory):
    types, data = Types(), Tiny(binarize="dynamic")
    module = vae(likelihood=Gaussian("learned"))
    folder = tmp_path_factory.mktemp("precision")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lehr.run.measure.one_sample", types.measured)
        fit(folder, types, AggregateStatistics(), SampleGrids(n=4), module=module, data=data, precision=request.param)
    return request.param, types, module, data


def test_the_networks_are_trained_in_the_precision_asked_for(seen):
    precision, types, *_ = seen
    assert types.outputs == {NETWORK.get(precision, torch.float32)}


def test_the_networks_are_measured_and_drawn_in_the_precision_of_their_weights(seen):
    precision, types, module, _ = seen
    (of_weights,) = {weight.dtype for weight in module.model.parameters()}
    assert types.measured_outputs == {of_weights}
    assert of_weights == (torch.float32 if precision == "bf16-mixed" else NETWORK.get(precision, torch.float32))


def test_likelihood_and_kl_are_at_least_float32(seen):
    precision, types, module, _ = seen
    assert {term.dtype for term in types.terms} == {WIDE.get(precision, torch.float32)}
    assert module.last_step.values.dtype == WIDE.get(precision, torch.float32)
    assert module.likelihood.log_scale.dtype == WIDE.get(precision, torch.float32)
    assert module.aggregate.mean.dtype == torch.float64


def test_pixels_are_not_rounded(tmp_path):
    for precision in PRECISIONS:
        types, data = Types(), Tiny()  # grey levels that bfloat16 cannot hold
        fit(tmp_path, types, AggregateStatistics(), data=data, precision=precision)
        pixels = torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")])
        first = randomness.permutation(0, "order", 0, 86)[:16]
        assert torch.equal(types.images[0], pixels[first]), precision
        assert torch.equal(torch.cat(types.encoded), pixels), precision


def test_an_elbo_is_not_rounded_to_bfloat16(tmp_path):
    # bfloat16 stores 1234.5 as 1232: values near 10 would all be multiples of 1/16
    module = fit(tmp_path, precision="bf16-true")
    for name in ("val/distortion", "val/elbo"):
        value = torch.tensor(module.evaluated[name], dtype=torch.float64)
        assert value.bfloat16().double() != value
        assert module.trainer.callback_metrics[name].dtype == torch.float32


def test_noise_is_that_of_float32_in_every_precision(seen):
    _, types, *_ = seen
    for k in range(6):
        noise = randomness.normal(0, "posterior", k, tuple(types.noise[k].shape))
        assert types.noise[k].dtype == torch.float32
        assert torch.equal(types.noise[k], noise)


def test_the_training_set_is_binarised_alike_in_every_precision(seen):
    _, types, _, data = seen
    pixels = torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")])
    assert torch.equal(torch.cat(types.encoded)[: len(pixels)], pixels)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_a_run_in_another_precision_learns_the_same(lehr, finished_run, tmp_path, precision):
    from lehr.run.directory import RunDirectory

    config = RunDirectory(finished_run).read_config()
    assert config["data"]["_target_"] == f"{Digits.__module__.rpartition('.')[0]}.{Digits.__name__}"
    small = (
        "trainer.max_epochs=4", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=2", "model.hidden=[32]"
    )  # fmt: skip
    assert lehr("train", *small, f"trainer.precision={precision}", f"dir={tmp_path}/run")[0] == 0
    # a rate in closed form, of the same images: the test of training and a later evaluation measure the same thing
    assert lehr("evaluate", f"run={tmp_path}/run")[0] == 0
    evaluated = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluated["likelihood/rate"] == pytest.approx(
        json.loads((tmp_path / "run" / "metrics.json").read_text())["test/rate"], rel=1e-6
    )
    found, usual = (json.loads((run / "metrics.json").read_text()) for run in (tmp_path / "run", finished_run))
    assert found["test/elbo"] == pytest.approx(usual["test/elbo"], rel=1e-3 if precision == "64-true" else 0.03)


@pytest.mark.slow
def test_a_run_in_64_bits_is_gone_on_with_in_64_bits(lehr, tmp_path, monkeypatch):
    """Weights are restored before Lightning converts the module: what it loads them into must be as wide by then."""
    words = ("trainer.precision=64-true", "trainer.max_epochs=3", "kl.hold=0", "kl.warmup=1", "model.hidden=[8]",
             "trainer.limit_examples=100", "callbacks.samples=null", "evaluate=none")  # fmt: skip
    step, ends = VAEModule.training_step, {}

    def stopped(module, batch, batch_idx):
        if module.trainer.global_step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(module, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", stopped)
    assert lehr("train", *words, f"dir={tmp_path}/resumed")[0] == 128 + signal.SIGINT
    monkeypatch.undo()
    for name in ("whole", "resumed"):
        assert lehr("train", *words, f"dir={tmp_path}/{name}")[0] == 0
        ends[name] = load_file(tmp_path / name / "model" / "model.safetensors")
    for name, weight in ends["whole"].items():
        assert weight.dtype == torch.float64
        assert torch.equal(ends["resumed"][name], weight), name
