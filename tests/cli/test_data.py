from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lehr.api.describe import checked
from lehr.cli.data import training
from lehr.compose.components import run_problems
from lehr.compose.composer import Command, composed
from lehr.config.given import named
from lehr.config.registry import conf_dir


def words_to_train(out: str) -> list[str]:
    """What stands behind `lehr train` in the table."""
    return shlex.split(re.search(r"^ +to train +lehr train (.+)$", out, re.MULTILINE)[1])


def test_the_table_goes_to_standard_output_and_the_picture_to_a_folder(lehr):
    code, out, err = lehr("data")
    assert (code, err) == (0, "")
    assert "train 1,294   val 144   test 359" in out
    assert out.splitlines()[-2].strip() == "outputs/data/digits.png"
    with Image.open("outputs/data/digits.png") as picture:
        assert picture.width == 1120


def test_the_command_that_it_gives_is_one_that_trains_on_these_data(lehr):
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8))
    _, out, _ = lehr("data", "data=arrays", "data.path=images.npy", "data.binarize=dynamic", "out=x.png")
    words = words_to_train(out)
    assert words == ["data=arrays", "data.path=images.npy", "likelihood=discretized_logistic", "data.binarize=none"]
    config, problems = composed(Command("train", None, words))
    assert problems == run_problems(config.values) == []


def test_words_are_typed_as_a_shell_takes_them():
    assert training(["data=images", "data.path='a b'", "out=x.png"], ["likelihood=gaussian"]) == (
        "lehr train data=images 'data.path='\"'\"'a b'\"'\"'' likelihood=gaussian"
    )


def test_json_is_all_that_is_printed(lehr):
    code, out, err = lehr("data", "format=json", "out=numbers.json")
    assert (code, err) == (0, "numbers.json\n")
    found = json.loads(out)
    assert found["splits"]["train"]["n"] == 1294
    assert json.loads(Path("numbers.json").read_text()) == found


@pytest.mark.parametrize("name", ["x.png", "x.json"])
def test_a_file_of_anyone_else_s_is_not_replaced(lehr, refused, name):
    Path(name).write_text('{"a": "file"}')
    assert refused("data", f"out={name}") == [
        f"out={name}: is there, and lehr data has not made it; choose another name, or remove it"
    ]
    Path(name).unlink()
    for _ in range(2):
        assert lehr("data", f"out={name}")[0] == 0


def test_the_usual_place_is_another_one_where_a_file_is(lehr):
    Path("outputs/data").mkdir(parents=True)
    Path("outputs/data/digits.png").write_text("of somebody")
    for _ in range(2):
        _, out, _ = lehr("data")
        assert out.splitlines()[-2].strip() == "outputs/data/digits-2.png"
    assert Path("outputs/data/digits.png").read_text() == "of somebody"


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["data=imges"], ["data=imges: there is no such choice; did you mean images?"]),
        (["data=images"], ["data.path: is missing; say data.path=PATH"]),
        (["data=images", "data.path=/nowhere"], ["data.path: there is no folder /nowhere"]),
        (["kl.weight=2"], ["kl.weight=2: is for lehr train; lehr data takes what is said of the data"]),
        (["-m"], ["-m: lehr data takes one data set at a time"]),
        (
            ["experiment=mnist", "model=conv", "data.test_fraction=2", "out=x.gif", "format=xml", "seed=-1"],
            [
                "experiment=mnist: is for lehr train; lehr data takes what is said of the data",
                "model=conv: is for lehr train; lehr data takes what is said of the data",
                "seed=-1: must be greater than or equal to 0",
                "format=xml: must be 'table' or 'json'",
                "data.test_fraction=2: must be less than 1",
                "out=x.gif: must end in .png for the picture or .json for the numbers",
            ],
        ),
    ],
)  # fmt: skip
def test_mistakes_are_a_line_each_all_at_once(refused, words, lines):
    assert refused("data", *words) == lines


def test_data_that_cannot_be_read_are_a_line(refused):
    np.save("images.npy", np.full((20, 4, 4), np.nan))
    assert refused("data", "data=arrays", "data.path=images.npy") == [
        "images.npy holds NaN or infinity in 20 of 20 images, first in image 0"
    ]


def test_the_values_in_its_help_are_those_of_the_configuration(lehr):
    _, out, _ = lehr("data", "--help")
    config = checked(Command("describe", None, []))
    shown = dict(re.findall(r"^  (seed|format)=(\S+)", out, re.MULTILINE))
    assert {key: yaml.safe_load(value) for key, value in shown.items()} == {key: config[key] for key in shown}
    assert len(shown) == 2
    names = named("data", sorted(path.stem for path in (conf_dir() / "data").glob("[!_]*.yaml")))
    assert f"  data  {', '.join(names)}" in out
    assert config.keys() - shown.keys() == {"data", "out", "trust", "debug"}
    examples = re.findall(r"^  lehr data (.+)$", out.partition("Examples:\n")[2], re.MULTILINE)
    Path("photos").mkdir()
    Path("images.npz").touch()
    for example in examples:
        assert checked(Command("describe", None, example.split()))["data"]["_target_"]
    assert len(examples) == 3


def test_the_command_of_a_folder_with_damage_trains_without_it(lehr):
    Path("photos").mkdir()
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f"photos/{i}.png")
    words = ("data=images", "data.path=photos", "data.size=8", "data.workers=0")
    assert "data.on_corrupt=skip" not in words_to_train(lehr("data", *words)[1])
    Path("photos/x.png").touch()
    assert words_to_train(lehr("data", *words)[1])[-1] == "data.on_corrupt=skip"
    assert words_to_train(lehr("data", *words, "data.on_corrupt=skip")[1]).count("data.on_corrupt=skip") == 1


def test_where_nothing_can_be_written_is_said_before_the_data_are_looked_at(refused):
    Path("file").touch()
    (line,) = refused("data", "data=images", "data.path=.", "out=file/deep/x.png")
    assert line == f"out=file/deep/x.png: {Path('file').absolute()} is no folder"
    assert refused("data", "out=") == ["out=: must not be empty"]
