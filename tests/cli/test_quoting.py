"""Paths with characters that mean something to the shell or to Hydra."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lehr.cli.overrides import parsed

AWKWARD = "ünï çödé, a=b (1) {x} #~"


@pytest.mark.parametrize("path", ["a b", "x:y", "x%y*z", "x+y@z", "2026-01-01", "./123"])
def test_a_path_without_commas_and_the_like_needs_no_quotes_of_its_own(path):
    (override,), problems = parsed([f"dir={path}"], multirun=False)
    assert (override.value(), problems) == (path, [])


@pytest.mark.parametrize("text", ["a,b", "a=b", "ünï", "x(y)", "{x}y", "~/x", "x#y", "x&y", "[a", "it's", " a,b "])
def test_a_path_that_hydra_cannot_read_is_refused_with_what_would_work(text):
    overrides, (line,) = parsed([f"dir={text}"], multirun=False)
    assert overrides == []
    assert line.startswith(f"dir={text}: ")
    assert line.endswith("if the value is one string, quote it twice: dir=\"'...'\"")
    escaped = text.replace("'", "\\'")
    (override,), problems = parsed([f"dir='{escaped}'"], multirun=False)
    assert (override.value(), problems) == (text, [])


def test_awkward_paths_work_in_every_key_that_takes_one(finished_run, lehr, trainings):
    folder = Path(AWKWARD)
    folder.mkdir()
    np.save(folder / "x.npy", np.zeros((20, 8, 8), np.uint8))
    shutil.copytree(finished_run, folder / "run")
    data = ("data=arrays", f"data.path='{folder}/x.npy'")
    assert lehr("train", *data, f"dir='{folder}/new'")[0] == 0
    assert lehr("train", f"resume='{folder}/run'", "trainer.max_epochs=9")[0] == 0
    assert [t.path for t in trainings] == [folder / "new", folder / "run"]
    assert trainings[0].config["data"]["path"] == f"{folder}/x.npy"
    code, out, err = lehr("sample", f"run='{folder}/run'", f"out='{folder}/ü, a=b.png'", "n=1")
    assert (code, out, err) == (0, f"{folder}/ü, a=b.png\n", "")


def test_a_sweep_over_paths_with_commas(lehr, trainings):
    for name in ("a,b", "c d"):
        Path(name).mkdir()
        np.save(f"{name}/x.npy", np.zeros((20, 8, 8), np.uint8))
    code, _, err = lehr("train", "-m", "data=arrays", "data.path='a,b/x.npy','c d/x.npy'", "hydra.sweep.dir=grid")
    assert (code, err) == (0, "")
    assert [t.config["data"]["path"] for t in trainings] == ["a,b/x.npy", "c d/x.npy"]
