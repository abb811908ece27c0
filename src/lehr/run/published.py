"""Weights of first-stage autoencoders that lie somewhere: a folder, a file or the hub, in any known layout.

Nothing in them is executed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from lehr.errors import in_a_line
from lehr.models.first_stage.layouts import Weights, own_names
from lehr.paths import expanded, may_be_on_hub
from lehr.reading import read_json
from lehr.run.model_files import WEIGHTS
from lehr.tensors import read_metadata, read_tensors

CONFIG = "config.json"
DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_ENDINGS = (".safetensors", ".ckpt", ".pth", ".pt", ".bin")
SAID = "diffusers"
"""Under which a single file that lehr writes says what is not in its weights, as a config.json would."""
_HALVES = ("encoder", "decoder")
"""Of which TAESD has a file each, named so."""
_VAE = "vae"
"""The folder of the autoencoder in that of a whole pipeline."""


@dataclass(frozen=True)
class Published:
    """An autoencoder as it was read.

    Attributes:
        place: where it lies, as it was asked for.
        files: that the weights are in.
        weights: of the encoder and the decoder, and of what lies between them, by diffusers' names.
        config: what the config.json beside them says, as diffusers writes it; empty where there is none.
    """

    place: str
    files: tuple[Path, ...]
    weights: Weights
    config: Mapping[str, Any]


def read_published(place: str) -> Published:
    """What lies at `place`.

    Args:
        place: a folder of diffusers, or of a pipeline with `vae/` in it; a run of lehr's; a folder with an encoder's
            and a decoder's file, or with one file of all weights; a file; a name on the hub.

    Raises:
        ValueError: in a line, if there is no autoencoder.
        ConfigError: for the home of a user who is not there.
    """
    path = expanded(place)
    if path.is_dir():
        files, weights = _read_folder(path)
    elif path.is_file():
        files, weights = (path,), _read_file(path)
    elif may_be_on_hub(place):
        return _read_hub(place)
    else:
        raise ValueError("there is no such file or folder")
    return Published(place, files, own_names(weights), _said_in(files[0]) or _config_at(files[0].parent))


def _read_folder(path: Path) -> tuple[tuple[Path, ...], dict[str, Tensor]]:
    whole = [folder / file for folder in (path, path / _VAE) for file in DIFFUSERS]
    for file in (*whole, path / "model" / WEIGHTS):  # the last of a run of lehr's
        if file.is_file():
            return (file,), _read_file(file)
    there = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS and file.is_file())
    halves = {part: [one for one in there if part in one.name.replace("autoencoder", "")] for part in _HALVES}
    if all(len(files) == 1 for files in halves.values()):
        parts = {f"{part}.": _read_file(file) for part, (file,) in halves.items()}
        weights = {part + name: tensor for part, half in parts.items() for name, tensor in half.items()}
        return tuple(file for (file,) in halves.values()), weights
    if len(there) == 1:
        return (there[0],), _read_file(there[0])
    several = f"; which of {there[0].name}, {there[1].name} ... is it?" if there else ""
    raise ValueError(f"has no {DIFFUSERS[0]}, no model/{WEIGHTS} and no files of an encoder and a decoder{several}")


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


def _said_in(path: Path) -> dict[str, Any]:
    """What a single file that lehr has written says; empty of any other."""
    if path.suffix != ".safetensors":
        return {}
    with suppress(ValueError):
        return _of_diffusers(json.loads(read_metadata(path).get(SAID, "null")))
    return {}


def _of_diffusers(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) and isinstance(found.get("_class_name"), str) else {}


def _config_at(folder: Path) -> dict[str, Any]:
    """The config.json in a folder; empty where it has none, or one that diffusers did not write.

    Raises:
        ValueError: in a line, if it cannot be read.
    """
    try:
        found = read_json(folder / CONFIG)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{CONFIG} cannot be read ({in_a_line(error)})") from error
    return _of_diffusers(found)


def _read_hub(name: str) -> Published:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each of its tries
    try:
        for folder in ("", f"{_VAE}/"):
            try:
                file = Path(hf_hub_download(name, f"{folder}{DIFFUSERS[0]}"))
                config = _config_at(Path(hf_hub_download(name, f"{folder}{CONFIG}")).parent)
                return Published(name, (file,), own_names(_read_file(file)), config)
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
    raise ValueError(f"on the hub it has no {DIFFUSERS[0]} beside its {CONFIG}, nor in {_VAE}/")
