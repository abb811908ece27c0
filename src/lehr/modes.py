"""Modes of torch that a program may be in when it calls lehr, and that would change what comes of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext


@contextmanager
def as_torch_begins() -> Iterator[None]:
    """Within the block gradients can be taken, new numbers are float32, and lie on the CPU if nothing else is said.

    So a run that is begun in a program has the numbers that the command gives. Torch is not imported for it: where it
    has not been, it is as it begins.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    dtype = torch.get_default_dtype()
    is_elsewhere = torch.get_default_device().type != "cpu"
    torch.set_default_dtype(torch.float32)
    try:
        # a device costs a little at every call of torch's
        with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu") if is_elsewhere else nullcontext():
            yield
    finally:
        torch.set_default_dtype(dtype)
