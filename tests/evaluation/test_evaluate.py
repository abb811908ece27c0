"""An evaluation of a model whose posteriors have no density: what can be had is measured, the rest says why not."""

from __future__ import annotations

import math

import pytest
import torch
from harness import Tiny
from torch import Tensor, nn

from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.evaluate import evaluate
from lehr.evaluation.section import Plan
from lehr.evaluation.subject import Subject, encode, silent
from lehr.evaluation.table import evaluation_table
from lehr.models.wrapped import wrap
from lehr.objective.likelihood import Bernoulli
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.codes import Codes
from lehr.posterior.density import Normal, StandardNormal
from lehr.posterior.posterior import Posterior

LATENTS = 3


class Deterministic(nn.Module):
    """Its latents are three of the pixels, and its reconstructions a function of them."""

    def __init__(self, c: int, h: int, w: int) -> None:
        super().__init__()
        self.decoder = nn.Linear(LATENTS, c * h * w)
        self.shape = (c, h, w)

    def encode(self, x: Tensor) -> Tensor | Posterior:
        return x.flatten(1)[:, :LATENTS]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).view(-1, *self.shape)


class Quantised(Deterministic):
    """The same, taken to the nearest of three codes, of which one is far from all."""

    def encode(self, x: Tensor) -> Codes:
        return Codes.nearest(x.flatten(1)[:, :LATENTS], torch.tensor([[0.1], [0.3], [9.0]]).expand(3, LATENTS))


def subject_of(kind: type[Deterministic]) -> Subject:
    data = Tiny()
    data.prepare_data()
    data.setup()
    model = wrap(kind(*data.shape), data.shape, (LATENTS,)).eval()
    parts = (model, Bernoulli(), StandardNormal((LATENTS,)))
    encoded = encode(Subject(*parts, None, data, torch.device("cpu")), "train", None, silent)  # type: ignore[arg-type]
    return Subject(*parts, AggregatePosterior.of(encoded.posterior), data, torch.device("cpu"))


def test_a_deterministic_model_has_no_likelihood_and_all_that_needs_none():
    subject = subject_of(Deterministic)
    plan = Plan("test", full=True, examples=None, iwae_samples=2, samplers=("prior", "aggregate"), features="pca")
    densities = {"prior": subject.prior, "aggregate": Normal.of(subject.aggregate)}
    table = evaluate(subject, plan, lambda name, training, show: densities[name])
    assert table["likelihood/note"].startswith("posteriors of this kind (Point) have no density")
    assert [key for key in table if key.startswith("likelihood/")] == ["likelihood/note"]
    assert {key for key in table if "/" in key and find_metric(key) is None} == set()

    encoded = encode(subject, "test", None, silent)
    assert torch.equal(encoded.z, encoded.posterior.mean)
    spread = encoded.z.double().var(0)
    assert table["collapse/active_units"] == int((spread > 0.01).sum())
    assert not any(word in key for key in table for word in ("mi_", "kl_per_dimension", "verdict", "collapsed"))
    # at the mean and at a sample of a point is the same
    assert table["reconstruction/psnr"] == table["reconstruction/psnr_sampled"]
    assert table["generation/aggregate/latent_log_prob"] == pytest.approx(
        float(Normal.of(subject.aggregate).log_prob(encoded.z).double().mean())
    )
    printed = evaluation_table(table)
    assert "no likelihood: posteriors of this kind (Point)" in printed
    assert "active units" in printed


def test_codes_say_how_many_are_in_use():
    subject = subject_of(Quantised)
    table = evaluate(subject, Plan("test", full=False, examples=None, iwae_samples=2))
    share = encode(subject, "test", None, silent).posterior.indices.double().mean()  # of the second code
    assert (table["collapse/codes"], table["collapse/codes_used"]) == (3, 2)
    expected = math.exp(-sum(p * math.log(p) for p in (share, 1 - share)))
    assert table["collapse/code_perplexity"] == pytest.approx(expected)
    assert "codes used                         2  of 3\n" in evaluation_table(table)
