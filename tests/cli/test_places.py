"""A directory or a file that cannot be used: one line, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lehr.config import registry as lehr_conf
from lehr.run import claim as claims


@pytest.mark.parametrize("place", ["file", "file/a/b"])
def test_a_directory_with_a_file_in_the_way_is_refused(refused, place):
    Path("file").write_text("x")
    assert refused("train", f"dir={place}") == [f"dir={place}: file is a file, not a directory"]


LONG = "x" * 300


def test_a_name_that_no_file_can_have_is_refused_wherever_it_is_given(refused, lehr):
    shown = "x" * 200 + "..."
    assert refused("train", f"dir={LONG}") == [f"dir={shown}: File name too long"]
    assert refused("train", f"dir=a/{LONG}/b") == [f"dir=a/{'x' * 198}...: File name too long"]
    assert refused("train", f"resume={LONG}") == [f"resume={shown}: File name too long"]
    assert refused("train", "-m", "seed=0,1", f"hydra.sweep.dir={LONG}") == [
        f"hydra.sweep.dir={shown}: File name too long"
    ]
    for command in ("sample", "evaluate"):
        (line,) = refused(command, f"run={LONG}")
        assert "File name too long" in line
    code, out, err = lehr("results", LONG)
    assert (code != 0, out, err.count("\n"), "File name too long" in err) == (True, "", 1, True)


def test_a_link_to_nowhere_is_refused_wherever_it_is_given(refused):
    Path("link").symlink_to("nowhere")
    Path("circle").symlink_to("circle")
    line = "link is a link to nowhere, which is not there"
    assert refused("train", "dir=link") == [f"dir=link: {line}"]
    assert refused("train", "dir=link/run") == [f"dir=link/run: {line}"]
    assert refused("train", "-m", "seed=0,1", "hydra.sweep.dir=link") == [f"hydra.sweep.dir=link: {line}"]
    assert refused("train", "resume=link") == ["resume=link: there is no such directory"]
    assert refused("train", "dir=circle/run") == ["dir=circle/run: Too many levels of symbolic links"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_is_refused(refused):
    Path("locked").mkdir(mode=0o500)
    assert refused("train", "dir=locked/run") == ["dir=locked/run: locked cannot be written to"]


def test_a_finished_run_is_not_overwritten_unasked(refused, lehr, trainings):
    Path("run").mkdir()
    about = {"state": "done", "started": "2026-01-01T00:00:00+00:00", "pid": 1, "host": "here", "evaluated": "full"}
    Path("run/status.json").write_text(json.dumps(about))
    assert refused("train", "dir=run") == [
        "dir=run: holds a finished run; choose another directory, or say overwrite=true"
    ]
    assert lehr("train", "dir=run", "overwrite=true")[0] == 0
    assert trainings[0].path == Path("run")


def test_a_directory_in_which_a_process_runs_is_refused(refused):
    Path("run").mkdir()
    pid = os.getppid()
    about = {"pid": pid, "host": socket.gethostname(), "machine": claims._machine(), "started": claims._started(pid)}
    Path("run/.claim-1").write_text(json.dumps(about))
    assert refused("train", "dir=run", "overwrite=true") == [
        f"dir=run: process {pid} is running there; choose another directory"
    ]


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("rank2.npy", np.zeros((60, 64), np.uint8), "has shape (60, 64), expected (n h w), (n h w c) or (n c h w)"),
        ("nan.npy", np.full((60, 8, 8), np.nan, np.float32), "holds NaN or infinity in 60 of 60 images"),
        ("pickled.npy", np.array([{}], dtype=object), "holds Python objects, which are not read"),
        ("none.npy", np.zeros((0, 8, 8), np.uint8), "holds no image"),
    ],
)
def test_data_that_cannot_be_used_are_one_line(lehr, name, array, reason):
    np.save(name, array, allow_pickle=True)
    code, out, err = lehr("train", "dir=run", "data=arrays", f"data.path={name}")
    assert code != 0
    assert out == ""
    assert err.startswith(f"lehr train: {Path(name).absolute()} {reason}")
    assert err.count("\n") == 1


def test_an_empty_folder_of_images_is_one_line(lehr):
    Path("photos").mkdir()
    code, out, err = lehr("train", "dir=run", "data=images", "data.path=photos", "likelihood=gaussian")
    assert code != 0
    assert out == ""
    assert err.startswith(f"lehr train: {Path('photos').absolute()} holds no image file (")
    assert err.count("\n") == 1


def test_a_current_directory_that_is_gone_is_one_line():
    program = (
        "import os, sys\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from lehr.cli.main import main\n"
        "sys.exit(main(['train', '--cfg', 'job']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lehr train: the current directory is gone; change to another\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_current_directory_that_may_not_be_written_is_one_line(refused):
    Path("locked").mkdir(mode=0o500)
    os.chdir("locked")
    (line,) = refused("train")
    assert line.endswith("cannot be written to")


@pytest.mark.parametrize(("words", "names"), [([], ["run", "run-2", "run-3"]), (["dir=run"], ["run", "run", "run"])])
def test_commands_of_the_same_second_are_runs_of_their_own_unless_a_directory_was_named(lehr, trainings, words, names):
    configs = Path("conf")
    configs.mkdir()
    dated = (Path(lehr_conf.conf_dir()) / "train.yaml").read_text()
    before = next(line for line in dated.splitlines() if line.startswith("dir:"))
    (configs / "train.yaml").write_text(dated.replace(before, "dir: ${now:run}"))
    for _ in names:
        assert lehr("train", "--config-dir", "conf", *words)[0] == 0
    assert [training.path.name for training in trainings] == names
