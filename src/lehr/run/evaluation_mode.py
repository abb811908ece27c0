"""How networks are measured, in the middle of a training too, which goes on as if they had not been."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Within the block all of `modules` is in evaluation mode and in the precision of its weights.

    Afterwards each part is in the mode it was in.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    devices = {tensor.device for module in modules for tensor in module.parameters()} or {torch.device("cpu")}
    for module in modules:
        module.eval()
    try:
        with in_own_precision(devices.pop()):
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def in_own_precision(device: torch.device) -> torch.autocast:
    """Within the block networks on `device` compute in the type of their weights, however they are trained.

    What is measured belongs to the weights that are exported, and to them alone: a validation, a test and `lehr
    evaluate`, years later and on another machine, measure the same.
    """
    return torch.autocast(device.type, enabled=False)
