"""The most memory that a training took: of the process on the host, and of torch's tensors on a GPU.

Both are marks that the system and torch's allocator keep by themselves, set back when a training begins; a step pays
nothing for them.
"""

from __future__ import annotations

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import torch

_MIB = 2**20
_SET_BACK = "5"  # sets the mark of the largest resident set to what is resident now; Linux, proc_pid_clear_refs(5)


class PeakMemory:
    """Within a `with` block: the most memory that this process takes.

    Of blocks that are open at the same time, in threads, none can say whose memory it was, so none says anything.

    Args:
        device: that is trained on.
        alone: whether what is trained is all that this process trains now.

    Attributes:
        found: MiB, `memory/...` as of the catalogue, of a block that has been left; empty where that is not known.
    """

    _open: ClassVar[set[PeakMemory]] = set()

    def __init__(self, device: torch.device, alone: bool = True) -> None:
        self._device, self._alone = device, alone
        self._mark = 0
        self.found: dict[str, float] = {}

    def __enter__(self) -> PeakMemory:
        if PeakMemory._open:
            for one in (self, *PeakMemory._open):
                one._alone = False
        PeakMemory._open.add(self)
        if self._alone:
            self._mark = 0 if _set_back() else highest_resident()
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        PeakMemory._open.discard(self)
        if not self._alone:
            return
        if (highest := highest_resident()) > self._mark:  # else the most was before, and that of the block is unknown
            self.found["memory/peak_mib"] = highest / _MIB
        if self._device.type == "cuda":
            self.found["memory/gpu_peak_mib"] = torch.cuda.max_memory_allocated(self._device) / _MIB


def highest_resident() -> int:
    """The largest resident set of this process since the mark was set back, or since it began: bytes."""
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _set_back() -> bool:
    """Whether the mark could be set back: elsewhere than on Linux there is no way."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_SET_BACK)
        return True
    return False
