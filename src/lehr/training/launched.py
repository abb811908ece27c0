"""Whether the ranks of a run were started from outside, by torchrun or srun, each with the same command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def rank_from_outside(config: Mapping[str, Any]) -> int | None:
    """The rank of this process, or None where the run starts its other ranks itself.

    Only where as many processes were started as the run is to have: in a shell of an allocation, in a job of one
    task and in a script that starts something else first, the variables of a cluster say nothing of this run.
    """
    trainer = config["trainer"]
    devices = trainer["devices"] if isinstance(trainer["devices"], int) else None
    for world, rank, sign in (
        ("WORLD_SIZE", "RANK", "TORCHELASTIC_RUN_ID"),
        ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID"),
    ):
        if sign not in os.environ or rank not in os.environ:
            continue
        processes = int(os.environ.get(world, "1"))
        if processes > 1 and devices in (None, processes // trainer["num_nodes"]):
            return int(os.environ[rank])
    return None
