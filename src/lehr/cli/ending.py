"""How a command ends that something has ended: in a line, whatever it was."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lehr.errors import Interrupted, LehrError, in_a_line, printable

_EVENTS = "events.out.tfevents.*"


def report(problems: Iterable[str], command: str) -> int:
    """Print each problem on a line of its own; the exit code of a mistake."""
    for problem in problems:
        print(f"lehr {command}: {printable(problem)}", file=sys.stderr, flush=True)
    return 2


def print_text(text: str) -> None:
    """Print it as it is; with question marks for what the terminal's encoding has not."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="")


def told(error: BaseException, command: str, debug: bool = False) -> int:
    """Say in a line what has ended `command`; the exit code: 128 + n after signal n, 2 for a mistake, else 1.

    Args:
        error: that ended it.
        command: its name.
        debug: show also where it arose.
    """
    if isinstance(error, Interrupted | KeyboardInterrupt):
        report([str(error) or "interrupted"], command)
        return error.exit_code if isinstance(error, Interrupted) else 128 + signal.SIGINT
    if debug:
        traceback.print_exception(error)
    if getattr(error, "is_told", False):  # by another process of the run
        return 1
    if isinstance(error, LehrError):
        return report(error.problems, command)
    hint = "" if debug else " (debug=true shows where)"
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str | bytes):
        line = f"{os.fsdecode(error.filename)}: {error.strerror}"
    else:
        line = in_a_line(error) + hint
    report([line], command)
    return 1


def print_tensorboard(path: Path) -> None:
    """How to look at the curves of a run or a sweep; nothing where none was logged for TensorBoard."""
    if any(next(path.glob(f"{runs}{_EVENTS}"), None) for runs in ("", "*/")):
        print(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(path))}")
