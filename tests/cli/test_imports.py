"""What must answer at once does not wait for torch."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import contextlib, io, json, sys
from lehr.cli.main import main

heavy = {"torch", "lightning", "sklearn", "torchmetrics", "PIL"}
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(arguments)
    print(json.dumps([code, sorted(heavy & set(sys.modules))]))
"""
COMMANDS = [
    (["--help"], 0),
    (["tarin"], 2),
    (["train", "--help"], 0),
    (["sample", "--help"], 0),
    (["data", "--help"], 0),
    (["completion", "bash"], 0),
    (["completion", "query", "lehr train model="], 0),
    (["train", "--cfg", "job"], 0),
    (["train", "--cfg", "job", "--resolve", "experiment=mnist", "kl=anneal"], 0),
    (["sample", "--cfg", "job"], 0),
    (["train", "kl.wieght=1", "model=mpl", "model.latent_dim=0"], 2),
    (["train", "kl.warmup=1000"], 2),
    (["train", "model._target_=os.system"], 2),
    (["train", "data=images", "data.path=/nowhere"], 2),
    (["train", "dir=/dev/null/x"], 2),
    (["train", "-m", "seed=1,x"], 2),
    (["train", "resume=/nowhere"], 2),
    (["sample", "n=0"], 2),
    (["data", "data=images", "data.path=/nowhere", "out=x.gif"], 2),
]


def test_help_configurations_and_mistakes_need_no_torch():
    """All in one process, the cheapest first: what is once imported stays."""
    commands = json.dumps([command for command, _ in COMMANDS])
    done = subprocess.run([sys.executable, "-c", PROGRAM, commands], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [[code, []] for _, code in COMMANDS]
