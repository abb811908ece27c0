"""A path means where it led when it was typed: from whatever folder the run is looked at afterwards."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lehr.compose.composer import Command, composed
from lehr.config.places import located, path_keys
from lehr.errors import ConfigError
from lehr.paths import absolute, expanded
from lehr.sweeps.directory import SweepDirectory
from lehr.sweeps.point import Point
from lehr.training.preflight import combination_problems

QUICK = ("kl=constant", "evaluate=none", "model.hidden=[8]", "logger=none", "callbacks.samples=null",
         "trainer.max_epochs=1", "data=arrays", "likelihood=gaussian")  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home with `pixels.npy` in it; the folder where commands run has other `pixels.npy`."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for folder, seed in ((home, 1), (Path(), 0)):
        np.save(folder / "pixels.npy", np.random.default_rng(seed).integers(0, 256, (40, 4, 4), dtype=np.uint8))
    return home


def test_a_path_is_expanded_and_made_absolute(home):
    assert expanded("~/a") == home / "a"
    assert expanded("a/~/b") == Path("a/~/b")
    assert absolute("~") == str(home)
    assert absolute("a/../b") == str(Path.cwd() / "a" / ".." / "b")  # `a` may be a link
    assert absolute("/x/y") == "/x/y"
    with pytest.raises(
        ConfigError, match=r"^~nobody-here/x: there is no user nobody-here; a folder of that name is \./~"
    ):
        absolute("~nobody-here/x")


@pytest.mark.parametrize("typed", ["pixels.npy", "./pixels.npy", "~/pixels.npy"])
def test_data_are_kept_with_an_absolute_path(lehr, trainings, home, typed):
    assert lehr("train", *QUICK, f"data.path={typed}", "dir=run")[0] == 0
    (training,) = trainings
    assert training.config["data"]["path"] == absolute(typed)
    assert training.config["dir"] == str(Path("run").absolute())


def test_every_path_of_every_data_set_is(lehr, trainings):
    Path("photos").mkdir()
    words = ("data=images", "data.path=photos", "data.test_path=.", "dir=run")
    assert lehr("train", *words, "likelihood=gaussian")[0] == 0
    assert lehr("train", "data=mnist", "data.root=here", "dir=run")[0] == 0
    here = str(Path.cwd())
    assert trainings[0].config["data"]["path"] == f"{here}/photos"
    assert trainings[0].config["data"]["test_path"] == here
    assert trainings[1].config["data"]["root"] == f"{here}/here"


OWN = """
from pathlib import Path
from typing import Any
from lehr.data import Digits
from lehr.limits import PathString

class Mine(Digits):
    def __init__(self, folder: PathString, other: Path | None = None, path: str = "", name: str = "", **common: Any):
        super().__init__(**common)
        self.folder, self.other, self.path, self.name = folder, other, path, name
"""


def test_the_paths_of_a_users_own_class_are_those_that_it_says(tmp_path, monkeypatch):
    Path("owndata.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    node = {"_target_": "owndata.Mine", "folder": "a", "other": None, "path": "b", "name": "c"}
    config = {"data": node, "trust": ["owndata"]}
    assert set(path_keys(config)) == {"data.folder", "data.path"}
    assert located(config)["data"] == node | {"folder": absolute("a"), "path": absolute("b")}
    assert node["folder"] == "a"  # what is given is not changed
    assert list(path_keys(config | {"trust": []})) == []
    sys.modules.pop("owndata")


PATTERNED = """
from typing import Any
from lehr.data import ImageFolder
from lehr.limits import PathPattern

class Patterned(ImageFolder):
    def __init__(self, path: PathPattern | None = None, **common: Any):
        super().__init__(path=path, **common)
"""


def test_a_path_may_be_a_pattern_where_its_class_says_so(monkeypatch):
    Path("patterned.py").write_text(PATTERNED)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in ("a-0.tar", "a-1.tar"):
        Path(name).touch()

    def problems(*words):
        return combination_problems(composed(Command("train", None, ["likelihood=gaussian", *words]))[0].values)

    for words in (["data=shards"], ["data=images", "data._target_=patterned.Patterned", "trust=[patterned]"]):
        assert problems(*words, "data.path='a-{0..1}.tar'") == []
        assert problems(*words, "data.path='a-{1..2}.tar'") == [f"data.path: there is no shard {absolute('a-2.tar')}"]
    assert problems("data=images", "data.path='a-*.tar'") == ["data.path=a-*.tar: there is no such file or folder"]
    sys.modules.pop("patterned")


@pytest.mark.slow
def test_nothing_is_ever_called_tilde(lehr, home):
    for words in (
        ("dir=~/one",),
        ("hydra.run.dir=~/two",),
        ("-m", "seed=0,1", "hydra.sweep.dir=~/sw", "pool.workers=1"),
    ):
        code, _, err = lehr("train", *words, *QUICK, "data.path=~/pixels.npy")
        assert code == 0, err
    assert lehr("train", "resume=~/one", "trainer.max_epochs=2")[0] == 0
    assert lehr("evaluate", "run=~/one", "level=quick", "data.path=~/pixels.npy")[0] == 0
    assert lehr("sample", "run=~/one", "out=~/sampled.png", "n=2")[0] == 0
    code, _, err = lehr("results", "~/sw", "out=~/table.md")
    assert code == 0, err
    assert {path.name for path in home.iterdir()} == {"pixels.npy", "one", "two", "sw", "sampled.png", "table.md"}
    assert sum(path.is_dir() for path in (home / "sw").iterdir()) == 2
    assert not Path("~").exists()
    assert yaml.safe_load((home / "two" / "config.yaml").read_text())["dir"] == str(home / "two")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "dir=~nobody-here/x"),
        ("train", "hydra.run.dir=~nobody-here/x"),
        ("train", "resume=~nobody-here/x"),
        ("train", "data=arrays", "likelihood=gaussian", "data.path=~nobody-here/x"),
        ("train", "data=mnist", "data.root=~nobody-here/x"),
        ("train", "-m", "seed=0,1", "hydra.sweep.dir=~nobody-here/x"),
        ("train", "--config-dir", "~nobody-here/x"),
        ("evaluate", "run=~nobody-here/x"),
        ("evaluate", "run=y", "data.path=~nobody-here/x"),
        ("sample", "run=y", "out=~nobody-here/x.png"),
        ("results", "~nobody-here/x"),
        ("results", "y", "out=~nobody-here/x.md"),
    ],
)
def test_the_home_of_nobody_is_one_line(refused, words):
    (line,) = refused(*words)
    assert "~nobody-here/x" in line
    assert "there is no user nobody-here" in line


def test_a_run_is_resumed_and_evaluated_from_another_folder_with_its_own_data(lehr, monkeypatch, home):
    assert lehr("train", *QUICK, "data.path=pixels.npy", "dir=run")[0] == 0
    run = str(Path("run").absolute())
    monkeypatch.chdir(home)  # where other pixels have the same name
    assert lehr("evaluate", f"run={run}", "level=quick")[0] == 0
    assert lehr("train", f"resume={run}", "trainer.max_epochs=2")[0] == 0
    code, _, err = lehr("train", f"resume={run}", "trainer.max_epochs=3", "data.path=pixels.npy")
    assert code == 1
    assert "not the data that the run was trained on" in err


def sweep(lehr, *words: str) -> tuple[int, str, str]:
    return lehr("train", "-m", *QUICK, "seed=0,1", "pool.workers=1", *words)


@pytest.mark.slow
def test_the_same_words_in_another_folder_are_another_sweep(lehr, monkeypatch, home):
    there = str(Path("sweep").absolute())
    assert sweep(lehr, "data.path=pixels.npy", f"hydra.sweep.dir={there}")[0] == 0
    configs = [json.loads(path.read_text())["config"] for path in Path("sweep").glob("*/point.json")]
    assert {config["data"]["path"] for config in configs} == {str(Path("pixels.npy").absolute())}
    code, _, err = sweep(lehr, "data.path=pixels.npy", f"hydra.sweep.dir={there}")
    assert code == 0
    assert "2 runs: 2 done" in err
    before = str(Path("pixels.npy").absolute())
    monkeypatch.chdir(home)
    code, _, err = sweep(lehr, "data.path=pixels.npy", f"hydra.sweep.dir={there}")
    assert code == 2
    assert f"data.path={home}/pixels.npy: is {before} in this sweep; " in err


@pytest.mark.slow
def test_swept_paths_are_absolute_and_named_by_their_ends(lehr):
    Path("b.npy").write_bytes(Path("pixels.npy").read_bytes())
    code, _, err = lehr("train", "-m", *QUICK, "data.path=pixels.npy,b.npy", "hydra.sweep.dir=sweep", "pool.workers=1")
    assert code == 0, err
    names = sorted(path.name.rpartition("-")[0] for path in Path("sweep").iterdir() if path.is_dir())
    assert names == ["path=b.npy", "path=pixels.npy"]
    points = [Point.read(path.parent) for path in Path("sweep").glob("*/point.json")]
    assert {point.swept["data.path"] for point in points} == {absolute("pixels.npy"), absolute("b.npy")}


@pytest.mark.slow
@pytest.mark.parametrize("where", [(), ("hydra.sweep.dir=sweep",)])
def test_a_sweep_that_an_earlier_version_began_goes_on_with_its_relative_paths(lehr, monkeypatch, where):
    with monkeypatch.context() as earlier:
        earlier.setattr("lehr.compose.recipe.located", lambda values: values)
        assert sweep(lehr, "data.path=pixels.npy", *where)[0] == 0
    (record,) = Path().glob("**/sweep.yaml")
    found = yaml.safe_load(record.read_text())
    del found["paths"]
    record.write_text(yaml.safe_dump(found))
    assert found["constant"]["data.path"] == "pixels.npy"
    code, _, err = lehr("train", "-m", *QUICK, "seed=0,1,2", "pool.workers=1", "data.path=pixels.npy", *where)
    assert code == 0
    assert "3 runs: 2 done, 1 waiting" in err
    assert f"note: {record.parent}: was begun by an earlier version, with paths from this folder\n" in err
    assert list(Path().glob("**/sweep.yaml")) == [record]
    assert SweepDirectory(record.parent).keeps_paths_as_typed()
    one = next(record.parent.glob("*/point.json")).parent
    code, _, err = lehr("train", f"resume={one}", "evaluate=quick")
    assert code == 0, err
    assert os.path.exists(one / "evaluation.json")
