"""A checkpoint of a training as a file: it is read without executing anything in it."""

from __future__ import annotations

import errno
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from lehr.errors import CheckpointError


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint of lehr's; nothing in it is executed.

    Raises:
        CheckpointError: if it is truncated, or is something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about what it meets in a file that is refused below
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except (MemoryError, PermissionError, TimeoutError):  # says nothing of what is in it
        raise
    except Exception as error:  # on damaged files torch raises errors of a dozen kinds
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: is not a checkpoint of lehr's: it holds more than tensors") from error
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE):
            raise
        raise CheckpointError(f"{path}: is damaged, or is no checkpoint") from error
    if (
        not isinstance(checkpoint, dict)
        or not {"state_dict", "loops", "optimizer_states", "evaluated"} <= checkpoint.keys()
    ):
        raise CheckpointError(f"{path}: is not a checkpoint of lehr's")
    return checkpoint
