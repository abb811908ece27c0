"""Whether the ranks of a run were started from outside, by torchrun or srun, each with the same command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lehr.surroundings import Place, places


def place_from_outside(config: Mapping[str, Any]) -> Place | None:
    """The place of this process in the run, or None where the run starts its other ranks itself.

    Only where as many processes were started as the run is to have: in a shell of an allocation, in a job of one
    task and in a script that starts something else first, the variables of a cluster say nothing of this run.
    """
    trainer = config["trainer"]
    devices = trainer["devices"] if isinstance(trainer["devices"], int) else None
    for place in places():
        if place.world > 1 and devices in (None, place.world / trainer["num_nodes"]):
            return place
    return None


def rank_from_outside(config: Mapping[str, Any]) -> int | None:
    """The rank of this process, or None where the run starts its other ranks itself."""
    place = place_from_outside(config)
    return place.rank if place else None


def processes_from_outside() -> int | None:
    """How many processes torchrun or srun has started with this one, whether or not they are of one run."""
    return next((place.world for place in places() if place.world > 1), None)
