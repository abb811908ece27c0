from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lehr.cli.sample import _HEEDED_BY
from lehr.compose.composer import Command, composed


@pytest.fixture
def run(finished_run) -> Path:
    shutil.copytree(finished_run, "run")
    return Path("run")


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("", ["run: is missing; say run=PATH"]),
        ("run=", ["run=: must not be empty"]),
        (
            "rum=x method=priro n=0 seed=-1 covariance=ful from=-1 steps=1",
            [
                "rum: unknown key; did you mean run?",
                "run: is missing; say run=PATH",
                "method=priro: must be 'prior', 'aggregate', 'aggregate_full', 'mixture', 'two_stage' or 'interpolate'",
                "n=0: must be greater than 0",
                "seed=-1: must be greater than or equal to 0",
                "covariance=ful: must be 'diag' or 'full'",
                "from=-1: must be greater than or equal to 0",
                "steps=1: must be greater than or equal to 2",
            ],
        ),
        ("run=x data=digits", ["data: unknown key"]),
        ("run=x out=a.jpg", ["out=a.jpg: must end in .png or .npy"]),
        ("run=x out=.png", ["out=.png: must end in .png or .npy"]),
        ("run=nowhere", ["nowhere: there is no such directory"]),
        ("run=file", ["file: is not a run directory: it has no config.yaml"]),
        ("run=.", [".: is not a run directory, but holds some; say one of them, such as run"]),
        (
            "run=run from=3 to=8 covariance=full method=prior",
            [
                "from=3: method=prior does not heed it; say method=interpolate",
                "to=8: method=prior does not heed it; say method=interpolate",
                "covariance=full: method=prior does not heed it; say method=aggregate",
            ],
        ),
        ("run=run out=file/x.png", ["out=file/x.png: cannot be written (File exists)"]),
        (
            "run=run method=interpolate from=100000",
            ["digits: there is no test image 100000, they are 0 to 358"],
        ),
    ],
)
def test_a_mistake_is_one_line(run, refused, arguments, lines):
    Path("file").write_text("x")
    assert sorted(refused("sample", *arguments.split())) == sorted(lines)


def test_a_run_that_is_not_finished_is_one_line(run, refused):
    shutil.rmtree(run / "model")
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    assert refused("sample", "run=run") == [
        "run: has no model/; it is interrupted: finish it with lehr train resume=run"
    ]


def test_a_model_of_a_class_that_is_not_trusted_is_not_built(run, refused):
    path = run / "model" / "config.json"
    config = json.loads(path.read_text())
    config["model"]["_target_"] = "os.system"
    path.write_text(json.dumps(config))
    (line,) = refused("sample", "run=run")
    assert line.startswith("run/model: model._target_=os.system: only classes of lehr, torch, lightning, diffusers are")


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ("", ["run/samples/aggregate-seed0.png"]),
        ("covariance=full", ["run/samples/aggregate_full-seed0.png"]),
        ("method=prior seed=3", ["run/samples/prior-seed3.png"]),
        (
            "method=interpolate from=3 to=8",
            ["run/samples/interpolate-3-8.png", "run/samples/interpolate-3-8.gif"],
        ),
        ("out=new/x.PNG n=2", ["new/x.PNG"]),
    ],
)
def test_the_files_that_are_written_are_printed(run, lehr, arguments, files):
    assert lehr("sample", "run=run", *arguments.split()) == (0, "".join(f"{name}\n" for name in files), "")
    for name in files:
        with Image.open(name) as image:
            image.verify()


def test_the_same_seed_gives_the_same_images_and_another_gives_others(run, lehr):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert lehr("sample", "run=run", "n=3", f"seed={seed}", f"out={name}.npy")[0] == 0
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert a.shape == (3, 1, 8, 8)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_debug_gives_the_traceback(lehr):
    assert "Traceback" not in lehr("sample", "run=nowhere")[2]
    _, _, err = lehr("sample", "run=nowhere", "debug=true")
    assert "Traceback" in err
    assert err.splitlines()[-1] == "lehr sample: nowhere: there is no such directory"


def test_the_values_with_which_nothing_is_asked_for_are_the_defaults():
    made, problems = composed(Command("sample", None, ["run=x"]))
    assert made is not None, problems
    assert {key: default for key, (default, _) in _HEEDED_BY.items()} == {key: made.values[key] for key in _HEEDED_BY}
