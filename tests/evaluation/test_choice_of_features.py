"""Which features are taken where nothing is asked for: a classifier has to have learned something."""

from __future__ import annotations

import pytest
import torch

from lehr import randomness
from lehr.evaluation import classifier
from lehr.evaluation.classifier import Description
from lehr.evaluation.features import choose_features, nothing_learned


@pytest.fixture
def short(monkeypatch):
    """Trainings of a moment."""
    monkeypatch.setattr(classifier, "_STEPS", 30)
    monkeypatch.setattr(classifier, "_BATCH", 32)


@pytest.fixture(autouse=True)
def _no_inception(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def images_of(n):
    return randomness.uniform(5, "test", 0, (n, 1, 8, 8))


@pytest.mark.parametrize("common", [0.0, 0.9])
def test_a_classifier_no_better_than_naming_the_commonest_class_is_passed_over(short, tmp_path, common):
    images, n = images_of(300), 300  # of noise, and labels that have nothing to do with it
    labels = torch.randint(10, (n,), generator=torch.Generator().manual_seed(0))
    labels[: int(common * n)] = 0
    features = choose_features("auto", [(images, labels)], cache=tmp_path)
    assert features.name == "pca"
    assert "; not a classifier: its accuracy on 30 held-out images, " in features.note
    asked_for = choose_features("classifier", [(images, labels)], cache=tmp_path)
    assert asked_for.name == "classifier"
    assert "; beware: its accuracy on 30 held-out images, " in asked_for.note


def test_why_there_is_no_classifier_is_said(tmp_path):
    note = choose_features("auto", [(images_of(20), torch.ones(20))], cache=tmp_path).note
    assert note.endswith("; not a classifier: all images have the same label, so there is nothing to learn")


@pytest.mark.parametrize(
    ("accuracy", "held_out", "learned"),
    [
        ((0.0,), 6, False),
        ((0.5,), 100, False),
        ((0.59,), 100, False),  # of two equally frequent classes the deviation of 100 guesses is 0.05
        ((0.61,), 100, True),
        ((1.0,), 6, True),
        ((1.0,), 3, False),  # three guesses may all be right
        ((0.5, 0.9), 100, True),  # one factor is enough
        ((0.5, 0.5), 100, False),
    ],
)
def test_what_was_learned_is_more_than_two_standard_errors(accuracy, held_out, learned):
    description = Description((1, 8, 8), (2,) * len(accuracy), accuracy, held_out)
    labels = torch.arange(40)[:, None].expand(40, len(accuracy)) % 2
    assert (nothing_learned(description, labels) is None) == learned
