"""`model.pretrained`: weights that were trained elsewhere, from a folder, a file or the hub.

Nothing in them is executed. They are read when a training begins; what it has come to stands in the run's own files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lehr.errors import ConfigError
from lehr.models.first_stage.base import FirstStage
from lehr.models.first_stage.layouts import Weights
from lehr.models.first_stage.recognise import Shapes, difference, image_channels, shapes_of
from lehr.run.model_files import build_model
from lehr.run.published import read_published
from lehr.tensors import model_id


@dataclass(frozen=True)
class Pretrained:
    """Weights as they were read, by diffusers' names.

    Attributes:
        name: what the configuration calls them.
        weights: of the encoder and the decoder, and of what lies between them.
    """

    name: str
    weights: Weights

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Pretrained | None:
        """Those that a configuration asks for, None where it asks for none; checked against the model it describes.

        Raises:
            ConfigError: in a line, if they are not there, or not of such a model.
        """
        name = config["model"].get("pretrained")
        if not isinstance(name, str):
            return None
        try:
            found = cls(name, read_published(name).weights)
        except ValueError as error:
            raise ConfigError(f"model.pretrained={name}: {error}") from error
        found._require_fit(config)
        return found

    @property
    def id(self) -> str:
        """A digest of the weights, by which they are known again wherever they lie."""
        return model_id(self.weights)

    def give(self, module: Any, config: Mapping[str, Any]) -> None:
        """Give `module.model` these weights.

        Raises:
            ConfigError: in a line, if they are of another one.
        """
        model = module.model
        if not isinstance(model, FirstStage):
            raise ConfigError(f"model.pretrained={self.name}: {type(model).__name__} is not read from other files")
        if problem := self._problem(model):
            raise ConfigError(problem + self._without_opacity(config, model))
        model.load_state_dict(self.weights)
        model.loaded()

    def _without_opacity(self, config: Mapping[str, Any], model: FirstStage) -> str:
        """What to say where the weights are of colours, and the images have an opacity."""
        if (model.image_shape[0], image_channels(shapes_of(self.weights))) != (4, 3):
            return ""
        ways = {"background": "data.background=white", "channels": "data.channels=3"}
        return "".join(f"; say {way}" for key, way in ways.items() if key in config["data"])

    def _require_fit(self, config: Mapping[str, Any]) -> None:
        """Compare with the configured model before data are read, whose channels are taken to be the weights'."""
        channels = image_channels(shapes_of(self.weights))
        with torch.device("meta"):  # shapes alone
            model = build_model(config, (channels, 1024, 1024))
        if isinstance(model, FirstStage) and (problem := self._problem(model)):
            raise ConfigError(problem)

    def _problem(self, model: FirstStage) -> str | None:
        """What does not fit, in a line."""
        what = difference(self.weights, model)
        if what is None:
            return None
        what = _sizes(shapes_of(self.weights), shapes_of(model.state_dict()), model) or f"{what}; {_CHOOSE}"
        return f"model.pretrained={self.name}: {what}"


_FIRST = ("encoder.conv_in.weight", "encoder.layers.0.weight")
_LATENTS = ("decoder.conv_in.weight", "decoder.layers.0.weight")
_CHOOSE = "choose the model that it is of"


def _sizes(there: Shapes, wanted: Shapes, model: FirstStage) -> str | None:
    """Of the sizes that people choose, the first that differs."""
    for name in _LATENTS:
        if name in there and name in wanted and there[name][1] != wanted[name][1]:
            return f"the weights have {there[name][1]} latent channels; model.latent_channels={wanted[name][1]}"
    for name in _FIRST:
        if name in there and name in wanted:
            if there[name][1] != wanted[name][1]:
                return f"the weights take {there[name][1]} channels, and the encoder is given {wanted[name][1]}"
            if there[name][0] != wanted[name][0]:
                return f"the weights have {there[name][0]} channels at first; model.base_channels={wanted[name][0]}"
    has, wants = ("post_quant_conv.weight" in one for one in (there, wanted))
    of_one_kind = any(name in there and name in wanted for name in _FIRST)
    if has != wants and of_one_kind and "quantize.embedding.weight" not in wanted:
        return f"the weights have {'' if has else 'no '}1x1 convolutions; say model.quant_conv={str(has).lower()}"
    return None
