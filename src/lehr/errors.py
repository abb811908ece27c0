"""The errors a user can cause. Each message is one line: what, where, what would be right."""

from __future__ import annotations

import os
import signal


def in_a_line(error: BaseException) -> str:
    """The kind of an error that nobody foresaw, and what it says."""
    if isinstance(error, MemoryError) and not error.args:
        return "out of memory"
    return printable(" ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":"))


def printable(text: str) -> str:
    """`text` as one line of a terminal: what is no printable character escaped, of what is very long the two ends."""
    line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


_LONGEST = 1000


def wants_traceback(debug: bool = False) -> bool:
    """Whether mistakes are to be shown with where they arose in the code."""
    return debug or os.environ.get("HYDRA_FULL_ERROR") == "1"


class LehrError(Exception):
    """Base of every error that is reported to the user as one line, without a traceback; `problems` holds the lines."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show of it."""
        return [f"{type(self).__name__}: {printable(problem)}" for problem in self.problems]


class ConfigError(LehrError):
    """The configuration is wrong, with one line for each mistake."""


class DataError(LehrError):
    """The data are missing, unreadable or not of the kind that was configured."""


class CheckpointError(LehrError):
    """A checkpoint or a run directory is missing, damaged, or belongs to another model."""


class DiskFull(LehrError):
    """There is no room for what a run writes; it can go on from what it has written before."""


class OutOfMemory(LehrError):
    """A GPU has no room for what a run computes."""


class NoDensity(LehrError):
    """A posterior was asked for a density, a KL or a rate, which its kind does not have."""


class Interrupted(BaseException):
    """A signal has told the program to stop, and what was done up to then is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class TakenOver(BaseException):
    """Another process has gone on with a run that this one was at, which writes nothing more of it."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C has ended what was called from Python, in order."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show of it."""
        return [f"{type(self).__name__}: {self}"]


class NonFinite(LehrError):
    """A number that was computed is NaN or infinite, where none can be."""


class NonFiniteLoss(NonFinite):
    """The loss turned NaN or infinite during training."""
