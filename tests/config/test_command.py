"""The words of a configuration: composed, they give it back."""

from __future__ import annotations

import shlex

import pytest

from lehr.compose.composer import Command, composed
from lehr.config.command import train_command, train_words, written
from lehr.run.identity import differing, parts


def values_of(words):
    config, problems = composed(Command("train", None, list(words)))
    assert problems == []
    return config.values


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("experiment=iwae_mnist", "data.seed=7", "evaluate=full", "kl.warmup=0.2", "kl.unit=fraction"),
        (
            "data=arrays", r"data.path='/it\'s a=b,[c].npz'", "likelihood=gaussian", "likelihood.scale=1e-05",
            "model=conv", "model.channels=[4,8]", "kl=free_bits", "prior=vamp", "optimizer=adamw",
            "optimizer.freeze=['model.encoder.*','~x']", "+optimizer.amsgrad=true", "ema.decay=0.99",
            "callbacks.early_stopping.patience=5", "callbacks.samples=null", "logger=none", "trainer.max_epochs=null",
            "trainer.max_steps=7", "export.weights=best", "compile=true",
        ),
        ("terms=[magnitude,adversarial]", "terms.adversarial.loss=vanilla", "terms.magnitude.start=0.5"),
    ],
    ids=len,
)  # fmt: skip
def test_the_words_of_a_configuration_give_it_back(words):
    config = values_of(words)
    again = values_of(train_words(config))
    assert differing(parts(config), parts(again)) == []
    assert again["evaluate"] == config["evaluate"]


def test_what_is_to_be_changed_is_all_that_changes():
    config = values_of(["kl.warmup=3", "kl.weight=4", "model.latent_dim=5"])
    longer = values_of(shlex.split(train_command(config, ["kl.warmup=8"]))[2:])
    assert differing(parts(config), parts(longer)) == ["kl.warmup"]
    freed = train_words(config, ["kl=free_bits", "kl.weight=4"])
    assert [word for word in freed if word.startswith("kl")] == ["kl=free_bits", "kl.weight=4"]
    assert "model.latent_dim=5" in freed


def test_several_components_are_told_by_their_names():
    words = ["terms=[laplacian,magnitude]", "terms.magnitude.weight=0.5", "logger=csv"]
    assert sorted(train_words(values_of(words))) == sorted(words)


def test_words_that_only_the_user_knows_are_left_to_them():
    config = {"model": {"_target_": "mine.Model"}, "kl": {}}
    assert train_words(config) is None
    assert train_command(config, ["kl.warmup=8"]) == "lehr train ... kl.warmup=8"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (3, "3"), (1e-5, "1e-05"), ("adam", "adam"), ("true", "'true'"), ("1", "'1'"),
        ("a b", "'a b'"), ("it's", r"'it\'s'"), ("end\\", r"'end\\'"), ([1, "x", [None]], "[1,x,[null]]"),
        ({"a": 1}, "{a:1}"), ("", "''"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_it_is_typed(value, text):
    assert written(value) == text
