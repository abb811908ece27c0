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
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lehr.cli.compose import Command, report
from lehr.cli.grid import SEARCH, Grid, grid
from lehr.config.problems import section_problems
from lehr.errors import ConfigError, Interrupted, LehrError
from lehr.sweep.coordinator import run_grid, run_search
from lehr.sweep.directory import STATES, SweepDirectory
from lehr.sweep.groups import answer
from lehr.sweep.identity import canonical
from lehr.sweep.launching import Launcher
from lehr.sweep.names import words_of
from lehr.sweep.results import read_runs, write_results
from lehr.sweep.tables import terminal_table
from lehr.training.directory import DONE, FAILED

if TYPE_CHECKING:
    from lehr.sweep.search import Search

_AUTO = "auto"


def sweep(command: Command) -> int:
    """Check every point, train what is left to do, print the results; the exit code."""
    found, problems = grid(command)
    if found is None:
        return report(problems, "train")
    directory = SweepDirectory(_directory(found) if found.sweep_dir == _AUTO else found.sweep_dir)
    if problems := [*directory.problems(found, found.points), *_pool_problems(found), *_starter_problems()]:
        return report(problems, "train")
    code = 0
    try:
        keys = directory.record(found, command.overrides)
        if found.sweeper_name == SEARCH:
            print(f"search in {directory.path}", file=sys.stderr, flush=True)
            search = _search(found, directory)
            run_search(search, _launcher(found, search.wanted))
            print(search.summary())
            code = int(bool(search.ended[FAILED]))
        else:
            points = [point.of(keys) for point in found.points]
            states = [directory.state(point) for point in points]
            print(f"sweep in {directory.path}: {_counted(states)}", file=sys.stderr, flush=True)
            run_grid(directory, points, states, _launcher(found, len(points)), _retry(found) is not None)
            left = (point for point, state in zip(points, states, strict=True) if state != DONE)
            code = int(any(directory.state(point) != DONE for point in left))
    except ConfigError as error:
        return report(error.problems, "train")
    except (Interrupted, LehrError, OSError) as stop:
        report(str(stop).splitlines(), "train")
        code = stop.exit_code if isinstance(stop, Interrupted) else 1
        print("what is done is kept; the same command goes on with the rest", file=sys.stderr)
    results = read_runs(directory.path)
    with suppress(OSError):  # a full disk
        write_results(results)
    print(terminal_table(answer(results)))
    if any(run.state == FAILED for run in results.runs):
        print("  log.txt in the directory of a run says more; sweep.retry=failed tries again what has failed\n")
    print(f"  sweep        {directory.path}\n  TensorBoard  tensorboard --logdir {directory.path}\n", flush=True)
    return code


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
    return f"{len(states):,} runs, " + ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])


def _retry(found: Grid) -> str | None:
    """Try again what has failed before now, but not what another process tries at the same time."""
    return datetime.now(UTC).isoformat(timespec="seconds") if found.settings["retry"] == "failed" else None


def _search(found: Grid, directory: SweepDirectory) -> Search:
    from lehr.sweep.search import Search, Settings, space

    if problems := section_problems(Settings, found.sweeper, "hydra.sweeper"):
        raise ConfigError(*problems)
    settings = Settings.model_validate(found.sweeper)
    return Search(directory.path, settings, space(found.space), found.compose_point, directory.prepare)


def _launcher(found: Grid, count: int) -> Launcher:
    """What trains `count` points.

    Raises:
        ConfigError: if it needs what is not installed.
    """
    pool, retry = found.pool, _retry(found)
    if found.launcher_name == "pool":
        from lehr.sweep.pool import Pool, slots

        return Pool(slots(count, **pool, devices=_devices(found)), retry)
    if found.launcher_name == "ray":
        from lehr.sweep.ray_launcher import RayLauncher

        if importlib.util.find_spec("ray") is None:
            raise ConfigError("hydra/launcher=ray: Ray is not installed; pip install 'lehr[ray]'")
        return RayLauncher(**{key: value for key, value in found.launcher.items() if key != "_target_"}, retry=retry)
    from lehr.sweep.hydra_launcher import HydraLauncher

    at_once = None
    if found.launcher_name == "basic":
        at_once = 1
    elif found.sweeper_name == SEARCH:  # the next trials are asked for when these have ended
        at_once = pool["workers"] if isinstance(pool["workers"], int) else os.cpu_count()
    return HydraLauncher(found.recipe.base(), found.recipe.composer.loader(), retry, at_once)


def _pool_problems(found: Grid) -> list[str]:
    if found.launcher_name != "pool":
        return []
    from lehr.sweep.pool import visible_gpus

    gpus, devices = found.pool["gpus_per_run"], _devices(found)
    if gpus > 1 and devices not in (1, gpus):
        return [f"trainer.devices={devices}: a run has pool.gpus_per_run={gpus}; leave trainer.devices out"]
    if gpus > 1 and found.pool["gpus"] != 0 and gpus > (there := len(visible_gpus())):
        return [f"pool.gpus_per_run={gpus}: this machine has {there} GPUs"]
    return []


def _starter_problems() -> list[str]:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return ["-m: torchrun starts a single run; a sweep starts the processes of each run itself (trainer.devices)"]
    return []


def _devices(found: Grid) -> int:
    """Of which each run consists, as processes; what a run finds for itself does not count."""
    devices = found.recipe.base().trainer.devices
    return devices if isinstance(devices, int) else 1
