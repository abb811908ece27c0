"""`lehr train -m`: many runs, and the table of their results."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lehr.cli.ending import report
from lehr.compose.composer import Command
from lehr.compose.grid import SEARCH, Grid, grid
from lehr.config.problems import section_problems
from lehr.config.schema import RayLauncher as RaySettings
from lehr.errors import ConfigError, Interrupted, LehrError
from lehr.run.identity import canonical
from lehr.run.status import DONE, FAILED, now
from lehr.surroundings import places
from lehr.sweeps.coordinator import run_grid, run_search
from lehr.sweeps.directory import STATES, SweepDirectory
from lehr.sweeps.groups import answer
from lehr.sweeps.launching import Launcher
from lehr.sweeps.names import words_of
from lehr.sweeps.point import Point
from lehr.sweeps.pool import Pool, slots, visible_gpus
from lehr.sweeps.results import read_runs, write_results
from lehr.sweeps.runner import LOG
from lehr.sweeps.tables import terminal_table

if TYPE_CHECKING:
    from lehr.sweeps.search import Search

_AUTO = "auto"


def sweep(command: Command) -> int:
    """Check everything, train what is left to do, print the results; the exit code."""
    found, problems = grid(command)
    if found is None:
        return report(problems, "train")
    directory = _place(found)
    if found.recipe.moved:
        typed, _ = grid(command, as_typed=True)
        if typed and (there := _place(typed)).keeps_paths_as_typed():
            print(f"note: {there.path}: was begun by an earlier version, with paths from this folder", file=sys.stderr)
            found, directory = typed, there
    problems += [*directory.problems(found, found.points), *_launcher_problems(found), *_search_problems(found)]
    if problems:
        return report(problems, "train")
    points: Sequence[Point] = ()
    try:
        # what has failed before now, but not what another process tries at the same time
        retry = now() if found.settings["retry"] == "failed" else None
        launcher = _launcher(found, len(found.points) or found.sweeper["n_trials"], retry)
        search = _search(found, directory) if found.sweeper_name == SEARCH else None
        keys = directory.record(found, command.overrides)
        points = [point.of(keys) for point in found.points]
        code = _train(directory, points, search, launcher, retry is not None)
    except ConfigError as error:
        return report(error.problems, "train")
    except (Interrupted, LehrError, OSError) as stop:
        report(stop.problems if isinstance(stop, LehrError) else [str(stop)], "train")
        print("what is done is kept; the same command goes on with the rest", file=sys.stderr)
        code = stop.exit_code if isinstance(stop, Interrupted) else 1
        if points:
            print(_counted([directory.state(point) for point in points]), file=sys.stderr, flush=True)
    _print_results(directory, retry_helps=search is None)
    return code


def _train(
    directory: SweepDirectory, points: Sequence[Point], search: Search | None, launcher: Launcher, retry: bool
) -> int:
    """The exit code."""
    if search:
        print(f"search in {directory.path}", file=sys.stderr, flush=True)
        run_search(search, launcher)
        print(search.summary())
        return int(bool(search.ended[FAILED] or search.given_up))
    if retry:
        directory.forget_failed_evaluations(points)
    states = [directory.state(point) for point in points]
    print(f"sweep in {directory.path}: {_counted(states)}", file=sys.stderr, flush=True)
    run_grid(directory, points, states, launcher, retry)
    left = (point for point, state in zip(points, states, strict=True) if state != DONE)
    return int(any(directory.state(point) != DONE for point in left))


def _print_results(directory: SweepDirectory, retry_helps: bool) -> None:
    results = read_runs(directory.path)
    with suppress(OSError):  # a full disk
        write_results(results)
    print(terminal_table(answer(results)))
    if any(run.state == FAILED or (run.state == DONE and run.error) for run in results.runs):
        again = "; sweep.retry=failed tries again what has failed" if retry_helps else ""
        print(f"  {LOG} in the directory of a run says more{again}\n")
    print(f"  sweep        {directory.path}\n  TensorBoard  tensorboard --logdir {directory.path}\n", flush=True)


def _place(found: Grid) -> SweepDirectory:
    return SweepDirectory(_directory(found) if found.sweep_dir == _AUTO else found.sweep_dir)


def _directory(found: Grid) -> str:
    """Where a grid lies unless it was said: the same directory whenever the same keys are swept."""
    # what lies below a swept group depends on which choices there are
    fixed = {key: value for key, value in found.constant.items() if key.partition(".")[0] not in found.keys}
    text = json.dumps([sorted(found.keys), found.sweeper_name, canonical(fixed)], sort_keys=True, default=str)
    digits = hashlib.blake2b(text.encode()).hexdigest()[:8]
    kinds = [found.choices[group] for group in ("data", "model") if group in found.choices]
    return f"outputs/sweeps/{'-'.join([*kinds, *words_of(found.keys)])[:100]}-{digits}"


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


def _launcher(found: Grid, count: int, retry: str | None) -> Launcher:
    """What trains `count` points.

    Raises:
        ConfigError: if it does not take its settings.
    """
    pool = found.pool
    if found.launcher_name == "pool":
        return Pool(slots(count, **pool, devices=found.devices), retry)
    if found.launcher_name == "ray":
        from lehr.sweeps.ray_launcher import RayLauncher

        settings = RaySettings.model_validate(found.launcher)
        return RayLauncher(settings.address, settings.cpus_per_run, settings.gpus_per_run, retry)
    from lehr.sweeps.hydra_launcher import HydraLauncher
    from lehr.sweeps.submitit_launcher import Submitit

    at_once = None
    if found.launcher_name == "basic":
        at_once = 1
    elif found.sweeper_name == SEARCH:  # the next trials are asked for when these have ended
        at_once = pool["workers"] if isinstance(pool["workers"], int) else os.cpu_count()
    if found.launcher_name.startswith("submitit_"):
        return Submitit(found.recipe.base(), retry, at_once)
    return HydraLauncher(found.recipe.base(), found.recipe.composer.loader(), retry, at_once)


def _launcher_problems(found: Grid) -> list[str]:
    if any(place.world > 1 and place.starter == "torchrun" for place in places()):
        return ["-m: torchrun starts a single run; a sweep starts the processes of each run itself (trainer.devices)"]
    if found.launcher_name == "ray":
        if importlib.util.find_spec("ray") is None:
            return ["hydra/launcher=ray: Ray is not installed; pip install 'lehr[ray]'"]
        return section_problems(RaySettings, found.launcher, "hydra.launcher")
    if found.launcher_name != "pool":
        return []
    if others := [key for key in found.launcher if key != "_target_"]:
        own = ", ".join(f"pool.{key}" for key in found.pool)
        return [f"hydra.launcher.{others[0]}: is of another launcher; the pool has {own}"]
    wanted, gpus, devices = found.pool["gpus"], found.pool["gpus_per_run"], found.devices
    if gpus > 1 and devices not in (1, gpus):
        return [f"trainer.devices={devices}: a run has pool.gpus_per_run={gpus}; leave trainer.devices out"]
    needed = max(gpus if wanted != 0 and gpus > 1 else 0, wanted if isinstance(wanted, int) else 0)
    if needed and needed > (there := len(visible_gpus())):
        key = "pool.gpus_per_run" if needed == gpus else "pool.gpus"
        return [f"{key}={needed}: this machine has {there} GPUs"]
    return []
