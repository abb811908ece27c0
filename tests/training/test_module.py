"""A step of training and a pass of evaluation, computed once more by hand in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from harness import Tiny, fit, trainer, vae
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from lehr import randomness
from lehr.errors import ConfigError
from lehr.objective import MMD, BetaTC, Gaussian
from lehr.objective.step import AUTOENCODER
from lehr.run.measure import one_sample
from lehr.training.callbacks.aggregate import AggregateStatistics
from lehr.training.callbacks.metrics import Metrics
from lehr.training.players import PlayerPlan

N, BATCHES, TOTALS = 86, 6, [16, 16, 16, 16, 16, 6]  # Tiny's training images, in batches of 16


class Steps(Callback):
    """What each batch was trained with, and what came of it."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        weights = {name: weight.detach().clone() for name, weight in pl_module.model.state_dict().items()}
        self.seen.append({"weights": weights, "images": batch.images.clone()})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen[-1] |= {"loss": float(outputs["loss"]), "terms": pl_module.last_step.values.tolist()}


def by_hand(weights, images, noise):
    """Distortion and rate (b,) of the MLP with a Bernoulli likelihood, in float64 numpy."""
    w = {name: weight.double().numpy() for name, weight in weights.items()}
    x = images.double().numpy().reshape(len(images), -1)

    def relu(a):
        return np.maximum(a, 0)

    hidden = relu(x @ w["encoder.1.weight"].T + w["encoder.1.bias"])
    mean, logvar = np.split(hidden @ w["encoder.3.weight"].T + w["encoder.3.bias"], 2, axis=1)
    z = mean + np.exp(logvar / 2) * noise.double().numpy()
    hidden = relu(z @ w["decoder.0.weight"].T + w["decoder.0.bias"])
    logits = hidden @ w["decoder.2.weight"].T + w["decoder.2.bias"]
    distortion = (np.logaddexp(0, logits) - x * logits).sum(1)
    rate = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).sum(1)
    return distortion, rate


def pixels(data, split):
    return torch.cat([batch.images for batch in data.evaluation_loader(split, "cpu")])


def test_the_loss_of_a_step_is_that_of_its_batch_its_noise_and_its_kl_weight(tmp_path):
    steps, data = Steps(), Tiny()
    fit(tmp_path, steps, module=vae(weight=0.7, warmup=1.5, seed=3), data=data)
    images = pixels(data, "train")
    assert len(images) == N
    assert len(steps.seen) == 3 * BATCHES
    for k, step in enumerate(steps.seen):
        order = randomness.permutation(0, "order", k // BATCHES, N)
        rows = order[16 * (k % BATCHES) : 16 * (k % BATCHES) + 16]
        assert torch.equal(step["images"], images[rows])
        noise = randomness.normal(3, "posterior", k, (len(rows), 2))
        distortion, rate = (terms.mean() for terms in by_hand(step["weights"], step["images"], noise))
        kl_weight = 0.7 * min(k / 9, 1)  # 1.5 epochs of 6 steps
        assert step["terms"] == pytest.approx([distortion, rate], rel=1e-5), k
        assert step["loss"] == pytest.approx(distortion + kl_weight * rate, rel=1e-5), k


@pytest.mark.parametrize("accumulate", [1, 4])
def test_training_is_a_plain_loop_of_gradient_steps(tmp_path, accumulate):
    module, twin, data = vae(warmup=1), vae(warmup=1), Tiny()
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.SGD, {"lr": 0.01})
    fit(tmp_path, module=module, data=data, accumulate_grad_batches=accumulate)
    images, optimizer, step = pixels(data, "train"), torch.optim.SGD(twin.model.parameters(), lr=0.01), 0
    warmup = math.ceil(BATCHES / accumulate)
    for epoch in range(3):
        batches = randomness.permutation(0, "order", epoch, N).split(16)
        for first in range(0, BATCHES, accumulate):
            group = batches[first : first + accumulate]
            optimizer.zero_grad()
            for k, rows in enumerate(group, start=epoch * BATCHES + first):
                noise = randomness.normal(0, "posterior", k, (len(rows), 2))
                terms = one_sample(twin.components, images[rows], twin.model.encode(images[rows]), noise).terms
                # the last step of an epoch has fewer batches, and a smaller one: its gradient is the mean over examples
                (terms.loss(min(step / warmup, 1.0)).sum() / sum(map(len, group))).backward()
            optimizer.step()
            step += 1
    assert module.trainer.global_step == step
    for name, weight in twin.model.state_dict().items():
        torch.testing.assert_close(module.model.state_dict()[name], weight, rtol=1e-4, atol=1e-6, msg=name)


def logged(folder):
    """The rows of a CSVLogger: name -> {step: value}."""
    import csv

    (path,) = folder.rglob("metrics.csv")
    found = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        for name, value in row.items():
            if value and name != "step":
                found.setdefault(name, {})[int(row["step"])] = float(value)
    return found


@pytest.mark.parametrize("accumulate", [1, 4])
def test_what_is_logged_of_a_step_is_what_it_was_trained_with(tmp_path, accumulate):
    steps, module = Steps(), vae(weight=0.5, hold=0.5, warmup=1)
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.Adam, {"lr": 0.01}, decay="cosine", final_lr=0.002)
    fit(
        tmp_path, Metrics({}), steps, module=module, logger=CSVLogger(tmp_path, flush_logs_every_n_steps=1),
        log_every_n_steps=1, accumulate_grad_batches=accumulate,
    )  # fmt: skip
    found = logged(tmp_path)
    per_epoch = math.ceil(BATCHES / accumulate)
    total = 3 * per_epoch
    for step in range(total):
        last_batch = min((step % per_epoch + 1) * accumulate, BATCHES)  # of this step, within its epoch
        x = step // per_epoch * N + sum(TOTALS[:last_batch])
        kl_weight = 0.5 * min(max(step - 0.5 * per_epoch, 0) / per_epoch, 1)
        seen = steps.seen[step // per_epoch * BATCHES + last_batch - 1]
        distortion, rate = seen["terms"]
        assert found["train/kl_weight"][x] == pytest.approx(kl_weight, abs=1e-12), step
        assert found["train/distortion"][x] == pytest.approx(distortion, rel=1e-6)
        assert found["train/rate"][x] == pytest.approx(rate, rel=1e-6)
        assert found["train/loss"][x] == pytest.approx(distortion + kl_weight * rate, rel=1e-6)
        assert found["train/elbo"][x] == pytest.approx(-distortion - rate, rel=1e-6)
        cosine = 0.002 + 0.008 * (1 + math.cos(math.pi * step / total)) / 2
        assert found["train/learning_rate"][x] == pytest.approx(cosine, rel=1e-9), step
    assert len(found["train/loss"]) == total
    assert list(found["val/elbo"]) == [N, 2 * N, 3 * N]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_elbo_of_evaluation_is_at_kl_weight_1_and_counts_each_example_once(tmp_path, split):
    data = Tiny(eval_batch_size=7)  # the last batch has 3 of 10, and 3 of 24
    module = fit(tmp_path, module=vae(weight=0.1, seed=5), data=data)
    if split == "test":
        module.trainer.test(module, datamodule=data, verbose=False)
    images = pixels(data, split)
    noise = randomness.rows("normal", 5, f"posterior/{split}", 0, len(images), (2,))
    distortion, rate = (terms.mean() for terms in by_hand(module.model.state_dict(), images, noise))
    assert len(images) == {"val": 10, "test": 24}[split]
    found = module.evaluated
    assert found[f"{split}/distortion"] == pytest.approx(distortion, rel=1e-6)
    assert found[f"{split}/rate"] == pytest.approx(rate, rel=1e-6)
    assert found[f"{split}/elbo"] == pytest.approx(-distortion - rate, rel=1e-6)
    assert found[f"{split}/kl_weight"] == 0.1
    assert found[f"{split}/loss"] == pytest.approx(distortion + 0.1 * rate, rel=1e-6)


def test_the_size_of_evaluation_batches_changes_no_number(tmp_path):
    runs = [fit(tmp_path, data=Tiny(binarize="dynamic", eval_batch_size=size)).evaluated for size in (1, 3, 50)]
    for name, value in runs[0].items():
        assert [run[name] for run in runs[1:]] == pytest.approx([value, value], rel=1e-6), name


def test_the_number_of_active_units_is_that_of_the_means_of_the_split(tmp_path):
    data = Tiny()
    module = fit(tmp_path, data=data, max_epochs=8)
    means = module.model.encode(pixels(data, "val")).mean.detach().double().numpy()
    assert module.evaluated["val/active_units"] == (means.var(0, ddof=1) > 0.01).sum()


@pytest.mark.parametrize(
    ("options", "has_it"),
    [({"binarize": "dynamic"}, True), ({"binarize": "threshold"}, True), ({"binarize": "none"}, False)],
)
def test_bits_per_dim_are_given_of_binary_data_alone(tmp_path, options, has_it):
    module = fit(tmp_path, data=Tiny(**options))
    assert ("val/bits_per_dim" in module.evaluated) == has_it
    if has_it:
        bits = -module.evaluated["val/elbo"] / math.log(2) / 16
        assert module.evaluated["val/bits_per_dim"] == pytest.approx(bits, rel=1e-12)


def test_a_density_has_no_bits_per_dim(tmp_path):
    module = fit(tmp_path, module=vae(likelihood=Gaussian(1.0)), data=Tiny(binarize="threshold"))
    assert "val/bits_per_dim" not in module.evaluated


def test_one_example_to_validate_or_test_has_an_elbo_and_no_variance(tmp_path):
    data = Tiny(n=7, val_fraction=0.15, batch_size=4)
    module = fit(tmp_path, Metrics({}), data=data)
    assert data.n_val == data.n_test == 1
    assert math.isfinite(module.evaluated["val/elbo"])
    assert "val/active_units" not in module.evaluated
    module.trainer.test(module, datamodule=data, verbose=False)
    assert math.isfinite(module.evaluated["test/elbo"])


def test_one_example_to_train_on_is_found_out_before_training(tmp_path):
    steps = Steps()
    with pytest.raises(ConfigError, match="at least 2 training examples"):
        fit(tmp_path, steps, AggregateStatistics(), data=Tiny(n=4, val_fraction=0.5, batch_size=4), max_epochs=5)
    assert steps.seen == []


def test_a_training_without_an_end_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="max_epochs"):
        trainer(tmp_path, max_epochs=-1).fit(vae(), datamodule=Tiny())


@pytest.mark.parametrize(("limit", "batches"), [(2, 2), (0.5, 3), (1.0, 6)])
def test_fewer_batches_in_an_epoch_are_counted_as_such(tmp_path, limit, batches):
    steps = Steps()
    module = fit(tmp_path, steps, module=vae(warmup=1), limit_train_batches=limit)
    assert len(steps.seen) == 3 * batches
    assert module.images_seen == 3 * sum(TOTALS[:batches])
    assert module.rate_term.settled == batches


@pytest.mark.parametrize("rate_term", [MMD(), BetaTC(4.0, warmup=0)], ids=["mmd", "beta_tc"])
@pytest.mark.parametrize(("n", "batch_size"), [(100, 1), (3, 16)])
def test_a_rate_term_that_compares_examples_is_not_trained_on_one_at_a_time(tmp_path, rate_term, n, batch_size):
    module = vae()
    module.rate_term = rate_term
    data = Tiny(n=n, batch_size=batch_size, val_fraction=0.5)  # of 3 images 1 is left for training
    with pytest.raises(ConfigError, match="compares the examples of a batch, and of one alone it says nothing"):
        fit(tmp_path, module=module, data=data)


def test_a_last_batch_of_one_image_is_said_to_have_nothing_to_compare(lehr, tmp_path):
    small = ("trainer.max_epochs=1", "kl.warmup=0", "model.hidden=[8]", "evaluate=none", "data.batch_size=431")
    code, _, err = lehr("train", "kl=beta_tc", "kl.beta=4", *small, f"dir={tmp_path}/run")
    assert code == 0
    assert err.count("note: the last batch of an epoch has 1 of the 1,294 training images") == 1
    assert "BetaTC has the rate and nothing else" in err
