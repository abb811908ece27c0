"""Tensors as files, each with the id of the trained model that they belong to.

What is measured of a model, fitted to its latents or drawn from it is written beside its weights. A process can be
killed between two of these files; the id in each of them shows which belong together. torch is imported by what needs
it: reports read such files without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.errors import CheckpointError
from lehr.files import replacing

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

MODEL = "model"
"""The name under which a file keeps the id."""
_NOTHING: Mapping[str, str] = {}


def model_id(weights: Mapping[str, Tensor]) -> str:
    """A digest (32 hexadecimal digits) of weights: their names, types, shapes and bytes, in whatever order."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], model: str | None, about: Mapping[str, str] = _NOTHING
) -> None:
    """Write `tensors` with the id `model` of what they belong to, None where that has none, and texts `about` them."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_tensors(path, own, {**({} if model is None else {MODEL: model}), **about} or None)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    """Write tensors as safetensors does, for whoever may read other files here: its own are their owner's alone."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata)
        if metadata and len(metadata) > 1:
            _sort_metadata(temporary)
        temporary.chmod(mode)


def _sort_metadata(path: Path) -> None:
    """Put the texts of a file of tensors in the order of their names: they were written in another each time.

    The file begins with the length of its header (8 bytes, the least first), which is JSON and then spaces.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length  # of the same characters
        file.seek(8)
        file.write(text.ljust(length))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors in a file, and the id that they were written with; None in files of earlier versions.

    Raises:
        OSError, SafetensorError: if it is not there, or no such file.
    """
    return _read(path, "pt")


def read_arrays(path: Path) -> tuple[dict[str, npt.NDArray[Any]], str | None]:
    """As `read_tensors`, as arrays of numpy."""
    return _read(path, "np")


def _read(path: Path, framework: str) -> tuple[dict[str, Any], str | None]:
    with _opened(path, framework) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _id(file.metadata())  # noqa: SIM118


def read_id(path: Path) -> str | None:
    """The id that a file of tensors was written with; None in files of earlier versions.

    Raises:
        OSError, SafetensorError: if it is not there, or no such file.
    """
    with _opened(path, "np") as file:
        return _id(file.metadata())


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that a file of tensors was written with.

    Raises:
        OSError, SafetensorError: if it is not there, or no such file.
    """
    with _opened(path, "np") as file:
        return dict(file.metadata() or {})


def require_same_model(path: Path, written: str | None, model: str | None, advice: str) -> None:
    """Check that the file at `path`, which says that it belongs to the model `written`, belongs to `model`.

    Where one of the two is not known it may: earlier versions wrote no ids.

    Raises:
        CheckpointError: if it does not; `advice` says what to do then.
    """
    if written is not None and model is not None and written != model:
        raise CheckpointError(f"{path}: belongs to another model than the weights in model/; {advice}")


def _opened(path: Path, framework: str) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework=framework)


def _id(metadata: Mapping[str, str] | None) -> str | None:
    return (metadata or {}).get(MODEL)
