"""status.json: the state of a run, when and where it was in it, and what computed.

running | done | failed | interrupted | pruned
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lehr import __version__
from lehr.files import write_json

RUNNING, DONE, FAILED, INTERRUPTED, PRUNED = "running", "done", "failed", "interrupted", "pruned"
IMPORTED = "imported"
"""Under which status.json says where a run's weights are from that lehr has not trained."""
MEASURED_BY = "lehr import PLACE dir=DIR overwrite=true data=images data.path=FOLDER measures it over these"
"""How a run that was imported without images gets what is measured over images."""
_LEVELS = ("none", "quick", "full")  # of the evaluation at the end


def lacks_evaluation(status: Mapping[str, Any], level: str) -> bool:
    """Whether the evaluation at the end of a run was not on this level, or did not come to its end."""
    return _LEVELS.index(level) > _LEVELS.index(status.get("evaluated", "none"))


def is_status(found: Mapping[str, Any]) -> bool:
    """Whether this is what a status.json of lehr's holds, of whatever version."""
    return found.keys() >= {"state", "started", "pid", "host"}


class Status:
    """status.json: the state of a run, rewritten whole at every change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fields: dict[str, Any] = {}
        self.exported: Mapping[str, Any] | None = None
        """Which weights the run has ended in."""

    def start(
        self,
        marked_events: bool = True,
        started_from: Mapping[str, Any] | None = None,
        imported: Mapping[str, Any] | None = None,
    ) -> None:
        """The run is under way.

        Args:
            marked_events: whether its events have names of their own, see `lehr.run.contents`.
            started_from: the run whose weights it has begun with, and the id of its model; or the name of pretrained
                weights and their digest; None for new ones.
            imported: where its weights are from, if lehr has not trained them.
        """
        self._fields = {
            "state": RUNNING,
            "started": now(),
            "finished": None,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            **provenance(),
            "marked_events": marked_events,
            "started_from": started_from,
            "error": None,
            **({IMPORTED: imported} if imported else {}),
        }
        write_json(self._path, self._fields)

    def finish(
        self,
        state: str,
        error: str | None = None,
        model: str | None = None,
        seconds: Mapping[str, float] | None = None,
        evaluated: str = "none",
        evaluation_error: str | None = None,
    ) -> None:
        """The run has ended; where it never started, an earlier run's state is left alone.

        Args:
            state: in which it has.
            error: that ended it.
            model: the id of the model that the run has come to.
            seconds: what it spent on what.
            evaluated: the level of the evaluation that has come to its end.
            evaluation_error: by which it has.
        """
        if not self._fields:
            return
        self._fields |= {"state": state, "finished": now(), "error": error, "model": model}
        self._fields["exported"] = self.exported
        self._fields |= {"evaluated": evaluated, "evaluation_error": evaluation_error}
        self._fields["seconds"] = {name: round(value, 3) for name, value in (seconds or {}).items()}
        write_json(self._path, self._fields)


@cache
def provenance() -> dict[str, Any]:
    """The commit of the working directory and the versions of what computes."""
    from importlib.metadata import version

    return {
        "git_commit": _git_commit(),
        "versions": {
            "python": platform.python_version(),
            "lehr": __version__,
            **{name: version(name) for name in ("torch", "lightning", "hydra-core")},
        },
    }


def now() -> str:
    """The time as status.json has it: ISO 8601, UTC, to the second, so that texts compare as times do."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_commit() -> str | None:
    """The commit of the working directory, with `+` where it has changes; None outside of a git repository."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() or None
