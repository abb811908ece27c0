"""What a training says at its start."""

from __future__ import annotations

import re

import pytest
from torch import nn

from lehr.models import MLP, wrap
from lehr.models.autoencoder import Autoencoder
from lehr.objective import AnnealedKL, Gaussian, Laplace
from lehr.training.callbacks import progress
from lehr.training.callbacks.progress import _Clock
from lehr.training.length import Length
from lehr.training.module import VAEModule
from lehr.training.opening import duration, length_line, model_line, weight_line
from lehr.training.optimizers import adam
from lehr.training.players import PlayerPlan

PLAN = PlayerPlan(nn.Module, adam(1e-3))
LENGTH = Length(batches_per_epoch=10, steps_per_epoch=10, total_steps=2_500, examples_per_epoch=100, batch_size=10)


def test_parameters_are_counted_by_part_and_the_frozen_ones_named():
    model = MLP((1, 4, 4), latent_dim=2, hidden=[3])
    encoder = 16 * 3 + 3 + 3 * 4 + 4
    decoder = 2 * 3 + 3 + 3 * 16 + 16
    module = VAEModule(model, Gaussian("learned"), AnnealedKL(), PLAN)
    assert model_line(module) == (
        f"model   MLP, {encoder + decoder + 1} parameters: encoder {encoder}, decoder {decoder}, likelihood 1"
    )
    model.encoder.requires_grad_(False)
    next(model.decoder.parameters()).requires_grad_(False)
    frozen = encoder + 6
    assert model_line(module) == (
        f"model   MLP, {encoder + decoder + 1} parameters, {frozen} of them frozen: encoder {encoder} (frozen), "
        f"decoder {decoder} (6 frozen), likelihood 1"
    )


@pytest.mark.parametrize(
    ("convention", "weight", "scale", "nats", "on_means"),
    [
        ("ldm", 1e-6, 0.5, "1e-06", "2.08e-08"),
        ("ldm", 1e-6, 0.05, "1e-05", "2.08e-08"),
        ("mean", 0.01, 0.25, "0.96", "0.01"),
    ],
)
def test_a_kl_weight_of_another_convention_is_said_in_nats_and_on_means(convention, weight, scale, nats, on_means):
    model = _OfStableDiffusion()
    module = VAEModule(model, Laplace(scale), AnnealedKL(weight, convention=convention), PLAN)
    assert weight_line(module) == (
        f"kl      weight {weight:g} by kl.convention={convention}: {nats} in nats per example, {on_means} beside means "
        "(196,608 pixel values, 4,096 latents)"
    )


def test_of_a_kl_weight_in_nats_nothing_is_said():
    assert weight_line(VAEModule(_OfStableDiffusion(), Laplace(0.5), AnnealedKL(1e-6), PLAN)) is None


class _OfStableDiffusion(Autoencoder):
    """Its sizes: f8 at 256 pixels, 4 channels."""

    def __init__(self):
        super().__init__((3, 256, 256), (4, 32, 32))


class _Tied(nn.Module):
    """One matrix for both ways, which is no part's own, and an encoder that is no module."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(16, 2, bias=False)
        self.also = self.both

    def encode(self, x):
        return self.both(x.flatten(1))

    def decode(self, z):
        return (z @ self.both.weight).view(-1, 1, 4, 4)


def test_a_module_without_parts_is_one_and_what_it_shares_counts_once():
    module = VAEModule(wrap(_Tied(), (1, 4, 4)), Gaussian(1.0), AnnealedKL(weight=0.0), PLAN)
    assert model_line(module) == "model   _Tied, 32 parameters: model 32"


@pytest.mark.parametrize(
    ("step", "seconds", "said"),
    [
        (0, 0.5, "length  2,500 steps: 250 epochs of 10, about 21 min of training (500 ms a step)"),
        (2_485, 2.0, "length  15 steps of 2,500 left: 1.5 epochs of 10, about 30 s of training (2.00 s a step)"),
        (2_490, 0.001, "length  10 steps of 2,500 left: 1 epoch of 10, about 1 s of training (1 ms a step)"),
        (2_499, None, "length  1 step of 2,500 left, an epoch has 10"),
    ],
)
def test_the_length_is_what_is_left_at_the_speed_that_was_measured(step, seconds, said):
    assert length_line(LENGTH, step, seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.01, "1 s"),
        (89, "89 s"),
        (120, "2 min"),
        (5_399, "90 min"),
        (7_200, "2.0 h"),
        (1e5, "28 h"),
        (1e6, "11.6 days"),
    ],
)
def test_times_have_two_digits_or_so(seconds, said):
    assert duration(seconds) == said


def test_only_steps_are_timed_and_not_the_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    clock = _Clock(100, total=1_000_000)

    def at(seconds: float, step: int) -> float | None:
        now[0] = seconds
        return clock.per_step(step)

    assert at(9.0, 101) is None  # which took nobody knows how long
    assert at(9.2, 101) is None  # a batch that is accumulated
    assert at(9.4, 102) is None
    clock.stand()  # a validation
    assert at(50.0, 103) is None
    assert at(50.1, 104) is None
    assert at(50.2, 105) == pytest.approx((0.4 + 0.1 + 0.1) / 3)


def test_a_run_says_three_lines_before_it_tells_how_far_it_is(lehr, tmp_path):
    words = ["kl=constant", "model.hidden=[8]", "model.latent_dim=2", "evaluate=none", "callbacks.samples=null"]
    code, _, err = lehr("train", f"dir={tmp_path}/run", "trainer.max_epochs=2", *words)
    assert code == 0
    model, data, *others = err.splitlines()
    assert (
        model
        == f"model   MLP, {64 * 8 + 8 + 8 * 4 + 4 + 2 * 8 + 8 + 8 * 64 + 64:,} parameters: encoder 556, decoder 600"
    )
    assert data == (
        "data    digits: 1,294 training, 144 validation, 359 test images of 1 x 8 x 8, 2 levels (binarize=dynamic)"
    )
    (length,) = (line for line in others if line.startswith("length"))
    assert re.fullmatch(r"length  42 steps: 2 epochs of 21, about 1 s of training \(\d.* ms a step\)", length)
    assert others.index(length) <= 1  # there may be a line of progress by then
