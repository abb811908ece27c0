"""What this machine has room for: how many runs at once, with which threads and GPUs each."""

from __future__ import annotations

import os
from dataclasses import dataclass

FEWEST_LANES = 4
"""That make it worth while to have a process of their own: a step of fewer takes each of them as long as alone."""


@dataclass(frozen=True)
class Slot:
    """Room for one point at a time.

    Attributes:
        threads: that each of its processes may use.
        gpus: what CUDA_VISIBLE_DEVICES is to be; None leaves it.
        devices: what trainer.devices is to be; None leaves it.
    """

    threads: int
    gpus: str | None = None
    devices: int | None = None


def slots(count: int, workers: int | str, gpus: int | str, gpus_per_run: int, per_gpu: int, devices: int) -> list[Slot]:
    """The slots of this machine for a sweep of `count` points.

    Args:
        count: of points; there are no more slots than these.
        workers: how many at once on CPUs; "auto" for as many as there are cores.
        gpus: how many GPUs to use, "auto" for all; without any, runs are on CPUs.
        gpus_per_run: of each slot.
        per_gpu: slots that share their GPUs.
        devices: processes that each run consists of.
    """
    visible = visible_gpus()
    if gpus != "auto":
        visible = visible[: int(gpus)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    groups = [",".join(visible[i : i + gpus_per_run]) for i in range(0, len(visible) - gpus_per_run + 1, gpus_per_run)]
    if groups:
        shared = [group for _ in range(per_gpu) for group in groups][:count]
        threads = _threads(cores // (len(shared) * gpus_per_run))
        return [Slot(threads, group, gpus_per_run if gpus_per_run > 1 else None) for group in shared]
    at_once = max(1, min(count, cores // devices)) if workers == "auto" else min(count, int(workers))
    # without any, runs must not find the GPUs that there are
    return [Slot(_threads(cores // (at_once * devices)), "" if gpus == 0 else None)] * at_once


def _threads(share: int) -> int:
    """Of each process: what the user has said, or its share of the cores."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else max(1, share)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. torch is not asked: it takes seconds."""
    import subprocess

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, line in enumerate(x for x in listed.splitlines() if x.startswith("GPU "))]


def processes_for(runs: int, slots: int) -> int:
    """Between how many processes lanes are divided that are so many runs of one program."""
    return max(1, min(slots, runs // FEWEST_LANES))
