"""The weights that a run begins with where they are those of another run: fine-tuning, and the stages of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lehr.config.stages import stage_names
from lehr.errors import CheckpointError, ConfigError
from lehr.models.first_stage.base import FirstStage
from lehr.run.directory import RunDirectory
from lehr.run.model_files import WEIGHTS, read_weights_alone
from lehr.run.pretrained import Pretrained
from lehr.tensors import read_id
from lehr.training.module import VAEModule

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
        run: the directory of the run that has ended in these weights.
        weights: by the names of `lehr.run.model_files.weights_of`.
        targets: the classes of its model, likelihood and prior.
    """

    run: Path
    weights: Mapping[str, Tensor]
    targets: Mapping[str, str]

    @classmethod
    def read(cls, run: Path) -> Start:
        """The weights of a finished run. Nothing in its directory is executed, and no class of it is built.

        Raises:
            CheckpointError: if they are missing or damaged.
        """
        weights, targets = read_weights_alone(RunDirectory(run).model)
        return cls(run, weights, targets)

    @torch.no_grad()
    def give(self, module: VAEModule, config: Config) -> None:
        """Give the model these weights; likelihood and prior too what they have learnt, where they are of one kind.

        Raises:
            ConfigError: if the model has other weights, or some of other shapes.
        """
        state = module.model.state_dict()
        theirs = _below("model", self.weights)
        if problem := weights_differ(theirs, state):
            raise ConfigError(f"start_from={self.run}: is of another model: {problem}")
        for name, tensor in state.items():
            tensor.copy_(theirs[name])
        if isinstance(module.model, FirstStage):
            module.model.loaded()
        parts: dict[str, nn.Module] = {"likelihood": module.likelihood, "prior": module.prior}
        for part, network in parts.items():
            theirs, own = _below(part, self.weights), dict(network.named_parameters())
            if config[part]["_target_"] == self.targets[part] and not _differences(theirs, network.state_dict()):
                for name, parameter in own.items():
                    parameter.copy_(theirs[name])


def started_from(config: Config, directory: RunDirectory, resume: bool) -> dict[str, Any] | None:
    """What status.json says of it: the run, and the id of its model; None where a run begins with new weights.

    Of pretrained weights it has their name and a digest of what they hold.

    Raises:
        CheckpointError: if the weights are missing or damaged.
        ConfigError: if pretrained weights are, or are of another model.
    """
    if resume:
        found = directory.read_status().get("started_from")
        return found if isinstance(found, dict) else None
    if (run := start_of(config, directory)) is None:
        pretrained = Pretrained.of(config)
        return {"pretrained": pretrained.name, "weights": pretrained.id} if pretrained else None
    try:
        return {"run": str(run), "model": read_id(RunDirectory(run).model / WEIGHTS)}
    except Exception as error:
        raise CheckpointError(f"start_from={run}: its model cannot be read ({' '.join(str(error).split())})") from error


def start_of(config: Config, directory: RunDirectory) -> Path | None:
    """The directory of the run whose weights that of this configuration in `directory` begins with."""
    if len(names := stage_names(config)) > 1:
        return directory.stages / names[-2]
    return Path(run) if (run := config.get("start_from")) else None


def weights_differ(there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> str | None:
    """In words the first weight that is not there, is not here, or has another shape, and how many more are so."""
    problems = _differences(there, here)
    more = f"; and {len(problems) - 1:,} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}" if problems else None


def _below(part: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in weights.items() if name.startswith(f"{part}.")}


def _differences(there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> list[str]:
    """In words each weight that is not there, is not here, or has another shape."""
    return [
        *(f"{name} is {_shape(there.get(name))} there, {_shape(tensor)} here"
          for name, tensor in here.items() if name not in there or there[name].shape != tensor.shape),
        *(f"{name} is {_shape(tensor)} there, missing here" for name, tensor in there.items() if name not in here),
    ]  # fmt: skip


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))
