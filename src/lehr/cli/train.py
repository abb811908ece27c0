"""`lehr train`: one run, or with -m one for each combination of values."""

from __future__ import annotations

import sys
from contextlib import suppress

import yaml

from lehr.api.start import Start, checked, resume, resumption, start, to_resume
from lehr.api.train import carry_out
from lehr.cli import main as entry
from lehr.cli.ending import report, told
from lehr.cli.help import train_help
from lehr.cli.opening import typed
from lehr.compose.composer import Command
from lehr.compose.overrides import notes
from lehr.errors import Interrupted, LehrError, wants_traceback
from lehr.reading import read_json
from lehr.run.directory import RunDirectory
from lehr.run.status import DONE
from lehr.startup import quick_imports
from lehr.training.debugging.values import mode_of
from lehr.training.launched import rank_from_outside


def main(argv: list[str]) -> int:
    """Check everything that can be checked without data, then train; the exit code."""
    said = typed("train", argv, train_help)
    if isinstance(said, int):
        return said
    command = Command(said.config, said.config_dir, said.words, said.multirun)
    for note in notes(command.overrides, command.multirun):
        print(note, file=sys.stderr)
    try:
        directory = to_resume(command)
        if command.multirun:
            from lehr.cli.sweep import sweep

            return sweep(command)
        if directory is None:
            config = checked(command)
            return said.inform() if said.inform else run(start(config))
        found = resumption(directory, command)
        if said.inform and not found.problems:
            print(yaml.safe_dump(found.values, sort_keys=False, allow_unicode=True), end="")
            return 0
        return run(resume(found))
    except LehrError as error:
        return told(error, "train", wants_traceback())


def run(begun: Start) -> int:
    """Train, and say how it went; the exit code."""
    values, directory = begun.values, begun.directory
    try:
        metrics = carry_out(begun, entry.STARTED)
    except Interrupted as interruption:
        is_done = directory.state() == DONE
        report([f"{interruption}" + ("" if is_done else f"; go on with: lehr train resume={directory.path}")], "train")
        return interruption.exit_code
    except Exception as error:
        told(error, "train", wants_traceback(values["debug"] is True))
        return 1
    if rank_from_outside(values):
        return 0
    with quick_imports():
        from lehr.cli.summary import print_summary
    if mode_of(values) in ("overfit", "profile"):  # has said what it has found; its numbers are of no real training
        print(f"\n  run          {directory.path}\n")
        return 0
    _print_evaluation(directory)
    print_summary(metrics, directory)
    return 0


def _print_evaluation(directory: RunDirectory) -> None:
    from lehr.evaluation.table import evaluation_table

    with suppress(OSError, ValueError):
        print("\n" + evaluation_table(read_json(directory.evaluation())), end="")
