"""What of a program would change what comes of a run that it begins: the modes of torch that it is in, its threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

_ONE = threading.RLock()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within the block gradients can be taken, new numbers are float32, and lie on the CPU if nothing else is said.

    Other threads wait before their own such block: they would share torch's generators, from which first weights and
    dropout are drawn, and these modes. So a run that is begun in a program has the numbers that the command gives.
    """
    if not _ONE.acquire(blocking=False):
        print("note: waits for another thread, in which lehr is at work", file=sys.stderr, flush=True)
        _ONE.acquire()
    try:
        if "torch" in sys.modules:
            with _as_torch_begins():
                yield
        else:
            yield  # which is not imported before a configuration is known to be right, and begins as it is to be
    finally:
        _ONE.release()


@contextmanager
def _as_torch_begins() -> Iterator[None]:
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
