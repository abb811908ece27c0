"""A .wandb file read back: records of wandb's own message type, in the log format of LevelDB."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER, _BLOCK = 7, 32768  # bytes: of the file and of each part of a record; of what no part of a record crosses
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a run, wandb_internal_pb2.Record, in order."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), _HEADER, b""
    assert data[:4] == b":W&B"
    while at + _HEADER <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + _HEADER])
        record += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (_FULL, _LAST):
            found = wandb_internal_pb2.Record()
            found.ParseFromString(record)
            record = b""
            yield found


def values(items: Any) -> dict[str, Any]:
    """The items of a record: a nested one by its path with dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
