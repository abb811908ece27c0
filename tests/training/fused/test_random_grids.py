"""Grids drawn at random: lanes take the steps that they take alone, and end in what they end in alone."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
from alike import TINY, Trainings, assert_same
from random_grids import Draws

from lehr import randomness
from lehr.compose.composer import Command, composed
from lehr.config.build import build
from lehr.objective.bounds import Objective
from lehr.objective.rate import RateTerm
from lehr.objective.step import StepInputs
from lehr.run.model_files import build_likelihood, build_model, build_prior
from lehr.sweeps.point import Point
from lehr.training.building import player_plan
from lehr.training.fused.kinds import kind, obstacle
from lehr.training.fused.program import Program
from lehr.training.fused.taken import Facts, Stacked
from lehr.training.length import Length
from lehr.training.module import VAEModule

SHAPE, N, BATCH, EPOCHS = (1, 6, 6), 20, 8, 4
LENGTH = Length(3, 3, 3 * EPOCHS, N, BATCH)


@pytest.fixture(scope="module")
def base():
    """The configuration that draws change."""
    made, problems = composed(Command("train", None, [*TINY, "trainer.precision=64-true"]))
    assert made is not None, problems
    return dict(made.values)


@pytest.fixture
def float64():
    """As Lightning has it in a step of precision 64-true."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def of_one_program(draws, lanes):
    """The configurations of a grid, of which it is sure that they are lanes of one program."""
    configs = draws.grid(lanes)
    assert [obstacle(config) for config in configs] == [None] * lanes
    assert len({kind(config) for config in configs}) == 1
    return configs


class Alone:
    """Steps of one run without any trainer, on images that are a function of its seed."""

    def __init__(self, config, context=nullcontext):
        self.context = context
        self.seed = config["seed"]
        with randomness.seeded(self.seed, "weights"):
            model = build_model(config, SHAPE, ())
            likelihood = build_likelihood(config, ())
            prior = build_prior(config, model, ())
        rate_term = build(config["kl"], RateTerm, key="kl")
        objective = build(config["objective"], Objective, key="objective")
        plan = player_plan(config["optimizer"], config["trainer"]["gradient_clip_val"], ())
        self.module = VAEModule(model, likelihood, rate_term, plan, seed=self.seed, prior=prior, objective=objective)
        if config["trainer"]["precision"] == "64-true":
            self.module.double()
        rate_term.start(LENGTH.total_steps, LENGTH.steps_per_epoch)
        self.module.length, self.module.n_train = LENGTH, N
        self.players = self.module.configure_optimizers()
        levels = likelihood.levels or 17
        images = randomness.uniform(self.seed, "images", 0, (N, *SHAPE)).to(model.dtype)
        self.images = (images * (levels - 1)).round() / (levels - 1)

    def batch(self, step):
        return self.images[step % LENGTH.steps_per_epoch * BATCH :][:BATCH]

    def noise(self, step, shape):
        return randomness.normal(self.seed, "posterior", step, (len(self.batch(step)), *shape))

    def take(self, step):
        """A step as a training takes it: its values."""
        module, images = self.module, self.batch(step)
        inputs = StepInputs(
            images, lambda shape: self.noise(step, shape), module.rate_term.values(step), step, len(images), N, 1,
            lambda sums: sums,
        )  # fmt: skip
        self.players.at_step(step)
        with self.context():
            result = module.objective.step(inputs, module.components)
        self.players.zero_grad()
        (result.total / len(images)).backward()
        self.players.clip()
        self.players.step()
        return result.values


def taken_together(program, lanes, step):
    images = torch.stack([lane.batch(step) for lane in lanes])
    shape = program.noise_shape(images[0, :1])
    return program.step(
        Stacked(images, shared=False),
        Stacked(torch.stack([lane.noise(step, shape) for lane in lanes]), shared=False),
        [lane.module.rate_term.values(step) for lane in lanes],
        Facts([step] * len(lanes), images.shape[1], N, is_logged=False),
        [False] * len(lanes),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 60))])
def test_steps_of_lanes_are_those_taken_alone(base, seed):
    configs = of_one_program(Draws(seed, base), 3)
    alone, lanes = [Alone(config) for config in configs], [Alone(config) for config in configs]
    program = Program([lane.module for lane in lanes])
    for step in range(LENGTH.total_steps):
        expected, taken = [one.take(step) for one in alone], taken_together(program, lanes, step)
        torch.testing.assert_close(taken.values, torch.stack(expected), rtol=1e-10, atol=1e-10)
    for one, lane in zip(alone, lanes, strict=True):
        state = lane.module.state_dict()
        for name, tensor in one.module.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-10, atol=1e-10, msg=name)
        state = lane.players.state_dict()["autoencoder"]["state"]
        for name, moments in one.players.state_dict()["autoencoder"]["state"].items():
            torch.testing.assert_close(state[name]["exp_avg"], moments["exp_avg"], rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("activation", ["relu", pytest.param("silu", marks=pytest.mark.slow)])
def test_lanes_of_a_mlp_have_the_bits_in_float32_that_they_have_alone(base, activation):
    # a last bit that is another makes a difference of its own wherever a ReLU comes to stand at 0
    model = base["model"] | {"hidden": [400, 500], "latent_dim": 20, "activation": activation}
    configs = [
        {**base, "seed": seed, "model": model, "kl": {**base["kl"], "weight": 0.3 + seed}}
        | {"optimizer": {**base["optimizer"], "lr": 1e-3 * (seed + 1)}}
        | {"trainer": {**base["trainer"], "precision": "32-true"}}
        for seed in range(3)
    ]
    alone, lanes = [Alone(config) for config in configs], [Alone(config) for config in configs]
    program = Program([lane.module for lane in lanes])
    for step in range(LENGTH.total_steps):
        expected, taken = [one.take(step) for one in alone], taken_together(program, lanes, step)
        torch.testing.assert_close(taken.values, torch.stack(expected))
    for one, lane in zip(alone, lanes, strict=True):
        state = lane.module.state_dict()
        assert [name for name, own in one.module.state_dict().items() if not torch.equal(own, state[name])] == []


def test_in_bf16_mixed_lanes_compute_in_bfloat16_as_alone(base):
    def mixed():
        return torch.autocast("cpu", torch.bfloat16, cache_enabled=False)

    configs = [base | {"seed": seed, "trainer": {**base["trainer"], "precision": "bf16-mixed"}} for seed in (0, 1)]
    alone, exact = [Alone(config, mixed) for config in configs], [Alone(config) for config in configs]
    lanes = [Alone(config) for config in configs]
    program = Program([lane.module for lane in lanes], mixed)
    for step in range(3):
        expected, in_float32 = ([one.take(step)[0] for one in ones] for ones in (alone, exact))
        found = taken_together(program, lanes, step).values[:, 0]
        torch.testing.assert_close(found, torch.stack(expected), rtol=2**-9, atol=0)  # a rounding of bfloat16
        assert ((found / torch.stack(in_float32) - 1).abs() > 1e-6).all()
        assert found.dtype is torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 115))
def test_runs_end_in_what_they_end_in_alone(tmp_path, base, seed):
    trainings, configs = Trainings(tmp_path), of_one_program(Draws(seed, base), 3)

    def prepared(where):
        run_dirs = [tmp_path / where / str(lane) for lane in range(len(configs))]
        for run_dir, config in zip(run_dirs, configs, strict=True):
            run_dir.mkdir(parents=True)
            Point(config, {"point": 0}).write(run_dir)
        return run_dirs

    alone, fused = trainings.train(prepared("alone")), trainings.go_on(prepared("fused"))
    assert trainings.problems == dict.fromkeys(range(len(configs)))
    for one, other in zip(alone, fused, strict=True):
        assert_same(one, other)
        assert json.loads((one / "status.json").read_text())["state"] == "done"
