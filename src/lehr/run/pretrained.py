"""`model.pretrained`: weights that were trained elsewhere, from a folder, a file or the hub.

Nothing in them is executed. They are read when a training begins; what it has come to stands in the run's own files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from lehr.errors import ConfigError, in_a_line
from lehr.models.first_stage.base import FirstStage
from lehr.models.first_stage.layouts import Weights, own_names
from lehr.paths import expanded, may_be_on_hub
from lehr.run.model_files import WEIGHTS, build_model
from lehr.tensors import read_tensors

_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_ENDINGS = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")


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
            found = cls(name, own_names(_read(name)))
        except ValueError as error:
            raise ConfigError(f"model.pretrained={name}: {error}") from error
        found._require_fit(config)
        return found

    def give(self, module: Any, config: Mapping[str, Any]) -> None:
        """Give `module.model` these weights.

        Raises:
            ConfigError: in a line, if they are of another one.
        """
        model = module.model
        if not isinstance(model, FirstStage):
            raise ConfigError(f"model.pretrained={self.name}: {type(model).__name__} is not read from other files")
        if problem := self._problem(model):
            raise ConfigError(problem)
        model.load_state_dict(self.weights)
        model.loaded()

    def _require_fit(self, config: Mapping[str, Any]) -> None:
        """Compare with the configured model before data are read, whose channels are taken to be the weights'."""
        last = [name for name in self.weights if re.fullmatch(r"decoder\.(conv_out|layers\.\d+)\.bias", name)]
        channels = len(self.weights[max(last, key=_natural)]) if last else 3
        with torch.device("meta"):  # shapes alone
            model = build_model(config, (channels, 1024, 1024))
        if isinstance(model, FirstStage) and (problem := self._problem(model)):
            raise ConfigError(problem)

    def _problem(self, model: FirstStage) -> str | None:
        """What does not fit, in a line."""
        there = {name: tuple(tensor.shape) for name, tensor in self.weights.items()}
        wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        if there == wanted:
            return None
        said = f"model.pretrained={self.name}"
        if problem := _sizes(there, wanted, model):
            return f"{said}: {problem}"
        differing = [name for name in wanted if name in there and wanted[name] != there[name]]
        if differing:
            name = differing[0]
            return f"{said}: {name} is {there[name]}, and in this model {wanted[name]}; choose the model that it is of"
        missing, extra = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
        what = [f"has no {missing[0]} and {len(missing) - 1} more"] if missing else []
        what += [f"has {extra[0]} and {len(extra) - 1} more, which this model has not"] if extra else []
        return f"{said}: {'; '.join(what)}; choose the model that it is of"


def _natural(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


_FIRST = ("encoder.conv_in.weight", "encoder.layers.0.weight")
_LATENTS = ("decoder.conv_in.weight", "decoder.layers.0.weight")
Shapes = Mapping[str, tuple[int, ...]]


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


def _read(name: str) -> dict[str, Tensor]:
    """The tensors that `name` stands for, by the names that they have there.

    Raises:
        ValueError: in a line, if there are none.
    """
    path = expanded(name)
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        return _read_file(path)
    if not may_be_on_hub(name):
        raise ValueError("there is no such file or folder")
    return _read_hub(name)


def _read_folder(path: Path) -> dict[str, Tensor]:
    for folder in (path, path / "vae"):
        for file in _DIFFUSERS:
            if (folder / file).is_file():
                return _read_file(folder / file)
    if (path / "model" / WEIGHTS).is_file():  # a run of lehr's
        return _read_file(path / "model" / WEIGHTS)
    halves: dict[str, Tensor] = {}
    for part in ("encoder", "decoder"):  # TAESD has a file for each
        files = [file for file in sorted(path.glob(f"*{part}*")) if file.suffix in _ENDINGS]
        if len(files) == 1:
            halves |= {f"{part}.{name}": tensor for name, tensor in _read_file(files[0]).items()}
    if not halves:
        raise ValueError(f"has no {_DIFFUSERS[0]}, no model/{WEIGHTS} and no files of an encoder and a decoder")
    return halves


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = read_tensors(path)[0]
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise ValueError(f"{path.name} cannot be read ({in_a_line(error)})") from error
    except Exception as error:  # what pickle and zip files raise
        raise ValueError(f"{path.name} holds more than tensors, or is damaged; save it as .safetensors") from error
    while isinstance(found, dict) and isinstance(inner := found.get("state_dict"), dict):
        found = inner
    tensors = {name: t for name, t in found.items() if isinstance(t, Tensor)} if isinstance(found, dict) else {}
    if not tensors:
        raise ValueError(f"{path.name} holds no tensors by name")
    return tensors


def _read_hub(name: str) -> dict[str, Tensor]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each of its tries
    try:
        for file in (_DIFFUSERS[0], f"vae/{_DIFFUSERS[0]}"):
            try:
                return _read_file(Path(hf_hub_download(name, file)))
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):  # that is, not reached
                    raise OSError("not reached") from error
    except RepositoryNotFoundError as error:
        raise ValueError("there is no such folder here, and no such name on the hub") from error
    except ValueError:
        raise
    except Exception as error:  # what networks raise
        kind = type(error).__name__
        raise ValueError(
            f"there is no such folder here, and the hub cannot be reached ({kind}); give a folder or a file"
        ) from error
    raise ValueError(f"on the hub it has no {_DIFFUSERS[0]}, nor one in vae/")
