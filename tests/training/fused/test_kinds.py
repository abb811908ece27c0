"""Every kind of run that may be fused: lanes end in what they end in alone, whatever they differ in."""

from __future__ import annotations

import itertools

import pytest
import torch
from alike import assert_same, checkpoint, metrics, signalled

from lehr import objective
from lehr.compose.composer import Command, composed
from lehr.errors import Interrupted
from lehr.objective.rate import RateTerm
from lehr.sweeps.runner import run_point
from lehr.training.fused import cohort
from lehr.training.fused.kinds import kind, obstacle

NUMBERS = {
    "anneal": ("kl.weight=0.5 kl.shape=sigmoid", "kl.weight=2 kl.hold=1 kl.warmup=1.5"),
    "constant": ("kl.weight=0.5", "kl.weight=2 kl.convention=mean"),
    "free_bits": ("kl.free_nats=0.5", "kl.free_nats=1 kl.weight=2"),
    "capacity": ("kl.capacity=1 kl.warmup=2", "kl.capacity=3 kl.gamma=5 kl.warmup=1"),
    "control": ("kl.target_rate=3 kl.kp=0.5", "kl.target_rate=6 kl.ki=0.01"),
    "geco": ("kl.target_distortion=20 kl.speed=0.01", "kl.target_distortion=25 kl.speed=0.02 kl.weight=2"),
    "beta_tc": ("kl.beta=2", "kl.beta=6 kl.weight=0.5"),
    "mmd": ("kl.alpha=0 kl.lambda_=10", "kl.alpha=0.5 kl.lambda_=20 kl.weight=0.5"),
}
"""Of each rate term two lanes."""
SHAPES = (
    "model=linear",
    "model=mlp model.hidden=[8,8] model.activation=softplus",
    "model=conv model.channels=[4,8] model.hidden=16",
    "likelihood=gaussian data.binarize=none",
    "likelihood=laplace data.binarize=none",
    "likelihood=continuous_bernoulli data.binarize=none",
    "likelihood=discretized_logistic likelihood.levels=17 data.binarize=none",
    "likelihood=gaussian likelihood.scale=optimal data.binarize=none",
    "prior=vamp",
    "prior=mixture",
    "objective=iwae objective.samples=3 objective.gradient=standard",
    "objective.samples=2",
    "optimizer=adamw optimizer.weight_decay=0.1",
    "trainer.gradient_clip_val=1",
    "data.batch_size=50",
)
"""What all lanes of a program share."""
FAST = ("trainer.precision=64-true", "trainer.max_epochs=3", "kl=anneal")


def values(*words):
    found, problems = composed(Command("train", None, [*words]))
    assert found is not None, problems
    return found.values


def compared(trainings, points):
    assert len({kind(values(*point)) for point in points}) == 1
    assert not any(obstacle(values(*point)) for point in points)
    alone, fused = trainings.alone(points), trainings.fused(points)
    for one, other in zip(alone, fused, strict=True):
        assert_same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("rate_term", NUMBERS)
def test_rate_terms_with_numbers_of_their_own(trainings, rate_term):
    first, second = NUMBERS[rate_term]
    common = ("trainer.precision=64-true", "trainer.max_epochs=3", f"kl={rate_term}")
    compared(trainings, [(*common, *first.split()), (*common, *second.split(), "seed=1")])


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_models_likelihoods_priors_and_bounds(trainings, shape):
    words = (*FAST, "kl.hold=0", "kl.warmup=2", *shape.split())
    compared(trainings, [(*words, "kl.weight=0.5"), (*words, "kl.weight=2", "optimizer.lr=2e-3", "seed=3")])


@pytest.mark.slow
def test_in_float32_runs_of_a_mlp_end_in_the_same_bits(trainings):
    words = ("model.hidden=[400]", "model.latent_dim=20", "ema.decay=0.9")
    points = [(*words, f"seed={seed}", f"kl.weight={0.3 + seed}") for seed in (0, 1, 2)]
    for one, other in zip(trainings.alone(points), trainings.fused(points), strict=True):
        expected, found = (checkpoint(run_dir)["state_dict"] for run_dir in (one, other))
        assert [name for name, own in expected.items() if not torch.equal(own, found[name])] == []
        assert metrics(other) == pytest.approx(metrics(one), rel=1e-5)


def averages(run_dir):
    return checkpoint(run_dir)["ema"]


@pytest.mark.slow
def test_averages_of_weights_with_memories_of_their_own(trainings, monkeypatch):
    words = (*FAST[:2], "likelihood=gaussian", "likelihood.scale=optimal", "data.binarize=none", "optimizer.lr=1e-2")
    points = [(*words, "ema.decay=0.9"), (*words, "ema.decay=0.5", "seed=1"), (*words, "ema.half_life=200")]
    compared(trainings, points)
    alone, begun = trainings.folder / "alone-0", trainings.prepare("begun", points)
    with monkeypatch.context() as patched:
        patched.setattr(cohort, "step", signalled(cohort.step, call=7))
        with pytest.raises(Interrupted):
            trainings.go_on(begun)
    run_point(begun[0], own_process=False)
    trainings.go_on(begun[1:])
    for lane, run_dir in enumerate(begun):
        assert_same(alone / str(lane), run_dir)
        expected = averages(alone / str(lane))
        assert averages(run_dir).keys() == expected.keys() >= {"likelihood.log_scale", "model.encoder.1.weight"}
        for name, average in averages(run_dir).items():
            torch.testing.assert_close(average, expected[name], rtol=1e-10, atol=1e-10, msg=name)
        own = checkpoint(run_dir)["state_dict"]["model.encoder.1.weight"]
        assert (expected["model.encoder.1.weight"] - own).abs().max() > 1e-4


@pytest.mark.slow
def test_bf16_mixed(trainings):
    points = [("trainer.precision=bf16-mixed", f"seed={seed}") for seed in (0, 1)]
    for one, other in zip(trainings.alone(points), trainings.fused(points), strict=True):
        assert metrics(other) == pytest.approx(metrics(one), rel=0.01)
        assert metrics(other)["test/elbo"] == pytest.approx(metrics(one)["test/elbo"], rel=1e-4)


@pytest.mark.slow
def test_lanes_of_other_numbers_of_training_images(trainings):
    # the seed says how many of these classes are held out for validation
    words = (*FAST[:2], "trainer.limit_examples=null", "data.train_on=[3,5]", "data.batch_size=64", "kl=beta_tc")
    compared(trainings, [(*words, f"seed={seed}") for seed in (0, 1, 2)])


@pytest.mark.slow
def test_numbers_of_every_rate_term_are_tried():
    classes = {cls for cls in vars(objective).values() if isinstance(cls, type) and issubclass(cls, RateTerm)}
    targets = [values(f"kl={name}", *words[0].split())["kl"]["_target_"] for name, words in NUMBERS.items()]
    assert {cls.__name__ for cls in classes} - {target.rpartition(".")[2] for target in targets} <= {"RateTerm"}


@pytest.mark.slow
def test_runs_of_one_kind_differ_in_numbers_alone():
    one = kind(values("kl.weight=1", "seed=0"))
    for word in ("kl=constant", "kl.warmup=2", "seed=7", "optimizer.lr=0.1", "trainer.gradient_clip_val=1",
                 "trainer.max_epochs=33", "trainer.max_steps=500", "trainer.check_val_every_n_epoch=2"):  # fmt: skip
        assert kind(values(word)) == one, word
    others = ("model.hidden=[7]", "data.batch_size=7", "kl=control", "model.latent_dim=7", "ema.decay=0.9",
              "likelihood=gaussian", "likelihood=gaussian likelihood.scale=0.1",
              "likelihood=laplace likelihood.scale=0.1")  # fmt: skip
    kinds = [one, *(kind(values(*words.split())) for words in others)]
    assert all(a != b for a, b in itertools.combinations(kinds, 2))
    assert kind(values("likelihood=gaussian", "likelihood.scale=2")) == kinds[-2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("compile=true", "compile=True"),
        ("trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2"),
        ("terms=laplacian", "terms"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true"),
        ("objective=iwae", "objective.gradient=dreg"),
        ("optimizer.freeze=[encoder*]", 'optimizer.freeze=["encoder*"]'),
        ("logger=[tensorboard,wandb]", "logger.wandb._target_=lehr.training.WandB"),
    ],
)
def test_what_cannot_be_fused_is_told(words, told):
    assert obstacle(values(*words.split())) == told
