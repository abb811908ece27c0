"""history.jsonl: every curve of a run, one line of JSON a point.

{"images": 12800, "train/loss": 31.2, ...}: images seen, then the metrics by name; NaN and infinities are null. That of
a validation has a list too, `val/kl_per_dimension`, with a number for each latent.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lehr.errors import CheckpointError, in_a_line

if TYPE_CHECKING:
    import pandas as pd


MOST_LISTED = 512
"""Latents up to which a point lists a number for each; of more it has none."""
NO_VECTORS: Mapping[str, Sequence[float]] = {}


class History:
    """Appends points to a file. They are on the disk after `flush`, and before that in memory.

    Args:
        path: the file.
        keep: lines that an earlier attempt has written and that hold; what follows them will be written again.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self._path = path
        self._lines = keep
        self._file: TextIO | None = None
        self._is_flushed = True

    @property
    def lines(self) -> int:
        """How many points there are."""
        return self._lines

    def add(
        self, images: int, metrics: Mapping[str, float], vectors: Mapping[str, Sequence[float]] = NO_VECTORS
    ) -> None:
        """Append a point: `metrics`, by name, after so many images, and `vectors` with a number for each latent."""
        point: dict[str, Any] = {"images": images, **{name: _finite(value) for name, value in metrics.items()}}
        point |= {name: [_finite(v) for v in values] for name, values in vectors.items() if len(values) <= MOST_LISTED}
        file = self._opened()
        file.write(json.dumps(point) + "\n")
        self._lines += 1
        self._is_flushed = False

    def flush(self) -> None:
        """Bring every point to the disk."""
        if self._file is not None and not self._is_flushed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._is_flushed = True

    def close(self) -> None:
        """Flush and let go of the file; a later point opens it once more."""
        try:
            self.flush()
        finally:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _opened(self) -> TextIO:
        # only once there is something to write: a run that cannot start leaves what is there
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                file.seek(0)
                kept = [line for line in islice(file, self._lines) if line.endswith(b"\n")]
                file.truncate(sum(map(len, kept)))
            self._lines = len(kept)
            self._file = self._path.open("a", encoding="utf-8")
        return self._file


def read_history(path: Path, having: str = "") -> list[dict[str, Any]]:
    """The points of a run in the order in which they were logged; a line that was cut off is left out.

    Args:
        path: the file.
        having: text without which a line is passed over, unread: of thousands of runs a report looks at few points.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if having not in line:
            continue
        try:
            points.append(json.loads(line))
        except ValueError:  # only the last one can be: its process was killed while it wrote
            break
    return points


def history_frame(path: Path) -> pd.DataFrame:
    """The points of a run as a table: a column a curve, by the number of images seen, NaN where it has no point.

    What was logged twice after so many images counts as it was logged last. A number that was not finite is NaN. Lists
    with a number for each latent are no curves, and left out.

    Raises:
        CheckpointError: if there is no such file.
    """
    import pandas as pd

    rows: dict[int, dict[str, float]] = {}
    try:
        for point in read_history(path):
            row = rows.setdefault(int(point["images"]), {})
            row.update({name: value for name, value in point.items() if not isinstance(value, list)})
        frame = pd.DataFrame(rows.values(), index=pd.Index(rows, name="images"), dtype="float64")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: there are no curves to be read ({in_a_line(error)})") from error
    return frame.drop(columns="images", errors="ignore").sort_index()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
