"""Processes whose output nobody takes: they go on in silence, and end with the code of their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TALK = """
import os, subprocess, sys
from lehr.streams import lost, need_no_reader

need_no_reader()
for i in range(3):
    print("text", flush=True)
    print("more", file=sys.stderr)
print("x" * 100_000)
subprocess.run(["sh", "-c", "echo of a process that was started; echo more >&2"])
path = sys.argv[1]
with open(path, "w") as file:
    file.write(f"{file.fileno() > 2} {lost() is not None}")
"""
CLOSED = ">&- 2>&- <&-"
FULL = ">/dev/full 2>/dev/full"
GONE = "2>&1 | true"
ANSWERS = [(CLOSED, "True False"), (FULL, "True True"), (GONE, "True False"), (">/dev/full 2>&-", "True True")]


def shell(folder: Path, streams: str, *command: str, **environment: str) -> int:
    """The exit code of a command whose streams are redirected like this."""
    first, _, rest = streams.partition(" |")
    quoted = " ".join(f"'{word}'" for word in command)
    line = f"{{ {quoted} {first}; echo $? >code; }}" + (f" |{rest}" if rest else "")
    subprocess.run(["bash", "-c", line], cwd=folder, env={**os.environ, **environment}, check=False)
    return int((folder / "code").read_text())


@pytest.mark.parametrize(("streams", "found"), ANSWERS)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_goes_on_whatever_becomes_of_its_streams(tmp_path, streams, found, unbuffered):
    # no file that is opened later takes the place of a stream that was closed
    (tmp_path / "talk.py").write_text(TALK)
    assert shell(tmp_path, streams, sys.executable, "talk.py", "out.txt", PYTHONUNBUFFERED=unbuffered) == 0
    assert (tmp_path / "out.txt").read_text() == found


@pytest.mark.parametrize(
    ("streams", "code"), [("2>&1 | true", 0), (">&-", 0), (">/dev/full", 1)], ids=["gone", "closed", "full"]
)
def test_a_command_whose_only_product_is_text_fails_where_that_is_lost(tmp_path, streams, code):
    assert shell(tmp_path, streams, sys.executable, "-m", "lehr", "completion", "bash") == code


def test_a_name_that_is_no_text_is_printed_as_it_is_and_a_character_that_there_is_not_spelt_out(tmp_path):
    talk = "from lehr.streams import need_no_reader; need_no_reader(); print('a\\udce9b \\u00e9 \\ud800')"
    found = []
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        found.append(subprocess.run([sys.executable, "-c", talk], env=environment, capture_output=True).stdout)
    assert found == [b"a\xe9b \xc3\xa9 \\ud800\n", b"a\xe9b \\xe9 \\ud800\n"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_neither_a_run_nor_a_sweep_nor_an_evaluation_depends_on_who_watches(tmp_path):
    small = ("trainer.max_epochs=3", "kl=constant", "model.hidden=[8]", "evaluate=none", "trainer.accelerator=cpu")
    lehr = (sys.executable, "-m", "lehr")
    environment = {"OMP_NUM_THREADS": "1"}

    def state(run: Path) -> str:
        return json.loads((run / "status.json").read_text())["state"]

    two = ("trainer.devices=2",)
    for i, (streams, more) in enumerate([(GONE, two), (CLOSED, ()), (FULL, ())]):
        assert shell(tmp_path, streams, *lehr, "train", *small, *more, f"dir=run-{i}", **environment) == 0
        assert state(tmp_path / f"run-{i}") == "done"
    assert shell(tmp_path, FULL, *lehr, "evaluate", "run=run-0", "level=quick", **environment) == 0
    assert (tmp_path / "run-0" / "evaluation.json").exists()
    for streams in (GONE, CLOSED):
        name = f"sweep{len(streams)}"
        sweep = ("train", "-m", *small, "seed=0,1", f"hydra.sweep.dir={name}")
        assert shell(tmp_path, streams, *lehr, *sweep, **environment) == 0
        assert [state(run) for run in (tmp_path / name).glob("seed=*")] == ["done"] * 2
