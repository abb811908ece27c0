"""The linear probe: it is scikit-learn's, and it says what it left out and what it could not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lehr.errors import DataError
from lehr.evaluation.representation import linear_probe, require_labels


def blobs(n=300, d=4, classes=3, spread=0.7):
    """Classes that overlap: codes (n, d) and labels (n,)."""
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=n)
    return random.normal(size=(classes, d))[labels] + spread * random.normal(size=(n, d)), labels


@pytest.mark.slow
def test_the_probe_equals_scikit_learn_on_the_pixels_of_the_digits():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_digits(return_X_y=True)
    train, test = np.arange(1200), np.arange(1200, len(x))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, tol=1e-6)).fit(x[train], y[train])
    # float32, as the posterior means are
    ours = linear_probe(torch.from_numpy(x[train]).float(), torch.from_numpy(y[train]), x[test], y[test])
    assert ours.accuracy == pytest.approx(theirs.score(x[test], y[test]), abs=0.003)
    assert ours.accuracy > 0.88
    # pixels in the corners are always black
    assert ours.excluded_latents == tuple(np.flatnonzero(np.ptp(x[train], axis=0) == 0))
    assert len(ours.excluded_latents) > 0


def test_held_out_codes_are_standardised_by_the_training_data():
    codes, labels = np.array([[-1.0], [1.0]] * 20), np.array([0, 1] * 20)
    assert linear_probe(codes, labels, codes, labels).accuracy == 1
    # by their own mean they would still be told apart
    assert linear_probe(codes, labels, codes + 10, labels).accuracy == 0.5


def test_the_scale_of_a_latent_does_not_matter():
    codes, labels = blobs()
    scaled = 5 + codes * [1e3, 1e-3, -1.0, 7.0]
    found = [linear_probe(x[:200], labels[:200], x[200:], labels[200:]).accuracy for x in (codes, scaled)]
    assert found[0] == found[1]
    assert 0.5 < found[0] < 1


def test_the_baseline_says_the_commonest_training_value():
    codes = np.arange(10.0)[:, None]
    train, test = np.array([2, 2, 2, 2, 5, 5, 5, 7, 7, 7]), np.array([5, 5, 5, 5, 5, 5, 5, 2, 2, 7])
    assert linear_probe(codes, train, codes, test).baseline == 0.2


def test_each_factor_has_its_probe_and_those_with_one_value_are_named():
    codes, labels = blobs(n=400)
    random = np.random.default_rng(1).integers(2, size=400)
    factors = np.stack([labels, np.full(400, 3), random], axis=1)
    several = linear_probe(codes[:300], factors[:300], codes[300:], factors[300:])
    alone = linear_probe(codes[:300], labels[:300], codes[300:], labels[300:])
    assert several.excluded_factors == (1,)
    assert set(several.accuracies) == set(several.baselines) == {0, 2}
    assert several.accuracies[0] == alone.accuracy
    assert several.accuracy == pytest.approx((several.accuracies[0] + several.accuracies[2]) / 2)
    assert several.accuracies[2] == pytest.approx(several.baselines[2], abs=0.1)


def test_latents_that_vary_by_rounding_alone_are_left_out():
    codes, labels = blobs()
    # a collapsed latent of a float32 network: without this it is blown up to unit variance
    rounding = 0.3 + 1e-8 * np.random.default_rng(2).normal(size=(300, 1))
    whole = np.concatenate([codes[:, :2], rounding, codes[:, 2:], np.zeros((300, 1))], axis=1)
    probe = linear_probe(whole[:200], labels[:200], whole[200:], labels[200:])
    assert probe.excluded_latents == (2, 5)
    assert probe.accuracy == linear_probe(codes[:200], labels[:200], codes[200:], labels[200:]).accuracy


def test_collapsed_latents_give_the_baseline():
    codes, labels = np.full((300, 4), 0.1, dtype=np.float32), blobs()[1]
    probe = linear_probe(codes[:200], labels[:200], codes[200:], labels[200:])
    assert probe.accuracy == probe.baseline > 0
    assert probe.excluded_latents == (0, 1, 2, 3)


def test_a_latent_map_is_flattened_and_any_type_is_taken():
    codes, labels = blobs()
    codes = torch.from_numpy(codes).to(torch.bfloat16)
    flat = linear_probe(codes[:200], labels[:200], codes[200:], labels[200:])
    maps = codes.reshape(-1, 1, 2, 2)
    assert linear_probe(maps[:200], labels[:200], maps[200:].double().numpy(), labels[200:]) == flat


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:, 0], y, x, y), "codes"),
        (lambda x, y: (x, y[:-1], x, y), "as many"),
        (lambda x, y: (x, y + 0.5, x, y), "whole numbers"),
        (lambda x, y: (x, y, np.where(x > 1, np.nan, x), y), "not finite"),
        (lambda x, y: (x, y, x[:, :2], y), "4 latents.*have 2"),
        (lambda x, y: (x, y, x, np.stack([y, y], 1)), "1 factors"),
        (lambda x, y: (x, 0 * y, x, y), "single value"),
        (lambda x, y: (x[:0], y[:0], x, y), "as many"),
    ],
)
def test_wrong_input_is_said_in_one_line(change, message):
    with pytest.raises(DataError, match=message) as error:
        linear_probe(*change(*blobs()))
    assert "\n" not in str(error.value)


def test_labels_asked_of_data_without_labels_are_refused_by_name():
    with pytest.raises(DataError, match="pixel_art has no labels") as error:
        require_labels(None, "pixel_art")
    assert "\n" not in str(error.value)
    labels = torch.arange(3)
    assert require_labels(labels, "digits") is labels
