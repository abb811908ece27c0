"""What a program gives a run beside its configuration, and of it the model: a module of its own."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lehr.config.given import Given, not_asked_for, not_here, stands_in, type_name
from lehr.errors import ConfigError, in_a_line
from lehr.files import DIGEST_BYTES
from lehr.models.autoencoder import Autoencoder, can_be_wrapped
from lehr.models.given import copied
from lehr.tensors import model_id

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class HandedModule:
    """A module that a program has handed over as a model; it is never changed.

    Raises:
        ConfigError: if it is none that encodes and decodes, or its weights are not there yet.
    """

    choice = "given"

    def __init__(self, module: object) -> None:
        if inspect.isclass(module):
            raise ConfigError(f"model: got the class {module.__name__}; give an instance, {module.__name__}(...)")
        if not isinstance(module, nn.Module) or not can_be_wrapped(type(module)):
            given = type_name(module).removeprefix("builtins.")
            raise ConfigError(f"model: got {given}, expected a torch.nn.Module with encode(x) and decode(z)")
        self._module = module
        try:
            weights = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
            text = f"{type_name(module)} {_ADDRESS.sub('', repr(module))} {model_id(weights)}"
        except Exception as error:
            raise ConfigError(
                f"model: the weights of {type_name(module)} cannot be read ({in_a_line(error)})"
            ) from error
        self._digest = hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()

    def section(self) -> dict[str, Any]:
        """What the configuration of a run says of it."""
        return {"_target_": "lehr.models.GivenModule", "type": type_name(self._module), "digest": self._digest}

    def misfit(self, weights: Mapping[str, Tensor]) -> str | None:
        """Where the module is built unlike the one with these weights, of a run's model, in words; None where not."""
        prefix = "model." if isinstance(self._module, Autoencoder) else "model.module."  # where it is wrapped
        there = {name.removeprefix(prefix): tuple(t.shape) for name, t in weights.items()}
        here = {name: tuple(t.shape) for name, t in self._module.state_dict().items() if isinstance(t, Tensor)}
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                return f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
        return None

    def build(self) -> nn.Module:
        """A copy, with the weights that it has now."""
        return copied(self._module)


def handed_module(given: Given) -> HandedModule | None:
    """The model that was given, if any."""
    model = given.get("model")
    assert model is None or isinstance(model, HandedModule)
    return model


def model_problems(config: Mapping[str, Any], given: Given, place: object, anew: bool = False) -> list[str]:
    """A line if the model of a run is not given although it was, or is given although it was not.

    Args:
        config: of the run.
        given: what is given now.
        place: where the run lies.
        anew: whether the run begins, so that the model has to have its first weights; else others are loaded into it.
    """
    model = handed_module(given)
    if (model is not None) != stands_in(config, "model"):
        return [not_here("model", place) if model is None else not_asked_for("model", config)]
    if model is None or not anew or model.section() == config["model"]:
        return []
    return [f"model: is not the one that the configuration names, model.digest={config['model']['digest']}"]


def require_fit(given: Given, weights: Mapping[str, Tensor]) -> None:
    """Check that weights of a run can be loaded into the model that is given, if one is.

    Args:
        given: what is given.
        weights: of the run, by the names of `lehr.run.model_files.weights_of`.

    Raises:
        ConfigError: if they cannot.
    """
    model = handed_module(given)
    own = {name: weight for name, weight in weights.items() if name.startswith("model.")}
    if model and (misfit := model.misfit(own)):
        raise ConfigError(f"model: is not built like that of the run: {misfit}")
