"""Paths with characters that mean something to the shell or to Hydra."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lehr.compose.composer import Command
from lehr.compose.grid import grid
from lehr.compose.overrides import line, parsed

AWKWARD = "ünï çödé, a=b (1) {x} #~"


RUN = "outputs/x/weight=0.1,warmup=5,seed=0-3fa9c1d2e0"
PATHS = [
    *(RUN, "a b", "x:y", "x%y*z", "x+y@z", "2026-01-01", "./123", "a,b", "a=b", "ünï/数", "x(y)", "{x}y", "x#y"),
    *("x&y", "[a", "[a,b]", "it's", 'say "x"', " a,b ", "'a','b'", "a\\", "\\'", "123", "true", "range(1,3)", "$x"),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_directories_are_taken_as_they_are_typed(path):
    for key in ("dir", "run", "resume", "out", "hydra.sweep.dir", "+dir"):
        for multirun in (False, True):
            (override,), problems = parsed([f"{key}={path}"], multirun)
            assert (override.value(), problems) == (path, [])


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\'\"=, $[]{}()"), min_size=1))
def test_any_directory_is_taken_as_it_is_typed(path):
    quoted = path[0] in "'\"" and path[0] == path[-1]
    if path.strip() and "${" not in path and not quoted and path != "null":
        (override,), problems = parsed([f"dir={path}"], multirun=False)
        assert (override.value(), problems) == (path, [])
        assert override.input_line == f"dir={path}"
        assert parsed([line(override)], multirun=False)[0][0].value() == path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a=b'", "a=b"),
        ('"a,b"', "a,b"),
        ("'it\\'s'", "it's"),
        ("null", None),
        ("", ""),
        ("out/${seed}", "out/${seed}"),
        ("${now:%Y-%m-%d}/x", "${now:%Y-%m-%d}/x"),
    ],
)
def test_what_is_quoted_or_refers_to_a_key_is_read_as_any_other_value(text, value):
    (override,), problems = parsed([f"dir={text}"], multirun=False)
    assert (override.value(), problems) == (value, [])


@pytest.mark.parametrize("text", ["a=b", "ünï", "x(y)", "{x}y", "x#y", "x&y", "[a", "it's"])
def test_any_other_path_that_hydra_cannot_read_is_refused_with_what_would_work(text):
    overrides, (problem,) = parsed([f"data.path={text}"], multirun=False)
    assert overrides == []
    assert problem.startswith(f"data.path={text}: ")
    assert problem.endswith("if the value is one string, quote it twice: data.path=\"'...'\"")
    escaped = text.replace("'", "\\'")
    (override,), problems = parsed([f"data.path='{escaped}'"], multirun=False)
    assert (override.value(), problems) == (text, [])


@pytest.mark.parametrize("text", ["~/x", "~", "~/a b", "~me/x", "~/x=y"])
def test_a_home_at_the_start_is_read_as_typed(text):
    (override,), problems = parsed([f"data.path={text}"], multirun=False)
    assert (override.value(), problems) == (text, [])


def test_homes_are_read_among_several_values():
    (override,), problems = parsed(["data.path=~/a,b,~/c"], multirun=True)
    assert problems == []
    assert list(override.sweep_string_iterator()) == ["'~/a'", "b", "'~/c'"]


def test_awkward_paths_work_in_every_key_that_takes_one(finished_run, lehr, trainings):
    folder = Path(AWKWARD)
    folder.mkdir()
    np.save(folder / "x.npy", np.zeros((20, 8, 8), np.uint8))
    shutil.copytree(finished_run, folder / "run")
    data = ("data=arrays", f"data.path='{folder}/x.npy'")
    assert lehr("train", *data, f"dir={folder}/new")[0] == 0
    assert lehr("train", f"resume={folder}/run", "trainer.max_epochs=9")[0] == 0
    assert [t.path for t in trainings] == [folder / "new", folder / "run"]
    assert trainings[0].config["data"]["path"] == str(Path(f"{folder}/x.npy").absolute())
    code, out, err = lehr("sample", f"run={folder}/run", f"out={folder}/ü, a=b.png", "n=1")
    assert (code, out, err) == (0, f"{folder}/ü, a=b.png\n", "")


def test_the_run_directories_of_a_sweep_need_no_quotes(finished_run, lehr):
    shutil.copytree(finished_run, RUN)
    assert lehr("sample", f"run={RUN}", "n=1", "out=x.png") == (0, "x.png\n", "")


def test_a_sweep_over_paths_with_commas():
    for name in ("a,b", "c d"):
        Path(name).mkdir()
        np.save(f"{name}/x.npy", np.zeros((20, 8, 8), np.uint8))
    typed = ["data=arrays", "data.path='a,b/x.npy','c d/x.npy'", "hydra.sweep.dir=grid, of paths"]
    found, problems = grid(Command("train", None, typed, multirun=True))
    assert problems == []
    assert [point.config["data"]["path"] for point in found.points] == [
        str(Path(path).absolute()) for path in ("a,b/x.npy", "c d/x.npy")
    ]
    assert found.sweep_dir == "grid, of paths"
