"""The place of a process among the ranks of its run, as Lightning asks for it: told, not read from the environment."""

from __future__ import annotations

import socket

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only

from lehr.surroundings import Place


class Ranks(ClusterEnvironment):
    """Tells Lightning the place of this process, and nothing else whatever the environment holds."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        vars(rank_zero_only)["rank"] = place.rank  # else it is what the environment said when Lightning was imported

    @property
    def creates_processes_externally(self) -> bool:
        return self.place.rank > 0 or self.place.starter != "lehr"

    @property
    def main_address(self) -> str:
        return self.place.address

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.place.world

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self.place.local_rank

    def node_rank(self) -> int:
        return self.place.node


def first_place(world: int) -> Place:
    """That of a process which starts the other ranks of its run itself, on this machine."""
    return Place(rank=0, world=world, local_rank=0, node=0, address="127.0.0.1", port=_free_port() if world > 1 else 0)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
