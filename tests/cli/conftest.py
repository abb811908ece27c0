"""Commands that are refused, and commands that would train."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for grids


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty directory, and leave no trace in sys.path."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` and what is in it; every folder. What Python compiles of a class in it is left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def refused(lehr, trainings, tmp_path):
    """Run a command that must be refused; its lines, without the command's name. Nothing is written anywhere."""

    def run(*arguments: str, code: int = 2) -> list[str]:
        before = contents(tmp_path)
        result, out, err = lehr(*arguments)
        assert (result, out) == (code, ""), err
        assert contents(tmp_path) == before
        prefix = f"lehr {arguments[0]}: "
        lines = err.splitlines()
        assert lines
        assert all(line.startswith(prefix) for line in lines), err
        return [line.removeprefix(prefix) for line in lines]

    return run


@dataclass(frozen=True)
class Training:
    """A training that did not take place."""

    config: dict[str, Any]
    path: Path
    resume: bool
    trust: tuple[str, ...]


@pytest.fixture
def trainings(monkeypatch) -> list[Training]:
    """The trainings that commands would have started, which they now do not."""
    started: list[Training] = []

    def train(config, directory, resume, extras):
        started.append(Training(config, directory.path, resume, extras.trust))
        return {"test/elbo": -1.0}

    monkeypatch.setattr("lehr.training.session.train", train)
    return started
