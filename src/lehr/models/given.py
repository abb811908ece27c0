"""A module that a program hands over itself, in place of the name of a model."""

from __future__ import annotations

import copy

from torch import nn

from lehr.config.given import not_here, type_name
from lehr.errors import ConfigError, in_a_line
from lehr.limits import Text
from lehr.models.autoencoder import Autoencoder


class GivenModule(Autoencoder):
    """Stands in a configuration for a module that `lehr.train(model=...)` was given.

    Args:
        image_shape: (c, h, w).
        type: its class.
        digest: of its weights before the training, and of how it prints.

    Raises:
        ConfigError: always; a configuration does not give it back.
    """

    def __init__(self, image_shape: tuple[int, int, int], type: Text | None = None, digest: Text | None = None) -> None:
        raise ConfigError(not_here("model"))


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module on the CPU, to be trained, whatever is done to the module meanwhile.

    Its weights are those that the module has, and what of them is not to be trained is the same.

    Raises:
        ConfigError: in a line, if it cannot be copied.
    """
    try:
        return copy.deepcopy(module).cpu().train()
    except Exception as error:
        raise ConfigError(f"model: {type_name(module)} cannot be copied ({in_a_line(error)})") from error
