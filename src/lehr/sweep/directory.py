"""The directory of a sweep: a run directory for each point, sweep.yaml, and what state the points are in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lehr.errors import ConfigError
from lehr.files import write_text
from lehr.sweep.names import DIGITS, digits_of
from lehr.sweep.point import FILE, Point
from lehr.training.claim import Claim, is_claimed
from lehr.training.directory import (
    DONE,
    FAILED,
    INTERRUPTED,
    PRUNED,
    RUNNING,
    RunDirectory,
    lacks_evaluation,
    provenance,
)

WAITING = "waiting"
STATES = (DONE, PRUNED, RUNNING, WAITING, INTERRUPTED, FAILED)
ENDED = (DONE, PRUNED, FAILED)


def state_of(run_dir: Path, evaluate: str = "none") -> str:
    """What has become of the point in `run_dir`: one of `STATES`.

    A run that nobody is working on, although its status.json says so, is interrupted, and so is one that is done but
    for an evaluation on the level `evaluate` at its end. One that somebody has taken, although it does not say so yet,
    is running.
    """
    status = RunDirectory(run_dir).read_status()
    state = status.get("state")
    if state == DONE and lacks_evaluation(status, evaluate):
        state = INTERRUPTED
    if state in ENDED:
        return str(state)
    if is_claimed(run_dir):
        return RUNNING
    return INTERRUPTED if state in (RUNNING, INTERRUPTED) else WAITING


@dataclass(frozen=True)
class Grid:
    """What a sweep varies and what it does not, as sweep.yaml keeps it.

    Attributes:
        keys: that are swept, in order.
        choices: group -> choice, of what is not swept.
        constant: dotted key -> value, of what is the same in all points.
    """

    keys: list[str]
    choices: dict[str, str]
    constant: dict[str, Any]

    def differences(self, other: Grid) -> list[str]:
        """Where `other` holds something else fixed than this: a line for each key. The runs could not be told apart."""
        swept = {*self.keys, *other.keys}
        return [
            f"{key}={_shown(other.constant[key])}: is {_shown(value)} in this sweep; sweep it "
            f"({key}={_shown(value)},{_shown(other.constant[key])}) or choose another hydra.sweep.dir"
            for key, value in self.constant.items()
            if key in other.constant
            and other.constant[key] != value
            and key not in swept
            and key.partition(".")[0] not in swept
        ]

    def extended(self, other: Grid) -> Grid:
        """Both together."""
        return Grid(
            keys=[*self.keys, *(key for key in other.keys if key not in self.keys)],
            choices={**other.choices, **self.choices},
            constant={key: value for key, value in self.constant.items() if other.constant.get(key, _NONE) == value},
        )


_NONE = object()


class SweepDirectory:
    """Paths and small files of a sweep."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._known: dict[str, Path] | None = None

    @property
    def file(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def results(self) -> Path:
        return self.path / "results.csv"

    def run_dirs(self) -> dict[str, Path]:
        """The directories of points, by the digits of the identity that their names end in."""
        if not self.path.is_dir():
            return {}
        found = ((digits_of(path.name), path) for path in self.path.iterdir())
        return {digits: path for digits, path in found if digits}

    def run_dir(self, point: Point) -> Path:
        """Where `point` is, or is to be."""
        if self._known is None:  # under the name that it was given when the sweep varied other keys
            self._known = self.run_dirs()
        return self._known.get(point.id[:DIGITS]) or self.path / point.name

    def state(self, point: Point) -> str:
        """What has become of `point`, its evaluation included."""
        return state_of(self.run_dir(point), point.config["evaluate"])

    def prepare(self, point: Point) -> Path:
        """The directory of `point`, with everything in it from which it can be trained.

        Raises:
            ConfigError: if another point has the same digits.
        """
        run_dir = self.run_dir(point)
        if (run_dir / FILE).exists() and Point.read(run_dir).id != point.id:
            raise ConfigError(f"{run_dir}: is another point whose name ends alike; choose another hydra.sweep.dir")
        if self.state(point) not in (RUNNING, DONE):
            point.write(run_dir)
        return run_dir

    def read(self) -> dict[str, Any]:
        """sweep.yaml; empty if there is none.

        Raises:
            ConfigError: if it cannot be read.
        """
        try:
            found = yaml.load(self.file.read_text(encoding="utf-8"), _Loader)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigError(f"{self.file}: cannot be read ({' '.join(str(error).split())})") from error
        if not isinstance(found, dict) or not {"keys", "choices", "constant"} <= set(found):
            raise ConfigError(f"{self.file}: is not the record of a sweep")
        return found

    def problems(self, grid: Grid) -> list[str]:
        """Why the points of `grid` cannot lie here, a line each."""
        if problems := RunDirectory(self.path).problems(overwrite=True):
            return [f"hydra.sweep.{line}" for line in problems]
        if RunDirectory(self.path).state() is not None:
            return [f"hydra.sweep.dir={self.path}: is the directory of a single run; choose another"]
        try:
            found = self.read()
        except ConfigError as error:
            return list(error.problems)
        return _grid(found).differences(grid) if found else []

    def record(self, grid: Grid, typed: Iterable[str]) -> None:
        """Write sweep.yaml, or add to it.

        Raises:
            ConfigError: if the directory cannot be written to.
        """
        try:
            while (claim := Claim.take(self.path)) is None:
                time.sleep(0.1)
            with claim:
                found = self.read()
                both = _grid(found).extended(grid) if found else grid
                kept = {"keys": both.keys, "choices": both.choices, "constant": both.constant}
                typed = list(typed)
                grids = [*found.get("grids", ()), *([typed] if typed not in found.get("grids", ()) else [])]
                made = found or provenance()
                of_the_start = {key: made.get(key) for key in ("git_commit", "versions")}
                record = {"grids": grids, **kept, **of_the_start}
                write_text(self.file, yaml.dump(record, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise ConfigError(f"hydra.sweep.dir={self.path}: cannot be written to ({error.strerror})") from error


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _grid(found: Mapping[str, Any]) -> Grid:
    return Grid(list(found["keys"]), dict(found["choices"]), dict(found["constant"]))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False).replace(" ", "")
