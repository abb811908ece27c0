"""`lehr train -m`: many runs, and the table of their results."""

from __future__ import annotations

import sys

from lehr.api.report import report_of_sweep
from lehr.api.sweep import Sweeping, carry_out, results, sweeping
from lehr.cli.ending import print_tensorboard, report
from lehr.compose.composer import Command
from lehr.errors import ConfigError, Interrupted, LehrError
from lehr.run.status import DONE, FAILED
from lehr.sweeps.groups import answer
from lehr.sweeps.runner import LOG
from lehr.sweeps.tables import terminal_table


def sweep(command: Command) -> int:
    """Check everything, train what is left to do, print the results; the exit code."""
    found = sweeping(command)
    try:
        code = 0 if carry_out(found) else 1
        if found.search:
            print(found.search.summary())
    except ConfigError as error:
        return report(error.problems, "train")
    except (Interrupted, LehrError, OSError) as stop:
        report(stop.problems if isinstance(stop, LehrError) else [str(stop)], "train")
        print("what is done is kept; the same command goes on with the rest", file=sys.stderr)
        code = stop.exit_code if isinstance(stop, Interrupted) else 1
        if found.points:
            print(found.counted(), file=sys.stderr, flush=True)
    _print_results(found, has_ended=code in (0, 1))
    return code


def _print_results(sweeping: Sweeping, has_ended: bool) -> None:
    """The table, and where all of it lies. A sweep that somebody has stopped does not wait for its report."""
    directory = sweeping.directory
    found = results(directory)
    print(terminal_table(answer(found)))
    if any(run.state == FAILED or (run.state == DONE and run.error) for run in found.runs):
        again = "; sweep.retry=failed tries again what has failed" if sweeping.search is None else ""
        print(f"  {LOG} in the directory of a run says more{again}\n")
    if has_ended and (page := report_of_sweep(directory, sweeping.report)):
        print(f"  report       {page}")
    print(f"  sweep        {directory.path}")
    print_tensorboard(directory.path)
    print(flush=True)
