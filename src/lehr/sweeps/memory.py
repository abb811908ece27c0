"""How much memory is free, for as many lanes as there is room for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Files of a group of processes: what it may take and what it takes, of version 2 and of version 1."""


def free_memory(proc: Path = Path("/proc"), groups: Path = _GROUPS) -> int:
    """Bytes that this process can have beside what it has: of the machine, and of each group that it is in."""
    return max(0, min([_of_the_machine(proc), *_of_groups(proc, groups)]))


def _of_the_machine(proc: Path) -> int:
    with suppress(OSError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # macOS does not say what is free
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_groups(proc: Path, groups: Path) -> Iterator[int]:
    """What each group of processes leaves, of this process's own and of those around it."""
    yield from (left for folder in _folders(proc, groups) if (left := _left(folder)) is not None)


def _folders(proc: Path, groups: Path) -> Iterator[Path]:
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            # version 2 has one tree, at the top or beside version 1; of a container the outside is hidden
            for top in [groups / "memory"] if controllers else [groups, groups / "unified"]:
                inside = top / path.strip("/")
                yield from (one for one in (inside, *inside.parents) if one == top or top in one.parents)


def _left(folder: Path) -> int | None:
    """None where the group has no limit."""
    for limit, usage in _LIMITS:
        with suppress(OSError, ValueError):  # `max` is no number
            return int((folder / limit).read_text()) - int((folder / usage).read_text()) + _cached(folder)
    return None


def _cached(folder: Path) -> int:
    """What the group holds of files, which is given back when it is wanted."""
    with suppress(OSError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def in_words(size: float) -> str:
    """A number of bytes, as 12 MB or 1.5 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 999.5e6 else f"{max(1, round(size / 1e6)):,} MB"
