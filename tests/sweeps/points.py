"""The directory of a point as an earlier attempt has left it."""

from __future__ import annotations

import json

from lehr.files import write_json
from lehr.run.directory import RunDirectory

CONFIG = {"seed": 3, "trust": ["mine"], "debug": False, "evaluate": "none", "trainer": {"devices": "auto"}, "dir": "x"}


def left(run_dir, state, checkpoint=False):
    """As an earlier attempt has left it."""
    write_json(RunDirectory(run_dir).status, {"state": state, "error": "then", "started": "long ago"})
    if checkpoint:
        RunDirectory(run_dir).last_checkpoint.parent.mkdir()
        RunDirectory(run_dir).last_checkpoint.touch()


def status(run_dir):
    return json.loads((run_dir / "status.json").read_text())
