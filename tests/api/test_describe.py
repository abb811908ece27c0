from __future__ import annotations

import json

import pytest

import lehr
from lehr.cli.main import main


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
    assert (found.shape, found.levels, found.suggestion.words[0]) == ((1, 8, 8), 17, "likelihood=bernoulli")


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
