"""Several players and an average of the weights: the same bits in any loop, resumed or not."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from adversary import START, Adversarial, two_players
from harness import Tiny, trainer, vae
from lightning.pytorch.callbacks import ModelCheckpoint

from lehr.errors import CheckpointError, ConfigError
from lehr.models import VQAutoencoder
from lehr.objective import AnnealedKL, Gaussian, VampPrior
from lehr.objective.step import AUTOENCODER
from lehr.training.callbacks.metrics import training_metrics
from lehr.training.freezing import drift
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule
from lehr.training.players import Player, PlayerPlan, Players


def everything(module):
    """The weights that are trained, their averages, and the state of every optimizer."""
    found = {f"own {name}": weight for name, weight in module.state_dict().items()}
    with module.averaged():
        found |= {f"average {name}": weight.clone() for name, weight in module.state_dict().items()}
    for player, state in module.players.state_dict().items():
        for name, values in state["state"].items():
            found |= {f"{player} {name} {key}": torch.as_tensor(value) for key, value in values.items()}
    return found


def require_equal(a, b):
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def train(folder, module, *callbacks, lean=False, checkpoint=None, **options):
    one = trainer(folder, *callbacks, **{"max_epochs": 3, "accumulate_grad_batches": 2} | options)
    if lean:
        LeanEpochLoop.install(one)
    one.fit(module, datamodule=Tiny(), ckpt_path=checkpoint)
    return module


def saver(folder):
    return ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1, filename="{step}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training in Lightning's own loop, with a checkpoint after each step."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, everything(train(folder, two_players(), saver(folder)))


def test_one_step_of_two_players_is_counted_once(whole):
    folder, _ = whole
    steps = sorted(int(path.stem.partition("=")[2]) for path in folder.glob("step=*.ckpt"))
    assert steps == [*range(1, 10)]  # 6 batches an epoch, two a step


@pytest.mark.filterwarnings("ignore:The dirpath has changed", "ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("lean", [False, True], ids=["Lightning's loop", "lehr's loop"])
@pytest.mark.parametrize("step", [2, START, START + 2])
def test_two_players_resume_to_the_bit_before_at_and_after_the_start_of_the_second(whole, tmp_path, step, lean):
    folder, expected = whole
    options = {"checkpoint": folder / f"step={step}.ckpt", "lean": lean}
    require_equal(everything(train(tmp_path, two_players(), *([] if lean else [saver(tmp_path)]), **options)), expected)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed", "bf16-true"])
def test_lehr_s_own_loop_trains_what_lightning_s_does(tmp_path, precision):
    one, other = (train(tmp_path, two_players(), lean=lean, precision=precision) for lean in (False, True))
    require_equal(everything(one), everything(other))
    assert one.trainer.global_step == other.trainer.global_step == 9
    loops = [module.trainer.fit_loop.epoch_loop for module in (one, other)]
    assert [loop._is_lean for loop in loops[1:]] == [True]
    assert loops[0].batch_progress.state_dict() == loops[1].batch_progress.state_dict()


def test_each_player_is_trained_on_its_own_loss_alone(tmp_path):
    module = two_players()
    before = copy.deepcopy(module.objective.discriminator.state_dict())
    train(tmp_path, module, max_steps=START)  # steps 0 to 4: it has not started
    require_equal(module.objective.discriminator.state_dict(), before)
    assert set(training_metrics(module.last_step)) == {"loss", "elbo", "distortion", "rate", "kl_weight"}
    train(tmp_path, module)
    found = training_metrics(module.last_step)
    assert {"adversarial", "adversarial_weight", "told", "loss_discriminator"} <= set(found)
    assert found["loss_discriminator"] == found["told"]
    loss = found["distortion"] + found["kl_weight"] * found["rate"] + 0.5 * found["adversarial"]
    assert found["loss"] == pytest.approx(loss)


def test_each_player_s_gradient_is_clipped_to_its_own_norm():
    big, small = torch.nn.Parameter(torch.zeros(4)), torch.nn.Parameter(torch.zeros(2))
    plans = PlayerPlan(torch.optim.SGD, {"lr": 1.0}, clip=2.0), PlayerPlan(torch.optim.SGD, {"lr": 1.0}, clip=5.0)
    players = Players({"a": Player(plans[0], {"big": big}), "b": Player(plans[1], {"small": small})}, 1)
    big.grad, small.grad = torch.full((4,), 3.0), torch.tensor([3.0, 0.0])
    players.clip()
    players.step()
    assert big.norm().item() == pytest.approx(2.0, rel=1e-4)
    assert small.tolist() == [-3.0, 0.0]


def test_an_optimizer_that_wants_a_closure_trains_alone():
    plan = PlayerPlan(torch.optim.LBFGS, {"lr": 1.0})
    players = {name: Player(plan, {name: torch.nn.Parameter(torch.ones(2))}) for name in "ab"}
    with pytest.raises(ConfigError, match="can only train alone"):
        Players(players, 1)


def test_a_player_without_a_gradient_does_not_move():
    weights = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    plan = PlayerPlan(torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.5})
    players = Players({name: Player(plan, {name: w}) for name, w in zip("ab", weights, strict=True)}, 1)
    weights[0].grad = torch.ones(2, 2)
    players.step()
    assert not torch.equal(weights[0], torch.ones(2, 2))
    assert torch.equal(weights[1], torch.ones(2, 2))


def test_weight_decay_leaves_out_biases_scales_and_priors(tmp_path):
    one = vae(likelihood=Gaussian("learned"), warmup=0)
    plan = PlayerPlan(torch.optim.AdamW, {"lr": 1e-9, "weight_decay": 1e6})
    prior = VampPrior((2,), (1, 4, 4), 3)
    module = VAEModule(one.model, one.likelihood, one.rate_term, plan, prior=prior)
    before = copy.deepcopy(module.state_dict())
    train(tmp_path, module, max_epochs=1, accumulate_grad_batches=6)
    for name, weight in module.state_dict().items():
        if name.startswith("model.") and name.endswith(".weight"):
            torch.testing.assert_close(weight, before[name] * (1 - 1e-3))
        else:
            torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-6, msg=name)


def test_weight_decay_leaves_out_a_prior_that_alone_is_trained():
    player = Player(PlayerPlan(torch.optim.AdamW, {"lr": 1.0}), {"prior.mean": torch.nn.Parameter(torch.ones(3, 2))})
    assert [group["weight_decay"] for group in player.optimizer.param_groups] == [0.0]


def test_without_weight_decay_there_is_one_group_of_parameters():
    parameters = dict(vae().named_parameters())
    assert len(Player(PlayerPlan(torch.optim.Adam, {"lr": 1.0}), parameters).optimizer.param_groups) == 1
    plan = PlayerPlan(torch.optim.AdamW, {"lr": 1.0, "weight_decay": 0.1})
    assert [group["weight_decay"] for group in Player(plan, parameters).optimizer.param_groups] == [0.1, 0.0]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_state_of_an_optimizer_that_knew_parameters_by_number_is_read(decay):
    module = vae()
    parameters = dict(module.named_parameters())
    before = torch.optim.AdamW(module.parameters(), lr=1.0, weight_decay=decay)
    for i, parameter in enumerate(parameters.values()):
        parameter.grad = torch.full_like(parameter, float(i + 1))
    before.step()
    player = Player(PlayerPlan(torch.optim.AdamW, {"lr": 0.5, "weight_decay": decay}), parameters)
    Players({AUTOENCODER: player}, 1).load_state_dict(before.state_dict())
    for parameter in parameters.values():
        assert torch.equal(player.optimizer.state[parameter]["exp_avg"], before.state[parameter]["exp_avg"])
    assert {group["lr"] for group in player.optimizer.param_groups} == {0.5}
    fewer = Player(player.plan, dict(list(parameters.items())[2:]))
    with pytest.raises(CheckpointError, match="trained 8 parameters, and now there are 6"):
        Players({AUTOENCODER: fewer}, 1).load_state_dict(before.state_dict())


class Counting(torch.optim.SGD):
    """An optimizer that keeps what it learns in its options, as some do."""

    def __init__(self, params, lr):
        super().__init__(params, lr)
        for group in self.param_groups:
            group["steps"] = 0

    def step(self, closure=None):
        for group in self.param_groups:
            group["steps"] += 1
        return super().step(closure)


def test_what_an_optimizer_changes_is_restored_and_what_is_configured_counts():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    before = Players({"a": Player(PlayerPlan(Counting, {"lr": 1.0}), {"w": weight})}, 1)
    weight.grad = torch.ones(2, 2)
    before.step()
    after = Players({"a": Player(PlayerPlan(Counting, {"lr": 0.1}), {"w": weight})}, 1)
    after.load_state_dict(before.state_dict())
    (group,) = after.param_groups
    assert (group["steps"], group["lr"]) == (1, 0.1)


def after_a_step(optimizer, **options):
    weight = torch.nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    player = Player(PlayerPlan(optimizer, {"lr": 0.1, **options}), {"w": weight})
    player.optimizer.step()
    return player


def test_another_optimizer_than_the_checkpoint_s_is_what_it_says_it_is():
    player = after_a_step(torch.optim.AdamW, weight_decay=0.5)
    player.load_state_dict(after_a_step(torch.optim.Adam, weight_decay=0.5).state_dict())
    (group,) = player.optimizer.param_groups
    assert group["decoupled_weight_decay"]
    (state,) = player.optimizer.state.values()
    assert state["exp_avg"].tolist() == [[pytest.approx(0.1 * 1.5)] * 2] * 2  # Adam's, whose gradient has the decay


@pytest.mark.parametrize(("before", "after"), [("SGD", "Adam"), ("Adam", "SGD")])
def test_an_optimizer_of_another_kind_than_the_checkpoint_s_starts_afresh(before, after):
    classes = {"SGD": (torch.optim.SGD, {"momentum": 0.9}), "Adam": (torch.optim.Adam, {})}
    old, new = (after_a_step(classes[name][0], **classes[name][1]) for name in (before, after))
    weight = torch.nn.Parameter(torch.ones(2, 2))
    new = Player(new.plan, {"w": weight})
    new.load_state_dict(old.state_dict())
    assert not new.optimizer.state
    weight.grad = torch.ones(2, 2)
    new.optimizer.step()
    torch.testing.assert_close(weight, torch.full((2, 2), 0.9))


def test_frozen_parameters_stay_bit_for_bit(tmp_path):
    module = vae(warmup=0)
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.Adam, {"lr": 0.1}, freeze=("model.encoder.*",))
    before = copy.deepcopy(module.state_dict())
    train(tmp_path, module, max_epochs=1)
    changed = {name for name, weight in module.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("model.decoder.") for name in changed)


def test_a_frozen_norm_keeps_its_running_statistics_and_frozen_dropout_drops_nothing(tmp_path):
    module, modes = vae(warmup=0), []
    encoder = module.model.encoder
    module.model.encoder = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5), encoder)
    module.model.encoder.register_forward_hook(lambda part, *_: modes.append([p.training for p in part]))
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.Adam, {"lr": 0.1}, freeze=("model.encoder.*",))
    before = copy.deepcopy(module.model.encoder.state_dict())
    train(tmp_path, module, max_epochs=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.model.encoder.state_dict().items())
    assert not any(any(found) for found in modes)
    assert module.model.decoder.training


def test_a_pattern_without_a_parameter_and_a_player_without_a_plan_are_refused(tmp_path):
    module = vae()
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.Adam, {"lr": 0.1}, freeze=("model.encodr.*",))
    with pytest.raises(ConfigError, match=r"freeze=model\.encodr\.\*: no parameter .* did you mean model\.encoder"):
        train(tmp_path, module)
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.Adam, {"lr": 0.1}, freeze=("model.*", "*"))
    with pytest.raises(ConfigError, match=r"^optimizer\.freeze=\[model\.\*, \*\]: leaves nothing to train"):
        train(tmp_path, module)
    one = vae()
    lacking = VAEModule(one.model, one.likelihood, one.rate_term, one.plans[AUTOENCODER], objective=Adversarial())
    with pytest.raises(ConfigError, match="no plan for discriminator"):
        train(tmp_path, lacking)


def test_gradients_that_were_scaled_for_half_precision_are_unscaled_clipped_and_skipped_if_infinite():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    plan = PlayerPlan(torch.optim.Adam, {"lr": 1.0, "fused": True}, clip=1.0)
    players, scaler = Players({"a": Player(plan, {"w": weight})}, 1), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for gradient, moved in ((float("inf"), False), (3.0, True)):
        players.zero_grad()
        scaler.scale((weight * gradient).sum()).backward()
        scaler.unscale_(players)
        players.clip()
        if moved:
            assert weight.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
        scaler.step(players)
        scaler.update()
        assert bool(weight.detach().abs().sum() > 0) == moved


class LearnedWeight(AnnealedKL):
    """A rate term that learns something itself."""

    def __init__(self) -> None:
        super().__init__(warmup=0)
        self.log_weight = torch.nn.Parameter(torch.zeros(()))

    def cost(self, inputs, values):
        return replace(super().cost(inputs, values), value=self.log_weight.exp() * inputs.terms.rate.sum())


def test_what_a_rate_term_learns_is_trained_too(tmp_path):
    one = vae()
    module = VAEModule(one.model, one.likelihood, LearnedWeight(), one.plans[AUTOENCODER])
    train(tmp_path, module, max_epochs=1)
    assert module.rate_term.log_weight.item() < 0  # the rate is cheaper without it


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ([], ""),
        (["model.encoder.conv_in.*"], ""),
        (["model.encoder.*"], "quant_conv and quantize trained"),
        (["model.encoder.*", "model.quant_conv.*"], "quantize trained"),
        (["model.encoder.*", "model.quant*"], ""),
    ],
)
def test_what_else_decides_on_the_latents_of_a_frozen_encoder_is_said(freeze, trained):
    model = VQAutoencoder((3, 8, 8), base_channels=32, channel_multipliers=[1], layers=1, mid_attention=False)
    note = drift(model, PlayerPlan(torch.optim.Adam, {"lr": 1.0}, freeze=freeze))
    assert (trained in note) if trained else (note is None)
    if note:
        assert note.endswith("say optimizer.freeze=[model.encoder.*,model.quant_conv.*,model.quantize.*]")
