"""What an autoencoder costs: the time and the memory of encoding and decoding one image, by size and precision.

Times are medians after a warm-up, and those of a busy machine are of a busy machine. Memory is what tensors take at
once at most besides the weights and the input: on a GPU what torch's allocator says, on a CPU the sum over the tensors
that operations give, without what a convolution takes within itself.
"""

from __future__ import annotations

import copy
import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lehr import randomness
from lehr.errors import in_a_line
from lehr.models.autoencoder import Autoencoder

REPEATS = 5
_MOST_SECONDS = 10.0  # after which nothing is timed once more: a CPU without bfloat16 takes minutes for an image in it
_MIB = 2**20
_TYPES = {"64": torch.float64, "32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        size: height and width in pixels.
        precision: as of `trainer.precision`.
        encode_ms, decode_ms: medians; None where it cannot be done.
        encode_mib, decode_mib: memory at most.
        note: why it cannot be done, in a line; empty if it can.
    """

    size: int
    precision: str
    encode_ms: float | None = None
    decode_ms: float | None = None
    encode_mib: float | None = None
    decode_mib: float | None = None
    note: str = ""


def parameters(model: Autoencoder) -> dict[str, int]:
    """How many there are, and in which part: `encoder`, `decoder`, and of what belongs to neither `other`.

    What stands beside the two by a name of its own is counted with the one it belongs to: diffusers' `quant_conv` and
    `post_quant_conv`.
    """
    found = {"all": 0, "encoder": 0, "decoder": 0, "other": 0}
    for name, weight in model.named_parameters():
        parts = name.removeprefix("module.").split(".")
        decodes = parts[0] in ("decoder", "post_quant_conv")
        encodes = parts[0] in ("encoder", "quant_conv")
        found["decoder" if decodes else "encoder" if encodes else "other"] += weight.numel()
        found["all"] += weight.numel()
    return found


def costs(
    model: Autoencoder, sizes: Sequence[int], precisions: Sequence[str], device: torch.device, repeats: int = REPEATS
) -> list[Cost]:
    """The cost at each precision and size.

    Args:
        model: on `device`, in evaluation mode; a copy of it is measured.
        sizes: heights and widths of images.
        precisions: names as of `trainer.precision`.
        device: a CPU or a GPU.
        repeats: how many times each is timed.
    """
    found = []
    for precision in precisions:
        bits, _, kind = precision.partition("-")
        dtype = _TYPES[bits]
        own = copy.deepcopy(model).to(torch.float32 if kind == "mixed" else dtype)
        autocast = torch.autocast(device.type, dtype, enabled=kind == "mixed")
        for size in sizes:
            with torch.inference_mode(), autocast:
                found.append(_cost(own, size, precision, device, repeats))
    return found


def _cost(model: Autoencoder, size: int, precision: str, device: torch.device, repeats: int) -> Cost:
    channels, height, width = model.image_shape
    if not model.any_size and (height, width) != (size, size):
        return Cost(size, precision, note=f"takes images of {height} x {width} alone")
    shape = (1, channels, size, size)
    try:
        images = randomness.uniform(0, "cost", 0, shape, device)
        latents = model.encode(images).mean  # also the warm-up
        model.decode(latents)
        encode_ms, decode_ms = (
            _milliseconds(run, device, repeats) for run in (lambda: model.encode(images), lambda: model.decode(latents))
        )
        encode_mib, decode_mib = (
            _mib(run, device) for run in (lambda: model.encode(images), lambda: model.decode(latents))
        )
    except (RuntimeError, ValueError) as error:  # no kernel for this type, no memory, no such size
        return Cost(size, precision, note=in_a_line(error)[:120])
    return Cost(size, precision, encode_ms, decode_ms, encode_mib, decode_mib)


def _milliseconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    taken = []
    finish()
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        finish()
        taken.append(time.perf_counter() - start)
        if sum(taken) > _MOST_SECONDS:
            break
    return 1000 * statistics.median(taken)


def _mib(run: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    with TensorMemory() as watched:
        run()
    return watched.most / _MIB


class TensorMemory(TorchDispatchMode):
    """Within a `with` block: how much the tensors take that operations make, now and at most, in bytes.

    Attributes:
        most: the most at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now, self.most = 0, 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # what was there before is seen here first, and is not counted
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage(), counted=False)
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage(), counted=True)
        return found

    def _add(self, storage: torch.UntypedStorage, counted: bool) -> None:
        at = storage.data_ptr()
        if not at or at in self._sizes:
            return
        self._sizes[at] = storage.nbytes() if counted else 0
        self._now += self._sizes[at]
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._gone, at)

    def _gone(self, at: int) -> None:
        self._now -= self._sizes.pop(at, 0)
