"""From the configuration of a sweep to what trains its points."""

from __future__ import annotations

import importlib.util
import math
import os

from lehr.compose.grid import SEARCH, Grid
from lehr.config.given import NOTHING, Given
from lehr.config.problems import section_problems
from lehr.config.schema import FusedLauncher as FusedSettings
from lehr.config.schema import RayLauncher as RaySettings
from lehr.surroundings import places
from lehr.sweeps.fused import Fused
from lehr.sweeps.here import Here
from lehr.sweeps.launching import Launcher
from lehr.sweeps.pool import Pool
from lehr.sweeps.sizes import MOST_LANES, MOST_TRIALS, Sizes
from lehr.sweeps.slots import slots, visible_gpus

_GENERATIONS = 4
"""Of trials of a search that are begun together, and so know nothing of each other: there are so many or more."""


def launcher(found: Grid, count: int, retry: str | None, given: Given = NOTHING) -> Launcher:
    """What trains `count` points.

    Raises:
        ConfigError: if it does not take its settings.
    """
    if given:
        return Here(given, retry)
    pool = found.pool
    if found.launcher_name in ("pool", "fused"):
        return _here(found, count, retry)
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


def _here(found: Grid, count: int, retry: str | None) -> Launcher:
    """What trains points on this machine."""
    settings = dict(found.pool)
    fused = settings.pop("fused")
    places = slots(count, **settings, devices=found.devices)
    pool = Pool(places, retry)
    if found.launcher_name == "pool" and fused == "none":
        return pool
    is_asked = found.launcher_name == "fused"
    lanes = FusedSettings.model_validate(found.launcher).lanes if is_asked else "auto"
    is_search = found.sweeper_name == SEARCH
    accelerator = "cpu" if settings["gpus"] == 0 else None
    most = min(MOST_TRIALS, math.ceil(count / _GENERATIONS)) if is_search else MOST_LANES
    sizes = Sizes(lanes, places, most, accelerator, is_left=fused == "auto")
    # of a search each further trial is asked for when one has ended, from which it learns
    at_once = (most if lanes == "auto" else lanes) if is_search else None
    if at_once and fused == "auto":  # what is left to the pool has all its slots
        at_once = max(at_once, len(places))
    return Fused(pool, places, sizes, retry, at_once, accelerator)


def launcher_problems(found: Grid, given: Given = NOTHING) -> list[str]:
    """A line for each thing in the way of the launcher that was chosen."""
    if given:  # which is trained in this process, whatever the pool is told
        name, what = found.launcher_name, " and ".join(given)
        own = f"hydra/launcher={name}: only this process has the {what} that you give; leave it out"
        return [] if name == "pool" else [own]
    if any(place.world > 1 and place.starter == "torchrun" for place in places()):
        return ["-m: torchrun starts a single run; a sweep starts the processes of each run itself (trainer.devices)"]
    if found.launcher_name not in ("pool", "fused") and (fused := found.pool["fused"]) != "none":
        return [f"pool.fused={fused}: hydra/launcher={found.launcher_name} trains each run by itself; leave one out"]
    if found.launcher_name == "ray":
        if importlib.util.find_spec("ray") is None:
            return ["hydra/launcher=ray: Ray is not installed; pip install 'lehr[ray]'"]
        return section_problems(RaySettings, found.launcher, "hydra.launcher")
    if found.launcher_name == "fused" and (
        problems := section_problems(FusedSettings, found.launcher, "hydra.launcher")
    ):
        return problems
    if found.launcher_name not in ("pool", "fused"):
        return []
    if found.launcher_name == "pool" and (others := [key for key in found.launcher if key != "_target_"]):
        own = ", ".join(f"pool.{key}" for key in found.pool)
        return [f"hydra.launcher.{others[0]}: is of another launcher; the pool has {own}"]
    wanted, gpus, devices = found.pool["gpus"], found.pool["gpus_per_run"], found.devices
    if gpus > 1 and devices not in (1, gpus):
        return [f"trainer.devices={devices}: a run has pool.gpus_per_run={gpus}; leave trainer.devices out"]
    needed = max(gpus if wanted != 0 and gpus > 1 else 0, wanted if isinstance(wanted, int) else 0)
    if needed and needed > (there := len(visible_gpus())):
        key = "pool.gpus" if needed == wanted else "pool.gpus_per_run"
        return [f"{key}={needed}: this machine has {there} GPU{'s'[: there != 1]}"]
    return []
