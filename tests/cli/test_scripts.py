"""scripts/*.py do what the commands do."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(capsys, monkeypatch):
    """Run a script in this process: `code, out, err = script("train", "key=value")`."""

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def test_train_is_lehr_train(script, lehr, trainings):
    for arguments in (["--cfg", "job", "kl.weight=2"], ["kl.wieght=2", "model=mpl"], ["--help"]):
        assert script("train", *arguments) == lehr("train", *arguments)
    assert script("train", "dir=run", "seed=3")[0] == 0
    assert lehr("train", "dir=run", "seed=3")[0] == 0
    assert trainings[0] == trainings[1]
    assert trainings[0].config["seed"] == 3


def test_sample_is_lehr_sample(script, lehr, finished_run):
    shutil.copytree(finished_run, "run")
    assert script("sample", "run=run", "n=4", "out=a.png") == (0, "a.png\n", "")
    assert lehr("sample", "run=run", "n=4", "out=b.png") == (0, "b.png\n", "")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert script("sample", "run=nowhere") == lehr("sample", "run=nowhere")


def test_a_script_and_the_module_run_from_anywhere(lehr):
    expected = lehr("train", "kl.weight=x")
    for program in ([str(SCRIPTS / "train.py")], ["-m", "lehr", "train"]):
        done = subprocess.run([sys.executable, *program, "kl.weight=x"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == expected
