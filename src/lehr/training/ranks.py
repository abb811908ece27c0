"""The ranks of a run, and the place of a process among them: told to Lightning, not read from the environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only

from lehr.config.given import Given
from lehr.errors import ConfigError
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


def devices_of(config: Mapping[str, Any], place: Place | None) -> tuple[str, int]:
    """Which kind of device a run is trained on, and how many of them each machine has."""
    values = config["trainer"]
    accelerator, devices = values["accelerator"], values["devices"]
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if devices == "auto":
        devices = torch.cuda.device_count() if accelerator == "cuda" else 1
        if place:
            devices = place.world // values["num_nodes"]
    return accelerator, devices


def require_one_process(config: Mapping[str, Any], place: Place | None, given: Given) -> None:
    """Check that a run that was given something has no other rank: those build all of it from its configuration.

    Raises:
        ConfigError: if it has.
    """
    if given and (n := devices_of(config, place)[1] * config["trainer"]["num_nodes"]) > 1:
        what = " and ".join(given)
        raise ConfigError(f"trainer.devices: with {what} given from Python a run has one process, not {n}; say 1")
