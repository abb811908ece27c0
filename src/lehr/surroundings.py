"""What the environment says of the place of this process among those of a run, and the rest of it hidden.

A run is decided by its configuration and, where as many processes as it is to have were started by torchrun or srun, by
what these say of each. Lightning and torch also heed what other programs have left in the environment, and settings
that stand in no configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_OF_A_PLACE = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "STANDALONE_PORT",
)  # fmt: skip
_OF_TORCHRUN = "TORCHELASTIC_"  # how its processes find each other
_OF_LIGHTNING = ("PL_", "LT_")  # arguments of its Trainer, seeds
_OF_IMPORTS = ("SLURM_PROCID", "JSM_NAMESPACE_RANK")  # heeded where Lightning is imported; for others they stay


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run.

    Attributes:
        rank, world: which it is, and of how many.
        local_rank, node: which it is on its machine, and which machine that is.
        address, port: where they all meet.
        starter: "torchrun", "srun", or "lehr" where the first process starts the others.
    """

    rank: int
    world: int
    local_rank: int
    node: int
    address: str
    port: int
    starter: str = "lehr"


def places() -> Iterator[Place]:
    """Where torchrun and srun say that this process stands among those that they have started with it."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        place = _numbers("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")
        if place and (port := _number("MASTER_PORT")) is not None:
            yield Place(*place, os.environ.get("MASTER_ADDR", "127.0.0.1"), port, "torchrun")
    if "SLURM_STEP_ID" in os.environ:
        place = _numbers("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NODEID")
        if place:
            # steps of one job may run side by side
            port = 15_000 + ((_number("SLURM_JOB_ID") or 0) + 1_009 * (_number("SLURM_STEP_ID") or 0)) % 10_000
            nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST") or ""
            yield Place(*place, _first_of(nodes), port, "srun")


def _numbers(rank: str, world: str, local_rank: str, node: str) -> tuple[int, int, int, int] | None:
    """What these variables say, None where it is no place among several; one machine is taken for all there is."""
    first, second = _number(rank), _number(world)
    if first is None or second is None or not 0 <= first < second:
        return None
    local, where = _number(local_rank), _number(node)
    return first, second, first if local is None else local, where or 0


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() else None


def _first_of(nodes: str) -> str:
    """The address of the first machine of a list as Slurm writes it: of "node[07-09,12],login" it is node07."""
    if not set(nodes) & {",", "["}:  # this machine, which need not know its own name
        return "127.0.0.1"
    head, bracket, rest = nodes.partition("[")
    if "," in head or not bracket:
        return head.partition(",")[0]
    inside, _, after = rest.partition("]")
    return head + inside.replace("-", ",").partition(",")[0] + after.partition(",")[0]


@contextmanager
def hidden(place: Place | None = None, importing: bool = False) -> Iterator[None]:
    """Within the block there is nothing in the environment of what a run does not heed; afterwards it is as it was.

    Args:
        place: that the run has been given from outside.
        importing: whether Lightning is imported in the block.
    """
    of_torchrun = () if place and place.starter == "torchrun" else (_OF_TORCHRUN,)
    before = {name: text for name, text in os.environ.items() if _is_of(name, *of_torchrun)}
    if importing:
        before |= {name: os.environ[name] for name in _OF_IMPORTS if name in os.environ}
    for name in before:
        del os.environ[name]
    try:
        yield
    finally:
        for name in [name for name in os.environ if _is_of(name, *of_torchrun)]:
            del os.environ[name]  # what was put there for this run alone
        os.environ.update(before)


def _is_of(name: str, *prefixes: str) -> bool:
    return name in _OF_A_PLACE or name.startswith((*_OF_LIGHTNING, *prefixes))
