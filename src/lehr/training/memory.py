"""A GPU that has no room for a run is told as a mistake of the user's, with what takes less."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lehr.errors import OutOfMemory


@contextmanager
def shortage_told(config: Mapping[str, Any], in_lane: bool = False) -> Iterator[None]:
    """Say in a line what a run of `config` can do where the GPU has no memory left, or one of several in step.

    Raises:
        OutOfMemory: in place of torch's error, which goes on for ten lines about its allocator.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(_line(str(error), config["data"], in_lane)) from error


def _line(said: str, data: Mapping[str, Any], in_lane: bool) -> str:
    asked = re.search(r"Tried to allocate ([\d.]+ \w+)", said)
    there = re.search(r"total capacity of ([\d.]+ \w+)", said)
    known = [f"{asked[1]} more were asked for"] if asked else []
    known += [f"it has {there[1]}"] if there else []
    sizes = ["hydra.launcher.lanes"] if in_lane else []
    sizes += [f"data.{key} ({data[key]})" for key in ("batch_size", "eval_batch_size") if key in data]
    detail = f" ({'; '.join(known)})" if known else ""
    return f"the GPU has no memory left{detail}: lower {' or '.join([*sizes, 'the size of the model'])}"
