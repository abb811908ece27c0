"""MIG, SAP, DCI and the FactorVAE score on representations whose score is known, and against other computations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from lehr.errors import DataError
from lehr.evaluation.disentanglement.forests import _concentration, dci
from lehr.evaluation.disentanglement.gaps import _binned, _mutual_information, mig, sap
from lehr.evaluation.disentanglement.votes import _least_varying, factor_vae_score
from lehr.evaluation.representation import linear_probe

SIZES = (4, 5, 3)
SCORES = (mig, sap, dci, factor_vae_score)


def grid(repeats=15, sizes=SIZES):
    """Every combination of values as often: factors (n, 3)."""
    return np.array(list(itertools.product(*map(range, sizes))) * repeats)


def standardised(factors):
    return (factors - factors.mean(0)) / factors.std(0)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def rotated(codes, angle=math.pi / 4):
    """The first two latents turned: at 45 degrees each holds as much of one factor as of the other."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.concatenate([codes[:, :2] @ turn, codes[:, 2:]], axis=1)


def test_codes_that_are_the_factors_score_one():
    factors = grid()
    codes = factors[:, [2, 0, 1]] * [-7.0, 0.1, 3.0] + [1.0, 0.0, -2.0]
    # a latent that says nothing beside them does not matter
    codes = np.concatenate([codes, np.full((len(codes), 1), 0.5)], axis=1)
    assert mig(codes, factors).score == pytest.approx(1, abs=1e-12)
    scores = dci(codes, factors)
    assert scores.disentanglement == pytest.approx(1, abs=1e-12)
    assert scores.completeness == pytest.approx(1, abs=1e-12)
    assert scores.informativeness == 1
    assert factor_vae_score(codes, factors).score == 1
    # the other latents guess one value of k, so that the best gap is the mean of 1 - 1/k
    separated = sap(codes, factors)
    assert separated.perfect == pytest.approx((3 / 4 + 4 / 5 + 2 / 3) / 3)
    assert separated.score == pytest.approx(separated.perfect, abs=0.03)
    for matrix in (mig(codes, factors).mutual_information, separated.balanced_accuracy, scores.importance):
        assert matrix.argmax(0).tolist() == [1, 2, 0]


def test_codes_that_know_nothing_score_near_chance():
    factors = grid(repeats=40)
    codes = noise(len(factors), 6)
    assert mig(codes, factors).score < 0.01
    assert sap(codes, factors).score < 0.03
    scores = dci(codes, factors)
    assert scores.disentanglement < 0.15
    assert scores.completeness < 0.15
    assert scores.informativeness == pytest.approx((1 / 4 + 1 / 5 + 1 / 3) / 3, abs=0.04)
    votes = factor_vae_score(codes, factors)
    assert votes.chance == pytest.approx(1 / 3)
    assert votes.score == pytest.approx(votes.chance, abs=0.06)


def test_a_rotation_loses_the_axes_and_nothing_else():
    factors = grid()[:, [2, 0, 1]]
    straight = standardised(factors)
    # without noise the two latents would vary exactly alike where a factor is fixed
    turned = rotated(straight) + 0.02 * noise(len(factors), 3)
    assert linear_probe(turned, factors, turned, factors).accuracies[0] == 1
    for score, most in ((mig, 0.1), (sap, 0.2)):
        assert score(straight, factors).score > 0.75
        per_factor = score(turned, factors).per_factor
        assert per_factor[0] < most
        assert per_factor[1] < most
        assert per_factor[2] == pytest.approx(score(straight, factors).per_factor[2], abs=0.03)
    scores = dci(turned, factors)
    # two of three latents serve two of three factors alike: 1 - ln 2 / ln 3 each, and 1 for the third
    assert scores.disentanglement == pytest.approx((2 * (1 - math.log(2) / math.log(3)) + 1) / 3, abs=0.05)
    assert scores.completeness == pytest.approx((2 * (1 - math.log(2) / math.log(3)) + 1) / 3, abs=0.05)
    assert scores.informativeness > 0.99
    assert factor_vae_score(straight, factors).score == 1
    assert factor_vae_score(turned, factors).score == pytest.approx((1 / 2 + 1 / 2 + 1) / 3, abs=0.05)


def test_mutual_information_equals_a_sum_over_the_table():
    random = np.random.default_rng(3)
    a = random.integers(4, size=60)
    b = np.where(random.random(60) < 0.5, a, random.integers(7, size=60))
    by_hand = 0.0
    for i, j in itertools.product(range(4), range(7)):
        together = np.mean((a == i) & (b == j))
        if together:
            by_hand += together * math.log(together / (np.mean(a == i) * np.mean(b == j)))
    assert _mutual_information(a, b) == pytest.approx(by_hand, abs=1e-12)
    assert by_hand > 0.2


def test_mig_equals_the_definition_with_scikit_learn():
    from sklearn.metrics import mutual_info_score

    factors = grid(repeats=5)
    codes = rotated(standardised(factors), 0.3) + 0.4 * noise(len(factors), 3)
    gaps = {}
    for j, values in enumerate(factors.T):
        found = []
        for latent in codes.T:
            low, high = latent.min(), latent.max()
            bins = np.minimum(np.floor((latent - low) / (high - low) * 20), 19)
            found.append(mutual_info_score(values, bins))
        best, second = sorted(found)[:-3:-1]
        gaps[j] = (best - second) / math.log(SIZES[j])
    assert mig(codes, factors).per_factor == pytest.approx(gaps, abs=1e-9)
    assert mig(codes, factors).score == pytest.approx(np.mean(list(gaps.values())), abs=1e-9)


def test_a_latent_is_cut_into_twenty_bins_of_equal_width():
    latent = np.concatenate([np.arange(0.5, 20) / 20, [0.0, 1.0]])
    assert _binned(latent).tolist() == [*range(20), 0, 19]


def test_sap_is_the_gap_of_the_thresholds():
    factors = grid(repeats=600, sizes=(2, 2))
    # the first latent is right in nine of ten examples, the second in seven of ten, of the first factor
    codes = np.where(np.arange(len(factors))[:, None] // 4 % 10 < [9, 7], factors[:, :1], 1 - factors[:, :1])
    accuracy = sap(codes, factors).balanced_accuracy
    assert accuracy[:, 0].tolist() == pytest.approx([0.9, 0.7], abs=0.04)
    assert sap(codes, factors).per_factor[0] == pytest.approx(float(accuracy[0, 0] - accuracy[1, 0]))


def test_sap_gives_each_value_the_same_weight():
    # one of twenty examples has value 1: always saying 0 is nearly always right, and worth one half
    factors = np.stack([np.arange(8000) % 20 == 0, np.arange(8000) % 2], axis=1)
    codes = noise(8000, 2)
    codes[:, 0] += 2 * factors[:, 0]
    # two normal distributions, 2 deviations apart, are cut in the middle
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert sap(codes, factors).balanced_accuracy[:, 0].tolist() == pytest.approx([best, 0.5], abs=0.06)


def test_concentration_equals_one_less_the_entropy_of_scipy():
    from scipy.stats import entropy

    importance = np.random.default_rng(4).random((6, 3)) ** 4
    expected = np.average(1 - entropy(importance.T, base=3), weights=importance.sum(1))
    assert _concentration(importance) == pytest.approx(expected, abs=1e-12)
    assert _concentration(np.eye(3)) == 1
    assert _concentration(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    # a latent of no importance does not count
    assert _concentration(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.5]])) == 1
    assert _concentration(np.zeros((4, 3))) == 0


def test_noise_does_not_look_important_to_dci():
    factors = grid(repeats=40)
    codes = np.concatenate([standardised(factors) + 0.4 * noise(len(factors), 3), noise(len(factors), 5, seed=1)], 1)
    scores = dci(codes, factors)
    # forests of unlimited depth give about 0.5 here: they split noise until every leaf is pure
    assert scores.disentanglement > 0.95
    assert scores.completeness > 0.95
    assert 0.5 < scores.informativeness < 0.95
    assert scores.importance.sum(0).tolist() == pytest.approx([1, 1, 1])


def test_the_factor_vae_score_equals_a_plain_loop():
    factors = grid()
    codes = (rotated(standardised(factors), 0.7) + 0.3 * noise(len(factors), 3)) * [1.0, 0.2, 5.0]
    random = np.random.default_rng(5)
    votes = [np.zeros((3, 3)), np.zeros((3, 3))]
    for part in votes:
        for _ in range(2500):
            j = random.integers(3)
            rows = np.flatnonzero(factors[:, j] == factors[random.integers(len(factors)), j])
            batch = codes[random.choice(rows, 64)]
            part[np.argmin(batch.var(0, ddof=1) / codes.var(0, ddof=1)), j] += 1
    expected = votes[1][np.arange(3), votes[0].argmax(1)].sum() / 2500
    found = factor_vae_score(codes, factors)
    assert found.score == pytest.approx(expected, abs=0.03)
    assert found.votes.sum(0).tolist() == [10_000 // 3] * 3
    assert (found.votes.double() / found.votes.sum()).numpy() == pytest.approx(votes[0] / 2500, abs=0.03)


def test_latents_near_the_mean_of_the_prior_do_not_vote():
    factors = grid()
    codes = standardised(factors) * [0.049, 0.051, 1.0]
    found = factor_vae_score(codes, factors)
    assert found.pruned_latents == (0,)
    assert found.votes[0].sum() == 0
    # without its latent the first factor is taken for another
    assert found.score == pytest.approx(2 / 3, abs=0.01)


def test_a_value_that_occurs_once_is_not_held_fixed():
    factors = np.concatenate([grid(), [[9, 9, 9]]])
    # alone with its value the last example has no variance in any latent: the vote would go to the first
    assert factor_vae_score(standardised(factors)[:, ::-1], factors).votes.fliplr().tolist() == [
        [10_000 // 3 if i == j else 0 for j in range(3)] for i in range(3)
    ]


def test_votes_do_not_repeat_themselves():
    pieces = list(_least_varying(noise(900, 3), grid()[:, 0], 600, 0, "votes"))
    assert [len(piece) for piece in pieces] == [256, 256, 88]
    assert (pieces[0] != pieces[1]).any()


def numbers(result):
    found = [value for value in vars(result).values() if isinstance(value, (float, torch.Tensor))]
    found += list(getattr(result, "per_factor", {}).values())
    return torch.cat([torch.as_tensor(value, dtype=torch.float64).flatten() for value in found])


@pytest.mark.parametrize("score", SCORES)
def test_factors_of_one_value_and_constant_latents_are_left_out_and_named(score):
    factors = grid(repeats=5)
    codes = rotated(standardised(factors), 0.3) + 0.1 * noise(len(factors), 3)
    more_factors = np.insert(factors, 1, 4, axis=1)
    more_codes = np.insert(codes, 0, 0.25 + 1e-9 * noise(len(factors)), axis=1)
    plain, more = score(codes, more_factors), score(more_codes, more_factors)
    assert more.excluded_factors == plain.excluded_factors == (1,)
    assert getattr(more, "excluded_latents", getattr(more, "pruned_latents", None)) == (0,)
    assert torch.isfinite(numbers(more)).all()
    if score is not factor_vae_score:
        assert set(more.per_factor) == {0, 2, 3}
    if score is not dci:  # completeness is relative to the number of latents
        assert more.score == plain.score


@pytest.mark.parametrize("score", SCORES)
def test_collapsed_latents_score_nothing_and_are_no_error(score):
    result = score(torch.full((len(grid()), 4), 0.1), torch.from_numpy(grid()))
    assert torch.isfinite(numbers(result)).all()
    if score is dci:
        assert (result.disentanglement, result.completeness) == (0, 0)
        assert result.informativeness == pytest.approx((1 / 4 + 1 / 5 + 1 / 3) / 3, abs=0.06)
    else:
        assert result.score == 0


def test_a_single_latent_competes_with_one_that_says_nothing():
    factors = grid(sizes=(4, 5))
    codes = factors[:, :1].astype(np.float32)
    assert mig(codes, factors).per_factor == pytest.approx({0: 1.0, 1: 0.0}, abs=1e-12)
    assert sap(codes, factors).per_factor[0] == 1 - 1 / 4
    scores = dci(codes, factors)
    # the forest of the second factor has to split on the only latent there is
    assert scores.completeness == 1
    assert 0 <= scores.disentanglement < 0.1
    assert factor_vae_score(codes, factors).score == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("score", [sap, dci, factor_vae_score])
def test_the_seed_alone_decides(score):
    factors = grid(repeats=5)
    codes = rotated(standardised(factors), 0.6) + 0.5 * noise(len(factors), 3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = score(codes, factors, seed=1)
    torch.rand(3)
    again = score(torch.from_numpy(codes), torch.from_numpy(factors), seed=1)
    torch.set_rng_state(states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.equal(numbers(first), numbers(again))
    assert not torch.equal(numbers(first), numbers(score(codes, factors, seed=2)))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:, 0]), "two or more that vary, got 1 of 1"),
        (lambda x, y: (x, y * [1, 0, 0]), "two or more that vary, got 1 of 3"),
        (lambda x, y: (x, y + 0.5), "whole numbers"),
        (lambda x, y: (np.where(x > 1, np.inf, x), y), "not finite"),
        (lambda x, y: (x[:-1], y), "as many"),
        (lambda x, y: (x, np.stack([y[:, 0], np.arange(len(y))], 1)), "factor 1 has 900 values"),
    ],
)
def test_wrong_input_is_said_in_one_line(score, change, message):
    factors = grid()
    with pytest.raises(DataError, match=message) as error:
        score(*change(standardised(factors), factors))
    assert "\n" not in str(error.value)
