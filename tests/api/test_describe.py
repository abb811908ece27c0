from __future__ import annotations

import json

import numpy as np
import pytest

import lehr
from lehr.cli.main import main
from lehr.data import Digits


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_gives_what_the_command_prints(capsys):
    found = lehr.describe(data="digits", **{"data.binarize": "none", "seed": 5}, out="here.json")
    assert capsys.readouterr().out == ""
    assert main(["data", "data=digits", "data.binarize=none", "seed=5", "format=json", "out=there.json"]) == 0
    assert json.loads(capsys.readouterr().out) == found.plain()
    with open("here.json") as here, open("there.json") as there:
        assert here.read() == there.read()


def test_the_numbers_are_attributes():
    found = lehr.describe("data=digits")
    assert found.n == {"train": 1294, "val": 144, "test": 359}
    assert repr(found) == "<Survey digits: train 1,294, val 144, test 359 images of 1 x 8 x 8; print() it>"
    assert (found.shape, found.levels, found.suggestion.words[0]) == ((1, 8, 8), 17, "likelihood=bernoulli")


def test_images_and_data_modules_are_given_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 5), dtype=np.uint8)
    images[7] = images[8]
    found = lehr.describe(data=images, labels=np.arange(60) % 3, **{"data.val_fraction": 0.2})
    assert sum(found.n.values()) == 60
    assert found.suggestion.words == ("likelihood=discretized_logistic", "data.binarize=none")
    assert (found.equal.n_groups, found.factors[0].values) == (1, (0, 1, 2))
    common = {"batch_size": 10, "eval_batch_size": 10, "val_fraction": 0.2, "binarize": "none", "seed": 0}
    assert lehr.describe(data=Digits(**common)).n["test"] == 359


def test_what_is_wrong_with_given_images_is_said():
    with pytest.raises(lehr.DataError, match="NaN"):
        lehr.describe(data=np.full((20, 4, 4), np.nan))
    with pytest.raises(lehr.ConfigError, match=r"data\.val_fraction=2"):
        lehr.describe(data=np.zeros((20, 4, 4), bool), **{"data.val_fraction": 2})


def test_all_mistakes_are_in_one_exception():
    with pytest.raises(lehr.ConfigError) as caught:
        lehr.describe(data="digits", **{"data.test_fraction": 2, "kl.weight": 1})
    assert [problem.partition("=")[0] for problem in caught.value.problems] == ["kl.weight", "data.test_fraction"]
    with pytest.raises(lehr.ConfigError, match="format: is for the command"):
        lehr.describe(data="digits", format="json")


def test_a_notebook_shows_picture_and_table():
    shown = lehr.describe(data="digits")._repr_html_()
    assert shown.startswith('<img src="data:image/png;base64,')
    assert "likelihood=discretized_logistic likelihood.levels=17" in shown
    assert "<script" not in shown
