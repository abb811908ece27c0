"""The verdict: the word that is true, and the numbers it rests on."""

from __future__ import annotations

import math

import pytest

from lehr.evaluation.mutual_information import MutualInformation
from lehr.evaluation.verdict import Evidence, verdict
from lehr.posterior.collapse import MomentKL


def information(lower: float, upper: float, rate: float, m: int = 10_000) -> MutualInformation:
    return MutualInformation(m=m, lower=lower, upper=upper, rate=rate, log_q=0.0)


def moments(full: float | None, diagonal: float = 0.03, bias: float = 0.07, problem: str | None = None) -> MomentKL:
    correlation = None if full is None else full - diagonal
    return MomentKL(diagonal=diagonal, full=full, total_correlation=correlation, bias=bias, problem=problem)


def test_a_healthy_model_whose_information_is_known():
    evidence = Evidence(10, 10, 5.0, 0, information(4.6, 5.1, 5.0), moments(0.11))
    assert verdict(evidence) == (
        "Not collapsed: 10 of 10 units are active and the rate is 5.00 nats. "
        "The latents hold between 4.60 and 5.10 nats of information about the image. "
        "No sign that the latents are far from the prior (moment KL 0.11 nats, marginal KL 0.00 to 0.40 nats)."
    )


def test_a_partly_collapsed_model_whose_information_is_saturated():
    evidence = Evidence(50, 22, 25.77, 27, information(9.15, 40.0, 25.77), moments(0.11))
    assert verdict(evidence) == (
        "Partly collapsed: 28 of 50 units do not vary with the image (variance of the mean at most 0.01), "
        "27 match the prior on 99% of images; the rate is 25.77 nats. "
        "The estimate of the information in the latents is saturated at ln M = 9.21 nats "
        "(M = 10000, bounds 9.15 and 40.00). "
        "No sign that the latents are far from the prior (moment KL 0.11 nats)."
    )


def test_bounds_that_are_equal_to_the_digits_shown_are_one_number():
    text = verdict(Evidence(20, 20, 0.73, 0, information(0.66, 0.66, 0.73), moments(0.08)))
    assert "The latents hold about 0.66 nats of information about the image." in text
    assert "marginal KL 0.07 nats" in text


def test_a_collapsed_model():
    evidence = Evidence(50, 0, 0.0, 50, information(0.0, 0.0, 0.0), moments(0.0))
    assert verdict(evidence).startswith("Collapsed: the rate is 0.00 nats and 0 of 50 units are active. ")


def test_a_rate_without_information_is_a_collapse():
    """Every posterior the same N(3, 1): a rate of 4.5 nats a latent that says nothing of the image."""
    evidence = Evidence(2, 0, 9.0, 0, information(0.0, 0.0, 9.0), moments(9.0, 9.0))
    text = verdict(evidence)
    assert text.startswith("Collapsed: 0 of 2 units are active, though the rate is 9.00 nats. ")
    assert "The latents are far from the prior (moment KL 9.00 nats, marginal KL 9.00 nats)" in text


def test_latents_far_from_the_prior_are_not_called_healthy():
    evidence = Evidence(8, 8, 30.0, 0, information(8.9, 60.0, 30.0), moments(12.3))
    text = verdict(evidence)
    assert text.startswith("Not collapsed: 8 of 8 units are active")
    assert text.endswith(
        "The latents are far from the prior (moment KL 12.30 nats), so samples of the prior will be worse than of q(z)."
    )


def test_a_marginal_kl_shows_what_moments_do_not():
    evidence = Evidence(2, 2, 8.0, 0, information(4.0, 4.5, 8.0), moments(0.0))
    assert "far from the prior (moment KL 0.00 nats, marginal KL 3.50 to 4.00 nats)" in verdict(evidence)


def test_a_saturated_estimate_says_nothing_of_the_prior():
    evidence = Evidence(8, 8, 30.0, 0, information(8.9, 12.0, 30.0), moments(0.1))
    assert "marginal KL" not in verdict(evidence)
    assert verdict(evidence).startswith("Not collapsed")


def test_a_moment_kl_that_few_examples_explain_is_no_sign():
    assert "No sign" in verdict(Evidence(50, 50, 20.0, 0, None, moments(6.0, bias=5.5)))
    assert "are far" in verdict(Evidence(50, 50, 20.0, 0, None, moments(7.0, bias=5.5)))


def test_an_unknown_covariance_is_said():
    problem = "the covariance of 50 latents needs more than 50 examples, and there are 40: its rank is deficient"
    text = verdict(Evidence(50, 50, 20.0, 0, None, moments(None, diagonal=0.4, bias=1.25, problem=problem)))
    assert text.endswith(f"(moment KL of the diagonal 0.40 nats: {problem}).")


@pytest.mark.parametrize("kl", [math.inf, math.nan])
def test_an_infinite_or_undefined_moment_kl_is_far(kl):
    assert "far from the prior (moment KL" in verdict(Evidence(3, 3, 20.0, 0, None, moments(kl)))


def test_without_estimates_only_the_collapse_is_judged():
    assert verdict(Evidence(3, 2, 4.0)) == (
        "Partly collapsed: 1 of 3 units do not vary with the image (variance of the mean at most 0.01); "
        "the rate is 4.00 nats."
    )
