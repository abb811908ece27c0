"""Numbers that are not finite: of the model itself they end an evaluation in a line, of one estimate they are named."""

from __future__ import annotations

import math

import pytest
import torch
from harness import Tiny, vae

from lehr.data.images import ArrayImages
from lehr.data.splits import with_test_held_out
from lehr.errors import NonFinite
from lehr.evaluation.evaluate import evaluate
from lehr.evaluation.mutual_information import MutualInformation
from lehr.evaluation.section import Plan
from lehr.evaluation.subject import Subject
from lehr.evaluation.table import evaluation_table
from lehr.evaluation.verdict import Evidence, verdict
from lehr.posterior.density import StandardNormal

QUICK = Plan("test", full=False, examples=None, iwae_samples=4)


class Blank(Tiny):
    """Images without a pixel that is on."""

    def read(self):
        return with_test_held_out("blank", ArrayImages(torch.zeros(self.n, 1, 4, 4)), 0.2, self.split_seed)


def subject(data, spoil):
    data.prepare_data()
    data.setup()
    module = vae(data.shape)
    with torch.no_grad():
        spoil(module.model)
    model = module.model.eval().requires_grad_(False)
    return Subject(model, module.likelihood, StandardNormal((2,)), None, data, torch.device("cpu"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda model: model.encoder[-1].bias.fill_(math.nan),
            "latents of 24 test examples: 48 of 48 numbers of the means",
        ),
        (
            lambda model: model.decoder[-2].bias.fill_(-3e38),
            "likelihood of 24 test examples: the elbo is -inf and the ",
        ),
        (
            lambda model: model.decoder[-2].bias.fill_(math.nan),
            "likelihood of 24 test examples: the elbo is nan and the ",
        ),
    ],
)
def test_a_model_that_has_diverged_ends_an_evaluation_in_a_line(spoil, message):
    with pytest.raises(NonFinite) as error:
        evaluate(subject(Tiny(), spoil), QUICK)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_the_psnr_of_images_that_are_met_exactly_is_left_out_and_named():
    def always_off(model):
        model.decoder[-2].weight.zero_()
        model.decoder[-2].bias.fill_(-200.0)  # of which the sigmoid is 0 in float32

    table = evaluate(subject(Blank(), always_off), QUICK)
    assert table["reconstruction/psnr"] is None
    assert table["reconstruction/mse"] == 0
    assert table["not_finite"] == ["reconstruction/psnr is inf", "reconstruction/psnr_sampled is inf"]
    assert "not finite, and so left out: reconstruction/psnr is inf" in evaluation_table(table)
    assert all(math.isfinite(value) for value in table.values() if isinstance(value, float))


def test_all_numbers_of_a_usual_evaluation_are_finite_and_nothing_is_said():
    assert "not_finite" not in evaluate(subject(Tiny(), lambda model: None), QUICK)


@pytest.mark.parametrize(("lower", "upper"), [(math.nan, 1.0), (1.0, math.inf), (math.nan, math.nan)])
def test_a_bound_that_is_not_finite_is_no_information_and_no_gap_of_zero(lower, upper):
    information = MutualInformation(m=100, lower=lower, upper=upper, rate=3.0, log_q=0.0)
    assert information.problem.startswith("the information in the latents is not known: the ")
    assert math.isnan(information.marginal_kl_upper) == math.isnan(lower)  # max(0, nan) would be 0
    text = verdict(Evidence(latents=2, active=2, rate=3.0, information=information))
    assert "The information in the latents is not known: the " in text
    assert "marginal KL" not in text
