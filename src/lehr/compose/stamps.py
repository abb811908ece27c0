"""When the shipped configuration was last changed: what was made of it holds for as long."""

from __future__ import annotations

import os

from lehr.config.registry import conf_dir

Stamps = tuple[tuple[str, int], ...]


def stamps() -> Stamps:
    """Every shipped file, and when it was last changed: who works on lehr itself changes them beside a notebook."""
    found = []
    for folder, _, names in os.walk(conf_dir()):
        found += [(path, os.stat(path).st_mtime_ns) for name in names if (path := os.path.join(folder, name))]
    return tuple(found)
