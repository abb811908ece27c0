"""Whether the ranks of a run were started from outside, by torchrun or srun, each with the same command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any


def rank_from_outside(config: Mapping[str, Any]) -> int | None:
    """The rank of this process, or None where the run starts its other ranks itself.

    Only where as many processes were started as the run is to have: in a shell of an allocation, in a job of one
    task and in a script that starts something else first, the variables of a cluster say nothing of this run.
    """
    trainer = config["trainer"]
    devices = trainer["devices"] if isinstance(trainer["devices"], int) else None
    for processes, rank in _started():
        if processes > 1 and devices in (None, processes / trainer["num_nodes"]):
            return rank
    return None


def processes_from_outside() -> int | None:
    """How many processes torchrun or srun has started with this one, whether or not they are of one run."""
    return next((processes for processes, _ in _started() if processes > 1), None)


def _started() -> Iterator[tuple[int, int]]:
    """How many processes were started together, and which of them this is, as each of the starters says it."""
    for world, rank, sign in (
        ("WORLD_SIZE", "RANK", "TORCHELASTIC_RUN_ID"),
        ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID"),
    ):
        if sign in os.environ and rank in os.environ:
            yield int(os.environ.get(world, "1")), int(os.environ[rank])
