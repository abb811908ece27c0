"""Codes that nothing chooses begin anew at what the encoder gives; others are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import Tiny, differences, fit
from lightning.pytorch import Callback
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from lehr.data.batch import Batch
from lehr.models import Autoencoder
from lehr.objective import AnnealedKL, Gaussian
from lehr.posterior import Codes
from lehr.training import VAEModule
from lehr.training.codes import EVERY, Revival
from lehr.training.ema import Averaging, EMAPlan
from lehr.training.players import Player, PlayerPlan, Players

DEAD = range(4, 8)  # codes far from all that the encoder gives


class Coded(Autoencoder):
    """Linear, to two positions of two numbers each, with eight codes of which half are nowhere."""

    codebook_size = 8

    def __init__(self, revive: float, decay: float = 0.5) -> None:
        torch.manual_seed(0)
        super().__init__((1, 4, 4), (2, 1, 2))
        self.down, self.up = nn.Linear(16, 4), nn.Linear(4, 16)
        self.codebook = nn.Parameter(torch.cat([0.3 * torch.randn(4, 2), 100 + torch.rand(4, 2)]))
        self.revive, self.revive_decay = revive, decay

    def encode(self, x: Tensor) -> Codes:
        return Codes.nearest(self.down(x.flatten(1)).view(-1, 2, 1, 2), self.codebook)

    def decode(self, z: Tensor) -> Tensor:
        return self.up(z.flatten(1)).view(-1, 1, 4, 4)


class Watch(Callback):
    """Keeps, after each batch, the outputs of the encoder and the codes."""

    def __init__(self) -> None:
        self.outputs: list[Tensor] = []
        self.codes: list[Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.outputs.append(pl_module.last_step.posterior.output.detach().movedim(1, -1).reshape(-1, 2))
        self.codes.append(pl_module.model.codebook.detach().clone())


def trained(
    folder: Path, model: Coded, steps: int = EVERY, freeze: tuple[str, ...] = (), seed: int = 0, **options
) -> tuple[VAEModule, Watch]:
    plan, watch = PlayerPlan(torch.optim.Adam, {"lr": 1e-2}, freeze=freeze), Watch()
    module = VAEModule(model, Gaussian(1.0), AnnealedKL(warmup=0), plan, seed=seed, ema=EMAPlan(decay=0.9))
    fit(folder, watch, module=module, data=Tiny(), max_steps=steps, max_epochs=-1, **options)
    return module, watch


def rows_in(rows: Tensor, where: Tensor) -> list[int]:
    """Where each of some rows stands, bit for bit; -1 for nowhere."""
    found = [(where == row).all(1).nonzero().flatten().tolist() for row in rows]
    return [places[0] if places else -1 for places in found]


def test_codes_that_nothing_uses_begin_anew_at_outputs_of_the_batch(tmp_path):
    module, watch = trained(tmp_path, Coded(revive=0.1))
    before, after = watch.codes[-2], watch.codes[-1]
    assert all(bool((codes[list(DEAD)] >= 100).all()) for codes in watch.codes[:-1])
    places = rows_in(after[list(DEAD)], watch.outputs[-1])
    assert -1 not in places
    assert len(set(places)) == len(DEAD)
    used = [i for i, place in enumerate(rows_in(after, watch.outputs[-1])) if place == -1]
    assert used
    assert (after[used] - before[used]).abs().max() < 0.05  # a step of the optimizer
    assert module.revival.revived >= len(DEAD)
    (state,) = (values for p, values in module.players.state.items() if p is module.model.codebook)
    for name in ("exp_avg", "exp_avg_sq"):
        assert not state[name][list(DEAD)].any()
    average = module.averaging._ema.state_dict()["model.codebook"]
    assert torch.equal(average[list(DEAD)], after[list(DEAD)])


def test_with_accumulation_they_begin_anew_after_a_step_at_outputs_of_its_last_batch(tmp_path):
    places = []
    for seed in (0, 1):
        _, watch = trained(tmp_path, Coded(revive=0.1), accumulate_grad_batches=2, seed=seed)
        places.append(rows_in(watch.codes[-1][list(DEAD)], watch.outputs[-1]))
    assert -1 not in places[0] + places[1]
    assert places[0] != places[1]  # which are taken is a function of the seed


def test_codes_that_are_frozen_or_pretrained_are_left_alone(tmp_path):
    first = Coded(revive=0.1).codebook.detach()
    module, watch = trained(tmp_path, Coded(revive=0.1), freeze=("model.codebook",))
    assert torch.equal(watch.codes[-1], first)
    model = Coded(revive=0.1)
    model.pretrained = "published"
    module, watch = trained(tmp_path, model)
    assert torch.equal(watch.codes[-1][list(DEAD)], first[list(DEAD)])
    assert (module.revival.is_on, module.revival.revived) == (False, 0)


def test_counting_changes_no_number(tmp_path):
    off, _ = trained(tmp_path, Coded(revive=0.0), steps=2 * EVERY)
    counted, _ = trained(tmp_path, Coded(revive=1e-30), steps=2 * EVERY)
    assert (off.revival.is_on, counted.revival.is_on, counted.revival.revived) == (False, True, 0)
    there = counted.state_dict()
    assert [name for name, tensor in off.state_dict().items() if not torch.equal(tensor, there[name])] == []


def test_a_code_that_has_begun_anew_has_the_time_of_a_new_one():
    model = Coded(revive=0.9**15, decay=0.9)
    revival = Revival(model, seed=0)
    revival.start()
    players = Players({"a": Player(PlayerPlan(torch.optim.SGD, {"lr": 0.1}), {"codebook": model.codebook})}, 1)
    output = torch.randn(16, 2, 1, 2)
    first_alone = Codes(output, output, torch.zeros(16, 1, 2, dtype=torch.int64), 8)
    counts = []
    for step in range(4 * EVERY):
        revival.count(first_alone, Batch(torch.rand(16, 1, 4, 4), 0, 16), step)
        revival.after_step(players, Averaging(EMAPlan()), lambda tensor: tensor)
        counts.append(revival.revived)
    assert [counts[EVERY * look - 1] for look in (1, 2, 3, 4)] == [0, 7, 7, 14]
    assert sorted(set(counts)) == [0, 7, 14]


# 56 images for training in batches of 9, the last of 2: what two processes have is not the same. The codebook is far
# too large. No two positions are alike, and with 64 bits rounding decides nothing
RUN = (
    "data=images", "data.size=8", "data.crop=centre", "data.test_fraction=0.2", "data.val_fraction=0.125",
    "data.batch_size=9", "data.eval_batch_size=50", "data.workers=0", "likelihood=laplace", "likelihood.scale=0.5",
    "kl=constant", "model=vq_f16_small", "model.channel_multipliers=[1,2]", "model.layers=1", "model.norm_groups=4",
    "model.base_channels=8", "model.attention_levels=[]", "model.mid_attention=false", "model.latent_channels=4",
    "model.codebook_size=64", "model.revive=0.3", "model.revive_decay=0.8", "ema.half_life=100",
    "trainer.accumulate_grad_batches=2", "trainer.max_epochs=8", "trainer.log_every_n_steps=3",
    "callbacks.checkpoints.every_seconds=0", "trainer.accelerator=cpu", "trainer.precision=64-true", "evaluate=none",
)  # fmt: skip


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """80 colour images of 8 x 8 pixels."""
    folder = tmp_path_factory.mktemp("noise")
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return f"data.path={folder}"


@pytest.fixture(scope="module")
def alone(process, noise, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    finished = process("train", *RUN, noise, f"dir={path}")
    assert finished.code == 0, finished.err
    return path


def saved(run: Path):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("moments", [[("step", 10)], [("step", 19), ("step", 9), ("saving", 1)]], ids=["once", "often"])
def test_a_run_killed_and_resumed_ends_in_the_same_codes(process, noise, alone, tmp_path, moments):
    path = tmp_path / "run"
    process.killed_and_resumed(path, moments, *RUN, noise)
    assert differences(alone, path) == []
    one, two = saved(alone)["codes"], saved(path)["codes"]
    assert torch.equal(one["average"], two["average"])
    assert one["revived"] == two["revived"] > 0


@pytest.mark.slow
def test_two_processes_revive_what_one_does(process, noise, alone, tmp_path):
    path = tmp_path / "run"
    finished = process("train", *RUN, noise, "trainer.devices=2", f"dir={path}")
    assert finished.code == 0, finished.err
    one, two = saved(alone), saved(path)
    assert one["codes"]["revived"] == two["codes"]["revived"] > 0
    torch.testing.assert_close(two["codes"]["average"], one["codes"]["average"])
    torch.testing.assert_close(dict(two["state_dict"]), dict(one["state_dict"]), rtol=1e-3, atol=1e-5)
    shown = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (alone, path)]
    for name in ("train/codes_revived", "train/codes_used", "train/perplexity"):
        curves = [[point[name] for point in points if name in point] for points in shown]
        assert curves[0]
        assert curves[1] == pytest.approx(curves[0], rel=1e-6)


@pytest.mark.slow
def test_new_codes_begin_at_data_and_those_of_another_run_are_kept(lehr, noise, tmp_path):
    still = ("optimizer.lr=1e-30", "model.revive=0", "ema.half_life=null", "trainer.max_epochs=null")
    still = (*still, "trainer.max_steps=2")
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    books = {}
    for path, *words in (
        (first, "seed=0"), (second, "seed=1", f"start_from={first}"), (third, "model.codebook_start=uniform")
    ):  # fmt: skip
        assert lehr("train", *RUN, noise, *still, *words, f"dir={path}")[0] == 0
        books[path] = load_file(path / "model" / "model.safetensors")["model.quantize.embedding.weight"]
    assert torch.equal(books[first], books[second])
    assert books[third].abs().max() <= 1 / 64 < books[first].abs().max()
    assert json.loads((first / "metrics.json").read_text())["val/codes_used"] > 10
