"""Files of a sweep that somebody has made to do harm: told in a line, or counted as damaged, and never executed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lehr.cli.main import main
from lehr.compose.composer import Command
from lehr.compose.grid import grid

LAUGHS = "a: &a [lol]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def outside(tmp_path):
    """Somebody else's folder."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious.txt").write_text("somebody else's\n")
    return tmp_path / "outside"


@pytest.fixture
def run_dir(finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished_run, tmp_path / "run")


HOSTILE_JSON = (
    "[" * 100_000,
    "[1]",
    "3",
    '{"a": 1e999, "test/elbo": ' + "9" * 4000 + "}",
    '{"config": [1], "swept": 3}',
    '{"config": {"a": {}}, "swept": {"a": [[]]}, "trial": {"journal": "/etc/passwd", "number": -1}}',
    "\xff",
    "{",
)


@pytest.mark.parametrize("name", ["point.json", "metrics.json", "status.json", "evaluation.json"])
def test_no_file_of_a_run_keeps_results_from_those_of_the_others(run_dir, outside, capsys, name):
    sweep = run_dir.parent / "sweep"
    for i, content in enumerate(HOSTILE_JSON):
        shutil.copytree(run_dir, sweep / f"run{i}")
        (sweep / f"run{i}" / name).write_text(content, encoding="latin-1")
    shutil.copytree(run_dir, sweep / "good")
    (sweep / "linked").mkdir()
    (sweep / "linked" / name).symlink_to(outside / "precious.txt")
    code = main(["results", str(sweep), "runs=true"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "good" in out
    assert "somebody else" not in out


@pytest.mark.parametrize(
    "content",
    [
        LAUGHS,
        "!!python/object/apply:os.mkdir [exploded]\n",
        "keys: 3\n",
        "keys: [[[]]]\nconstant: {a: 1}\ngrids: 3\n",
        "\0",
    ],
)
@pytest.mark.parametrize("command", [["results", "sweep"], ["train", "-m", "seed=0,1", "hydra.sweep.dir=sweep"]])
def test_the_record_of_a_sweep_is_plain_values(run_dir, capsys, command, content):
    Path("sweep").mkdir()
    Path("sweep/sweep.yaml").write_text(content)
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "sweep" in line
    assert not Path("exploded").exists()


@pytest.mark.parametrize("linked", ["", "log.txt", "checkpoints", "history.jsonl"])
def test_a_run_of_a_sweep_that_is_a_link_is_not_trained(outside, run_dir, capsys, linked):
    small = ("trainer.max_steps=2", "kl=constant", "evaluate=none", "hydra.sweep.dir=sweep", "seed=0")
    found, problems = grid(Command("train", None, list(small), multirun=True))
    assert not problems
    place = Path("sweep") / found.points[0].name
    if linked:
        place.mkdir(parents=True)
        (place / linked).symlink_to(outside / "new")
    else:
        place.parent.mkdir()
        place.symlink_to(outside)
    assert main(["train", "-m", *small]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("lehr ")]
    assert f"{place / linked}: is a link; put there what it leads to" in line
    assert os.listdir(outside) == ["precious.txt"]
