"""A run with the weights of one of its checkpoints, in place of those that it has ended in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lehr.config.build import build
from lehr.config.given import NOTHING, Given
from lehr.data.module import ImageDataModule
from lehr.errors import CheckpointError, ConfigError
from lehr.models.components import Components
from lehr.objective.bounds import Objective
from lehr.objective.rate import RateTerm
from lehr.run.checkpoint_file import read_checkpoint
from lehr.run.contents import WEIGHTS
from lehr.run.data_record import data_of
from lehr.run.directory import RunDirectory
from lehr.run.execution import Execution
from lehr.run.finish import aggregate_posterior
from lehr.run.load import Run
from lehr.run.loaded import Parts
from lehr.run.model_files import read_weights, weights_of
from lehr.tensors import model_id


def load_weights(
    path: str | Path,
    weights: str,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
    device: torch.device | None = None,
    given: Given = NOTHING,
) -> tuple[Run, ImageDataModule]:
    """The run in directory `path` with the weights of a checkpoint, and its data, over which q(z) is measured anew.

    Args:
        path: the run directory; the run need not have ended.
        weights: "best", as they were validated; "last", as they are trained; "ema", the average in the last checkpoint.
        trust: packages of your own whose classes the run uses.
        moved: where the data lie now, see `data_of`.
        device: where the model is then; None for the CPU.
        given: what the run was given in place of names.

    Raises:
        CheckpointError: if there is no such checkpoint, it is damaged, or it has no average.
        ConfigError: for other weights, or if the run names classes of packages that are not trusted.
        DataError: if its data are not there.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"weights={weights}: must be {', '.join(WEIGHTS)} or None")
    directory, trust = RunDirectory(path), tuple(trust)
    config = directory.read_config()
    source = directory.best_checkpoint if weights == "best" else directory.last_checkpoint
    saved = read_checkpoint(source)
    averages: Mapping[str, Tensor] = saved.get("ema") or {}
    if weights == "ema" and not averages:
        raise CheckpointError(f"{source}: has no average of the weights; the run was trained without ema")
    data = data_of(directory, config, trust, moved or {}, given)
    model, likelihood, prior = read_weights(config, data.shape, saved["state_dict"], trust, source, given)
    if weights != "last":  # a validation is of the average where there is one
        _put({"model": model, "likelihood": likelihood, "prior": prior}, averages)
    device = device or torch.device("cpu")
    for module in (model, likelihood, prior):
        module.to(device)
    rate_term = build(config["kl"], RateTerm, key="kl", trust=trust)
    objective = build(config["objective"], Objective, key="objective", trust=trust)
    components = Components(model, likelihood, prior, rate_term, objective)
    aggregate = aggregate_posterior(components, data, Execution(device))
    with torch.no_grad():
        density = prior.density(model.encode)
    identity = model_id(weights_of(model, likelihood, prior))
    parts = Parts(model, likelihood, density, identity)
    run = Run(directory.path, config, lambda: parts, aggregate, trust, weights, moved, given)
    return run.to(device), data


@torch.no_grad()
def _put(modules: Mapping[str, nn.Module], averages: Mapping[str, Tensor]) -> None:
    """Give `modules` the averages, by the names of what they are of."""
    for prefix, module in modules.items():
        for all_of in (module.named_parameters, module.named_buffers):
            for name, tensor in all_of(prefix):
                if name in averages:
                    tensor.copy_(averages[name])
