"""`lehr.sweep`: many runs, from Python."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.api.launchers import launcher, launcher_problems
from lehr.api.objects import command_of
from lehr.api.report import report_of_sweep
from lehr.api.train import stopping
from lehr.compose.composer import Command
from lehr.compose.grid import SEARCH, Grid, grid
from lehr.compose.words import grid_words
from lehr.config.problems import section_problems
from lehr.errors import ConfigError, LehrError
from lehr.modes import undisturbed
from lehr.run.identity import canonical
from lehr.run.status import DONE, FAILED, now
from lehr.sweeps.coordinator import run_grid, run_search
from lehr.sweeps.directory import STATES, SweepDirectory
from lehr.sweeps.launching import Launcher
from lehr.sweeps.names import words_of as words_of_keys
from lehr.sweeps.point import Point
from lehr.sweeps.results import SweepResults, read_runs, write_results

if TYPE_CHECKING:
    import pandas as pd

    from lehr.sweeps.search import Search

_AUTO = "auto"


@dataclass(frozen=True)
class Sweeping:
    """A sweep that can begin or go on.

    Attributes:
        directory: where its runs lie.
        points: of a grid; none of a search.
        launcher: trains them.
        search: that finds its points one by one, if it is one.
        retry: whether what has failed before is tried again.
        report: whether it ends in one: `auto`, or True for one of each run too.
    """

    directory: SweepDirectory
    points: Sequence[Point]
    launcher: Launcher
    search: Search | None
    retry: bool
    report: bool | str

    def counted(self) -> str:
        """How many of the points are in which state."""
        return _counted([self.directory.state(point) for point in self.points])


def sweep(
    grid: Mapping[str, Any] | str | Iterable[str] = (),
    *,
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    model: object = None,
    config_dir: str | Path | None = None,
    **keys: Any,
) -> pd.DataFrame:
    """Train a run for each combination of values, as `lehr train -m` does; the runs as `lehr.load_sweep` gives them.

        lehr.sweep({"kl.weight": [0.1, 1, 4], "seed": range(3)}, data="digits", **{"trainer.max_epochs": 50})
        lehr.sweep(["kl.weight=0.1,1,4", "seed=0,1,2"])
        lehr.sweep(sweep="collapse_map")

    The same call again, or the same command, skips what is done and goes on with what is left. A run that fails is in
    the table with its error, and the others go on. Progress goes to standard error.

    Args:
        grid: key -> its values, or words as on the command line. Text is taken as it would be typed, as in
            "interval(0.1, 10)" of a search.
        data, labels, test, test_labels, model: as of `lehr.train`. Runs that are given objects are trained in this
            process, one after another.
        config_dir: a folder of configuration files of your own, which come before the shipped ones.
        keys: groups and keys that all runs have in common; `hydra.sweep.dir` says where they are to lie.

    Raises:
        ConfigError: with a line for each mistake, also in `problems`; nothing was begun then.
        LehrError: if it cannot go on, for want of space say.
        Stopped: (a KeyboardInterrupt) after Ctrl-C; the same call goes on.
    """
    objects = {"data": data, "labels": labels, "test": test, "test_labels": test_labels, "model": model}
    try:
        with undisturbed():
            words = grid_words(grid, keys) if isinstance(grid, Mapping) else grid
            found = sweeping(command_of(words, keys, objects, config_dir, multirun=True))
            with stopping("the same call"):
                carry_out(found)
                results(found.directory)
                report_of_sweep(found.directory, found.report)
    except LehrError as error:
        raise error from None
    from lehr.sweeps.frame import load_sweep

    return load_sweep(found.directory.path)


def sweeping(command: Command) -> Sweeping:
    """Check everything, and say in the directory what the sweep is.

    Raises:
        ConfigError: with a line for each mistake.
    """
    found, problems = grid(command)
    if found is None:
        raise ConfigError(*problems)
    directory = _place(found)
    if found.recipe.moved:
        typed, _ = grid(command, as_typed=True)
        if typed and (there := _place(typed)).keeps_paths_as_typed():
            print(f"note: {there.path}: was begun by an earlier version, with paths from this folder", file=sys.stderr)
            found, directory = typed, there
    problems += [
        *directory.problems(found, found.points),
        *launcher_problems(found, command.given),
        *_search_problems(found),
    ]
    if problems:
        raise ConfigError(*problems)
    # what has failed before now, but not what another process tries at the same time
    retry = now() if found.settings["retry"] == "failed" else None
    by = launcher(found, len(found.points) or found.sweeper["n_trials"], retry, command.given)
    search = _search(found, directory) if found.sweeper_name == SEARCH else None
    keys = directory.record(found, command.overrides, len(found.points) or None)
    return Sweeping(directory, [point.of(keys) for point in found.points], by, search, retry is not None, found.report)


def carry_out(found: Sweeping) -> bool:
    """Train what is left to do; whether all is done then.

    Raises:
        LehrError: if it cannot go on.
        Interrupted: upon a signal to end, after what runs has been stopped in order.
    """
    directory, points = found.directory, found.points
    if search := found.search:
        print(f"search in {directory.path}", file=sys.stderr, flush=True)
        run_search(search, found.launcher)
        return not (search.ended[FAILED] or search.given_up)
    if found.retry:
        directory.forget_failed_evaluations(points)
    states = [directory.state(point) for point in points]
    print(f"sweep in {directory.path}: {_counted(states)}", file=sys.stderr, flush=True)
    run_grid(directory, points, states, found.launcher, found.retry)
    left = (point for point, state in zip(points, states, strict=True) if state != DONE)
    return all(directory.state(point) == DONE for point in left)


def results(directory: SweepDirectory) -> SweepResults:
    """What the sweep came to, written down too."""
    found = read_runs(directory.path)
    with suppress(OSError):  # a full disk
        write_results(found)
    return found


def _place(found: Grid) -> SweepDirectory:
    return SweepDirectory(_directory(found) if found.sweep_dir == _AUTO else found.sweep_dir)


def _directory(found: Grid) -> str:
    """Where a grid lies unless it was said: the same directory whenever the same keys are swept."""
    # what lies below a swept group depends on which choices there are
    fixed = {key: value for key, value in found.constant.items() if key.partition(".")[0] not in found.keys}
    text = json.dumps([sorted(found.keys), found.sweeper_name, canonical(fixed)], sort_keys=True, default=str)
    digits = hashlib.blake2b(text.encode()).hexdigest()[:8]
    kinds = [found.choices[group] for group in ("data", "model") if group in found.choices]
    return f"outputs/sweeps/{'-'.join([*kinds, *words_of_keys(found.keys)])[:100]}-{digits}"


def _counted(states: Sequence[str]) -> str:
    counts = Counter(states)
    by_state = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    return f"{len(states):,} run{'s' if len(states) > 1 else ''}: {by_state}"


def _search(found: Grid, directory: SweepDirectory) -> Search:
    from lehr.sweeps.search import Search
    from lehr.sweeps.space import space
    from lehr.sweeps.study import Settings

    settings = Settings.model_validate(found.sweeper)
    return Search(directory.path, settings, space(found.space), found.compose_point, directory.prepare)


def _search_problems(found: Grid) -> list[str]:
    if found.sweeper_name != SEARCH:
        return []
    from lehr.sweeps.space import space
    from lehr.sweeps.study import Settings

    problems = section_problems(Settings, found.sweeper, "hydra.sweeper")
    if found.settings["retry"] != "none":
        problems.append("sweep.retry=failed: is for grids; a search goes on with more hydra.sweeper.n_trials")
    try:
        space(found.space)
    except ConfigError as error:
        problems += error.problems
    return problems
