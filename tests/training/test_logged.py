"""What is logged of a step is what its optimizers, its clipping and its average had in effect."""

from __future__ import annotations

import pytest
import torch
from adversary import two_players
from harness import Tiny, trainer, vae
from lightning.pytorch import Callback

from lehr.objective.step import AUTOENCODER
from lehr.run.history import History, read_history
from lehr.training import Checkpoints
from lehr.training.callbacks.metrics import Metrics
from lehr.training.history_logger import HistoryLogger
from lehr.training.loop import LeanEpochLoop
from lehr.training.players import PlayerPlan


class InEffect(Callback):
    """Notes, with each step of a player, the learning rates of its groups and the norm of the gradient."""

    def __init__(self):
        self.rates = {}
        self.norms = {}

    def on_train_start(self, trainer, pl_module):
        for name, player in pl_module.players.players.items():
            player.optimizer.register_step_post_hook(lambda optimizer, *_, name=name: self._note(name, optimizer))

    def _note(self, name, optimizer):
        self.rates.setdefault(name, []).append([float(group["lr"]) for group in optimizer.param_groups])
        gradients = [
            p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        self.norms.setdefault(name, []).append(float(torch.cat(gradients).norm()))


def train(folder, module, lean, checkpoint=None, **options):
    """Train with everything logged at each step: what was in effect, and the curves."""
    folder.mkdir(exist_ok=True)
    seen, logger = InEffect(), HistoryLogger(History(folder / "history.jsonl"))
    values = {"logger": logger, "log_every_n_steps": 1, "check_val_every_n_epoch": 100, "max_epochs": 3} | options
    one = trainer(folder, Metrics({}), seen, Checkpoints(), **values)
    if lean:
        LeanEpochLoop.install(one)
    one.fit(module, datamodule=Tiny(), ckpt_path=checkpoint)
    logger.save()
    curves = {}
    for point in read_history(folder / "history.jsonl"):
        for name, value in point.items():
            curves.setdefault(name, []).append(value)
    assert one.fit_loop.epoch_loop._is_lean if lean else True
    return seen, curves


def planned(**plan):
    module = vae(warmup=0)
    options = plan.pop("options", {"lr": 1e-2})
    module.plans[AUTOENCODER] = PlayerPlan(plan.pop("optimizer", torch.optim.Adam), options, **plan)
    return module


BEFORE = {"decay": "none"}
AFTER = [
    {"decay": "cosine", "final_lr": 1e-3},
    {"decay": "stages"},
    {"decay": "none", "options": {"lr": 3e-3, "betas": (0.5, 0.9)}},
    {"decay": "cosine", "options": {"lr": 2e-2, "weight_decay": 0.1}},
    {"decay": "cosine", "optimizer": torch.optim.SGD},
]


@pytest.mark.parametrize("lean", [False, True], ids=["Lightning's loop", "lehr's loop"])
@pytest.mark.parametrize("after", AFTER, ids=str)
def test_a_run_resumed_with_another_schedule_has_it_and_shows_it(tmp_path, after, lean):
    train(tmp_path / "run", planned(**BEFORE), lean)
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    module = planned(**after)
    seen, curves = train(tmp_path / "resumed", module, lean, checkpoint, max_epochs=6, accumulate_grad_batches=1)
    plan = module.plans[AUTOENCODER]
    lr = plan.options["lr"]
    expected = [lr * plan.factor(step, 36, lr) for step in range(18, 36)]
    assert curves["train/learning_rate"] == pytest.approx(expected, rel=1e-12)
    assert seen.rates[AUTOENCODER] == [
        [rate] * len(seen.rates[AUTOENCODER][0]) for rate in curves["train/learning_rate"]
    ]
    options = module.players.state_dict()[AUTOENCODER]["groups"][0]
    assert all(options[name] == value for name, value in plan.options.items() if name != "lr")


@pytest.mark.parametrize("lean", [False, True], ids=["Lightning's loop", "lehr's loop"])
def test_of_two_players_each_is_shown_with_what_it_has(tmp_path, lean):
    module = two_players()
    seen, curves = train(tmp_path / "run", module, lean, accumulate_grad_batches=2)
    assert [[rate] for rate in curves["train/learning_rate"]] == seen.rates[AUTOENCODER]
    assert len(set(curves["train/learning_rate"])) == 9
    assert curves["train/learning_rate_discriminator"] == [0.1] * 9
    assert seen.rates["discriminator"] == [[0.1]] * 4  # it takes part from step 5 on
    # the gradient that steps is the one that is shown, clipped
    for player, name, clip in ((AUTOENCODER, "", 0.5), ("discriminator", "_discriminator", 0.1)):
        shown = curves[f"train/gradient_norm{name}"][-len(seen.norms[player]) :]
        assert seen.norms[player] == pytest.approx([min(norm, clip) for norm in shown], rel=1e-4)
        assert max(shown) > clip
    images = [0, *curves["images"]]
    kept = [
        module.averaging.plan.kept(now - before, now) for before, now in zip(images, curves["images"], strict=False)
    ]
    assert curves["train/ema_decay"] == pytest.approx(kept[: len(curves["train/ema_decay"])])


def test_what_is_not_there_is_not_shown(tmp_path):
    _, curves = train(tmp_path / "run", planned(**BEFORE), lean=True)
    assert not {name for name in curves if "gradient_norm" in name or "ema" in name}


class TwoRates(torch.optim.SGD):
    """Biases have a tenth of the learning rate."""

    def __init__(self, params, lr):
        parameters = list(params)
        biases = [p for p in parameters if p.ndim == 1]
        super().__init__([{"params": [p for p in parameters if p.ndim != 1]}, {"params": biases, "lr": lr / 10}], lr)


def test_groups_with_rates_of_their_own_keep_them_while_they_decay_and_are_shown(tmp_path):
    module = planned(optimizer=TwoRates, decay="cosine")
    seen, curves = train(tmp_path / "run", module, lean=True)
    shown = zip(curves["train/learning_rate"], curves["train/learning_rate_group1"], strict=True)
    assert seen.rates[AUTOENCODER] == [list(pair) for pair in shown]
    assert curves["train/learning_rate_group1"] == pytest.approx([x / 10 for x in curves["train/learning_rate"]])
    assert curves["train/learning_rate"][0] == 1e-2 > curves["train/learning_rate"][-1]
