"""A discriminator in training: it starts when it is to, is held still before, and no look at gradients changes any."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import Tiny, differences, fit, trainer, vae
from lightning.pytorch import Callback
from PIL import Image

from lehr import randomness
from lehr.compose.composer import Command, composed
from lehr.config.build import build
from lehr.data.images import ArrayImages
from lehr.data.splits import with_test_held_out
from lehr.errors import CheckpointError, ConfigError, NonFiniteLoss
from lehr.models import MLP
from lehr.objective import ELBO, Laplace
from lehr.objective.terms import Adversarial, LatentMagnitude, WithTerms
from lehr.run.history import History, read_history
from lehr.training.callbacks.metrics import Metrics
from lehr.training.checkpoint import require_fit
from lehr.training.history_logger import HistoryLogger
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule
from lehr.training.objective import build_objective
from lehr.training.players import PlayerPlan, Players
from lehr.training.preflight import combination_problems

START = 4


class Eights(Tiny):
    """Images (1, 8, 8)."""

    def read(self):
        pixels = randomness.uniform(1, "pixels", 0, (self.n, 1, 8, 8))
        return with_test_held_out("eights", ArrayImages(pixels), 0.2, self.split_seed)


def module(compile=False, **options):
    one = vae(warmup=0)
    with randomness.seeded(0, "weights"):
        model = MLP((1, 8, 8), latent_dim=2, hidden=[8])
        term = Adversarial(
            (1, 8, 8), **{"layers": 1, "channels": 4, "start": START, "unit": "step", "lecam": 0.1, **options}
        )
    objective = WithTerms(ELBO(), {"adversarial": term, "magnitude": LatentMagnitude(0.01)})
    players = {"discriminator": PlayerPlan(torch.optim.Adam, {"lr": 1e-2, "betas": (0.5, 0.9)}, clip=1.0)}
    plan = PlayerPlan(torch.optim.Adam, {"lr": 1e-2})
    return VAEModule(model, Laplace(0.5), one.rate_term, plan, compile=compile, objective=objective, players=players)


class Watch(Callback):
    """Notes the discriminator's weights and the count of its Adam before each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        player = pl_module.players.players["discriminator"]
        counts = {int(state["step"]) for state in player.optimizer.state.values()}
        weights = torch.cat([p.detach().flatten() for p in player.names])
        self.seen.append((trainer.global_step, counts, weights, player.norm))


@pytest.mark.parametrize("head_start", [0, 2])
def test_the_discriminator_learns_from_its_start_on_and_not_before(tmp_path, head_start):
    watch = Watch()
    fit(
        tmp_path, watch, module=module(head_start=head_start), data=Eights(), max_epochs=2, accumulate_grad_batches=2
    )  # 6 batches an epoch, two a step
    first = START - head_start
    for (step, counts, weights, norm), (_, _, before, _) in zip(watch.seen[2::2], watch.seen[::2], strict=False):
        learnt = max(0, step - first)
        assert counts == ({learnt} if learnt else set())
        assert torch.equal(weights, before) == (step <= first)
        assert (norm is None) == (step <= first)


def test_a_player_without_a_loss_is_held_still_whatever_its_gradient_is():
    one = module()
    one.players = players = players_of(one)
    players.take_part({"autoencoder"})
    before = [p.detach().clone() for p in one.objective.parameters()]
    loss = sum(p.square().sum() for p in one.model.parameters()) + players.nothing()
    loss.backward()
    for parameter in one.objective.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))  # DDP has what it waits for
    players.clip()
    players.step()
    assert all(torch.equal(a, b) for a, b in zip(before, one.objective.parameters(), strict=True))
    assert not players.players["discriminator"].optimizer.state
    assert players.players["autoencoder"].optimizer.state


def players_of(one):
    return Players.of(one.player_networks, one.plans, 10)


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory):
    """Weights in the end with everything logged at each step and without, and what was logged."""
    ends, curves = [], []
    for looks in (True, False):
        folder = tmp_path_factory.mktemp("looked")
        logger = HistoryLogger(History(folder / "history.jsonl"))
        options = {"logger": logger if looks else False, "log_every_n_steps": 1, "max_epochs": 2}
        one = fit(folder, *([Metrics({})] if looks else []), module=module(), data=Eights(), **options)
        ends.append(one.state_dict())
        logger.save()
        curves.append(list(read_history(folder / "history.jsonl")) if looks else [])
    return ends, curves[0]


def test_looking_at_gradients_changes_no_number(looked_at):
    (with_looks, without), _ = looked_at
    assert [name for name in with_looks if not torch.equal(with_looks[name], without[name])] == []


def test_the_shares_of_the_gradient_at_the_last_layer_are_shown(looked_at):
    training = [point for point in looked_at[1] if "train/loss" in point]
    names = {name for point in training for name in point if "gradient_share" in name}
    assert names == {f"train/gradient_share_{name}" for name in ("distortion", "adversarial")}
    for point in training:
        assert sum(value for name, value in point.items() if name in names) == pytest.approx(1.0)
    # its weight, as large a part of the gradient of the error
    *_, last = training
    ratio = last["train/gradient_share_adversarial"] / last["train/gradient_share_distortion"]
    assert ratio == pytest.approx(0.5, rel=0.05)


def test_gradients_are_looked_at_in_the_steps_that_are_logged_alone(tmp_path, monkeypatch):
    looked, losses = [], ELBO.losses

    def watched(self, inputs, *rest):
        looked.append((inputs.step, inputs.is_logged))
        return losses(self, inputs, *rest)

    monkeypatch.setattr(ELBO, "losses", watched)
    options = {"max_epochs": 2, "accumulate_grad_batches": 4, "log_every_n_steps": 2}
    fit(tmp_path, Metrics({}), module=module(start=1), data=Eights(), **options)
    # 6 batches an epoch: a step of four and one of two
    assert looked == [(0, False)] * 4 + [(1, False), (1, True)] + [(2, False)] * 4 + [(3, False), (3, True)]


@pytest.mark.parametrize(
    "precision", ["bf16-mixed", *(pytest.param(p, marks=pytest.mark.slow) for p in ("32-true", "64-true", "bf16-true"))]
)
def test_lehr_s_loop_trains_it_as_lightning_s_does(tmp_path, precision):
    ends = []
    for lean in (False, True):
        one, own = trainer(tmp_path, max_epochs=1, precision=precision), module(start=1)
        if lean:
            LeanEpochLoop.install(one)
        one.fit(own, datamodule=Eights())
        ends.append(own.state_dict())
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []
    assert all(value.isfinite().all() for value in ends[0].values())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """50 colour images of 12 x 10 pixels."""
    folder = tmp_path_factory.mktemp("photographs")
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (50, 10, 12, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def run_of(photographs):
    # 36 images for training in batches of 8, the last of 4; two batches a step: 3 steps an epoch, 12 in all
    return (
        "data=images", f"data.path={photographs}", "data.size=8", "data.batch_size=8", "data.eval_batch_size=5",
        "data.test_fraction=0.2", "data.val_fraction=0.1", "data.crop=random", "data.flip=true", "data.workers=2",
        "likelihood=laplace", "likelihood.scale=0.5", "model=mlp", "model.hidden=[16]", "kl.hold=0", "kl.warmup=1",
        "terms=[magnitude,adversarial]", "terms.adversarial.layers=1", "terms.adversarial.channels=4",
        "terms.adversarial.unit=step", "terms.adversarial.start=6", "terms.adversarial.head_start=1",
        "terms.adversarial.lecam=0.01", "terms.adversarial.clip=1", "trainer.accumulate_grad_batches=2",
        "ema.half_life=50", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1",
        "callbacks.checkpoints.every_seconds=0", "trainer.accelerator=cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(process, photographs, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    finished = process("train", *run_of(photographs), f"dir={path}")
    assert finished.code == 0, finished.err
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "moments",
    # batches: the discriminator learns from batch 10 on (step 5, where it has a head start), and counts from 12 on
    [[("step", 4)], [("step", 10)], [("step", 11), ("saving", 1)], [("step", 17), ("validation", 0)]],
    ids=["before", "as it learns", "at its start", "after"],
)
def test_a_run_with_a_discriminator_killed_and_resumed_ends_in_the_same_bits(
    process, photographs, alone, tmp_path, moments
):
    path = tmp_path / "run"
    process.killed_and_resumed(path, moments, *run_of(photographs))
    assert differences(alone, path) == []
    weights = torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)
    assert any("discriminator" in name for name in weights["state_dict"])
    assert weights["optimizer_states"][0]["discriminator"]["state"]


@pytest.mark.slow
def test_two_processes_train_both_players_as_one_does(process, photographs, alone, tmp_path):
    path = tmp_path / "run"
    finished = process("train", *run_of(photographs), "trainer.devices=2", f"dir={path}")
    assert finished.code == 0, finished.err
    assert "Warning" not in finished.err
    one, two = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (alone, path))
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=1e-3, atol=1e-5, msg=name)
    counts = [
        {int(values["step"]) for values in saved["optimizer_states"][0]["discriminator"]["state"].values()}
        for saved in (one, two)
    ]
    assert counts == [{7}, {7}]  # of the 12 steps those from 5 on
    shown = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (alone, path)]
    for a, b in zip(*shown, strict=True):
        for name in ("train/adaptive_weight", "train/gradient_share_adversarial", "train/loss_discriminator"):
            assert (name in a) == (name in b)
            assert a.get(name, 0) == pytest.approx(b.get(name, 0), rel=1e-3)


def test_a_checkpoint_with_another_term_that_has_weights_is_refused_in_a_line():
    with_term, without = module(), vae()
    saved = {"state_dict": with_term.state_dict()}
    with pytest.raises(CheckpointError, match=r"^run: was trained with terms\.adversarial, which .* start_from=RUN$"):
        require_fit(saved, without, Path("run"))
    with pytest.raises(CheckpointError, match=r"^run: was trained without terms\.adversarial, which"):
        require_fit({"state_dict": without.state_dict()}, with_term, Path("run"))
    require_fit(saved, with_term, Path("run"))


@pytest.fixture(scope="module")
def adversarial():
    """A configuration with a discriminator. Not to be changed; copy it."""
    return composed(Command("train", None, ["terms=adversarial", "kl=constant", "trainer.max_epochs=5"]))[0].values


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"start": 5, "unit": "epoch"}, r"start=5 \(epochs\): the training ends before that, after 5 epochs;"),
        (
            {"start": 0.6, "warmup": 0.4},
            r"start=0\.6 \+ terms\.adversarial\.warmup=0\.4 \(of the training\): .* 1, the whole",
        ),
        ({"start": 7, "unit": "step"}, None),  # which the data decide
    ],
)
def test_a_start_after_the_end_is_found_before_the_data_are_read(adversarial, changes, problem):
    config = deepcopy(adversarial)
    config["terms"]["adversarial"] |= changes
    found = combination_problems(config)
    assert [re.search(problem, line) is not None for line in found] == [True] if problem else found == []


def test_a_discriminator_that_goes_wrong_is_named(tmp_path):
    one = module(start=1)
    with torch.no_grad():
        one.objective.terms["adversarial"].discriminator.main[-1].bias.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match=r"^step 1 .*discriminator"):
        fit(tmp_path, module=one, data=Eights(), max_epochs=1)


@pytest.mark.parametrize(
    ("any_size", "buckets", "problem"),
    [
        (False, [[8, 8]], "data.buckets=[[8, 8]]: MLP takes images of one size"),
        (True, [[8, 8], [8, 10]], "data.buckets=[[8, 8], [8, 10]]: 8 x 10 are no multiples of the 4 that MLP divides"),
        (True, [[8, 8], [4, 16]], "data.buckets=[[8, 8], [4, 16]]: terms.adversarial needs images of 6 pixels or more"),
    ],
)
def test_buckets_that_model_or_discriminator_do_not_take_are_one_line(tmp_path, any_size, buckets, problem):
    one, data = module(), Eights()
    one.model.any_size, one.model.factor, data.buckets = any_size, 4, buckets
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}"):
        fit(tmp_path, module=one, data=data, max_epochs=1)
    data.buckets = [[8, 8]]
    one.model.any_size = True
    fit(tmp_path, module=one, data=data, max_epochs=1)


def test_another_term_changes_no_first_weight_of_the_discriminator(monkeypatch):
    def drawing(node, *args, **named):
        made = build(node, *args, **named)
        torch.rand(7)  # as networks of its own would
        return made

    def first(*names):
        terms = {name: {"_target_": f"lehr.objective.terms.{nodes[name].pop('of')}", **nodes[name]} for name in names}
        config = {"seed": 3, "objective": {"_target_": "lehr.objective.ELBO"}, "terms": terms}
        network = build_objective(config, MLP((1, 8, 8), latent_dim=2, hidden=[8]), ()).players["discriminator"]
        return torch.nn.utils.parameters_to_vector(network.parameters())

    monkeypatch.setattr("lehr.training.objective.build", drawing)
    found = []
    for names in (("adversarial",), ("magnitude", "adversarial"), ("other",)):
        own = {"of": "Adversarial", "layers": 1, "channels": 4}
        nodes = {"magnitude": {"of": "LatentMagnitude"}, "adversarial": dict(own), "other": dict(own)}
        found.append(first(*names))
    alone, beside, other = found
    assert torch.equal(alone, beside)
    assert not torch.equal(alone, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute")
def test_compiled_both_players_train_as_they_do_uncompiled(tmp_path):
    """From the first step on, with the adaptive weight, which is computed of gradients within the step."""
    ends = []
    for compiled in (False, True):
        one = module(start=0, compile=compiled)
        assert (one.objective.players["discriminator"]._compiled_call_impl is not None) == compiled
        fit(tmp_path / str(compiled), module=one, data=Eights(), max_epochs=2)
        ends.append({name: weight.clone() for name, weight in one.state_dict().items()})
    eager, compiled = ends
    assert any("discriminator" in name for name in eager)
    for name, weight in eager.items():
        torch.testing.assert_close(compiled[name], weight, rtol=1e-3, atol=1e-4, msg=name)
