"""Steps in every precision that the device has, against those in float32 with the same weights, images and noise."""

from __future__ import annotations

import pytest
import torch
from harness import Tiny, fit, vae
from lightning.pytorch import Callback

# how far off the first loss may be: some units in the last place, and the loss after 20 steps
ROUNDING = {
    "64-true": (1e-6, 1e-4),
    "16-mixed": (2e-3, 0.01),
    "16-true": (2e-3, 0.01),
    "bf16-mixed": (0.01, 0.02),
    "bf16-true": (0.01, 0.05),
}
ONLY_GPU = ("16-mixed", "16-true")
CASES = [
    pytest.param(device, precision, marks=[pytest.mark.gpu] if device == "cuda" else [])
    for device in ("cpu", "cuda")
    for precision in ROUNDING
    if device == "cuda" or precision not in ONLY_GPU
]


class Losses(Callback):
    """What each step has cost, and in which type the decoder has answered."""

    def __init__(self):
        self.losses, self.types, self.outputs = [], set(), set()

    def setup(self, trainer, pl_module, stage):
        pl_module.model.decoder.register_forward_hook(lambda decoder, _, output: self.outputs.add(output.dtype))

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.losses.append(float(pl_module.last_step.total.detach()))
        self.types.add(pl_module.last_step.values.dtype)


def fitted(folder, device, precision) -> tuple[Losses, float]:
    seen = Losses()
    accelerator = {"accelerator": "cuda" if device == "cuda" else "cpu"}
    module = fit(folder, seen, module=vae(), data=Tiny(), precision=precision, max_epochs=4, **accelerator)
    return seen, module.evaluated["val/elbo"]


@pytest.fixture(scope="module")
def in_float32(tmp_path_factory):
    kept = {}

    def known(device):
        if device not in kept:
            kept[device] = fitted(tmp_path_factory.mktemp("float32"), device, "32-true")
        return kept[device]

    return known


@pytest.mark.parametrize(("device", "precision"), CASES)
def test_the_loss_is_that_of_float32_but_for_rounding(tmp_path, in_float32, device, precision):
    (usual, elbo), (seen, found) = in_float32(device), fitted(tmp_path, device, precision)
    first, last = ROUNDING[precision]
    assert len(seen.losses) == len(usual.losses) == 24
    assert seen.losses[0] == pytest.approx(usual.losses[0], rel=first)
    assert seen.losses[-1] == pytest.approx(usual.losses[-1], rel=last)
    assert found == pytest.approx(elbo, rel=last)
    assert seen.losses != usual.losses  # it was another precision
    # networks as asked for, likelihood and KL never in less than float32
    network = {"64-true": torch.float64, "16": torch.float16, "bf16": torch.bfloat16}
    wanted = network.get(precision) or network[precision.partition("-")[0]]
    assert wanted in seen.outputs
    assert seen.types == {torch.float64 if precision == "64-true" else torch.float32}


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
@pytest.mark.gpu
def test_a_whole_run_in_mixed_precision_learns_the_same(trained, precision):
    found, usual = trained("cuda", f"trainer.precision={precision}", name="mixed"), trained("cuda", name="usual")
    assert found["test/elbo"] == pytest.approx(usual["test/elbo"], rel=0.01)


@pytest.mark.gpu
def test_a_step_whose_gradients_overflow_in_float16_is_left_out_and_training_goes_on(tmp_path):
    """The scale of the loss is far too high at first: steps are left out, and it halves, until they fit."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    plugin = MixedPrecision("16-mixed", "cuda", scaler)
    module = fit(tmp_path, module=vae(), data=Tiny(), plugins=[plugin], max_epochs=8, accelerator="cuda")
    assert scaler.get_scale() < 2.0**40
    assert all(bool(weight.isfinite().all()) for weight in module.parameters())
    assert module.evaluated["val/elbo"] > -30
