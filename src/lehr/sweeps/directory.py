"""The directory of a sweep: a run directory for each point, sweep.yaml, and what state the points are in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lehr.errors import CheckpointError, ConfigError
from lehr.files import write_text
from lehr.reading import read_yaml
from lehr.run.claim import Claim, is_claimed
from lehr.run.directory import RunDirectory
from lehr.run.identity import canonical, differing, parts
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING, lacks_evaluation, provenance
from lehr.sweeps.names import DIGITS, digits_of, preference
from lehr.sweeps.point import FILE, Point

WAITING = "waiting"
ABSOLUTE = "absolute"
"""What sweep.yaml says of the paths in its points; of those of earlier versions it says nothing."""
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
        constant: dotted key -> value, of what is the same in all points.
    """

    keys: list[str]
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
        """The directories of points, by the digits of the identity that their names end in. Of copies one counts."""
        if not self.path.is_dir():
            return {}
        found: dict[str, list[Path]] = {}
        for path in self.path.iterdir():
            if digits := digits_of(path.name):
                found.setdefault(digits, []).append(path)
        return {digits: paths[0] if len(paths) == 1 else min(paths, key=_preference) for digits, paths in found.items()}

    def run_dir(self, point: Point) -> Path:
        """Where `point` is, or is to be."""
        if self._known is None:  # under the name that it was given when the sweep varied other keys
            self._known = self.run_dirs()
        return self._known.get(point.id[:DIGITS]) or self.path / point.name

    def state(self, point: Point) -> str:
        """What has become of `point`, its evaluation included."""
        return state_of(self.run_dir(point), point.config["evaluate"])

    def forget_failed_evaluations(self, points: Iterable[Point]) -> None:
        """Let those of `points` be evaluated again that are done but for that, if they are to be."""
        for point in points:
            run_dir, level = self.run_dir(point), point.config["evaluate"]
            if _has_failed_evaluation(run_dir, level) and (claim := Claim.take(run_dir)):
                with claim:
                    if _has_failed_evaluation(run_dir, level):  # nobody has tried in the meantime
                        RunDirectory(run_dir).record_evaluation("none", None)

    def prepare(self, point: Point) -> Path:
        """The directory of `point`, with everything in it from which it can be trained.

        Raises:
            ConfigError: if another point has the same digits.
        """
        if not (self.run_dir(point) / FILE).exists():
            with self._to_itself():  # another sweep may have made it, under another name, since we looked
                self._known = None
                if not (run_dir := self.run_dir(point)).exists():
                    point.write(run_dir)
                    return run_dir
        run_dir = self.run_dir(point)
        if run_dir.is_symlink():
            raise ConfigError(f"{run_dir}: is a link; put there what it leads to")
        if problem := RunDirectory(run_dir).link_problem():
            raise ConfigError(problem)
        with suppress(CheckpointError):  # a damaged one is written anew
            if Point.read(run_dir).id != point.id:
                raise ConfigError(f"{run_dir}: is another point whose name ends alike; choose another hydra.sweep.dir")
        if self.state(point) not in (RUNNING, DONE):
            point.write(run_dir)
        return run_dir

    @contextmanager
    def _to_itself(self) -> Iterator[None]:
        """Let no other process change the directory of the sweep meanwhile."""
        while (claim := Claim.take(self.path)) is None:
            time.sleep(0.05)
        with claim:
            yield

    def read(self) -> dict[str, Any]:
        """sweep.yaml; empty if there is none.

        Raises:
            ConfigError: if it cannot be read.
        """
        try:
            found = read_yaml(self.file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.file}: cannot be read ({' '.join(str(error).split())})") from error
        if not isinstance(found, dict) or not (
            _are_texts(found.get("keys"))
            and isinstance(found.get("constant"), dict)
            and _are_texts(list(found["constant"]))
            and isinstance(found.get("grids", []), list)
            and isinstance(found.get("points", []), list)
        ):
            raise ConfigError(f"{self.file}: is not the record of a sweep")
        return found

    def points(self) -> int | None:
        """How many runs its grid makes, begun or not; None of a search, of several grids, which may share runs, or of
        a sweep that does not say so.

        Raises:
            ConfigError: as of `read`.
        """
        found = self.read()
        counts = found.get("points", [])
        is_known = len(counts) == len(found.get("grids", [])) == 1 and type(counts[0]) is int
        return counts[0] if is_known else None

    def keeps_paths_as_typed(self) -> bool:
        """Whether the sweep was begun by a version that kept relative paths: then it goes on with them."""
        try:
            found = self.read()
        except ConfigError:
            return False
        return bool(found) and found.get("paths") != ABSOLUTE

    def problems(self, grid: Grid, points: Sequence[Point] = ()) -> list[str]:
        """Why `points`, those of `grid`, cannot lie here, a line each."""
        if RunDirectory(self.path).is_run():
            return [f"hydra.sweep.dir={self.path}: is the directory of a single run; choose another"]
        try:
            found = self.read()
        except ConfigError as error:
            return list(error.problems)
        if not found:
            if self.results.exists():
                return [f"hydra.sweep.dir={self.path}: holds results.csv, which no sweep has written; choose another"]
            return []
        return _grid(found).differences(grid) or self._conflicts(points, [*found["keys"], *grid.keys])

    def _conflicts(self, points: Iterable[Point], keys: Iterable[str]) -> list[str]:
        """Where a run that lies here differs from one of `points` in something that no table of `keys` would show."""
        keys = [key for key in dict.fromkeys(keys) if key != "seed"]
        new: dict[str, Point] = {}
        for point in points:
            new.setdefault(_text(point.values(keys)), point)
        ours = {point.id[:DIGITS] for point in points}
        lines: dict[str, str] = {}
        for digits, path in self.run_dirs().items():
            if digits in ours:
                continue
            with suppress(CheckpointError):  # it is only a directory whose name ends alike
                old = Point.read(path)
                alike = new.get(_text(old.values(keys)))
                there = _but_for_the_seed(old.config) if alike else {}
                here = _but_for_the_seed(alike.config) if alike else {}
                for key in differing(there, here):
                    lines.setdefault(
                        key,
                        f"{key}={_shown(here.get(key))}: is {_shown(there.get(key))} in {path.name}, which could "
                        "not be told apart; sweep it in both or choose another hydra.sweep.dir",
                    )
        return list(lines.values())[:10]

    def record(self, grid: Grid, typed: Iterable[str], points: int | None = None) -> list[str]:
        """Write sweep.yaml, or add to it; the keys that are swept in it then.

        Args:
            grid: what is swept.
            typed: the words that say so.
            points: how many runs that makes; None of a search, or where it is not known.

        Raises:
            ConfigError: if the directory cannot be written to.
        """
        typed, now = list(typed), provenance()
        try:
            with self._to_itself():
                found = self.read()
                made = found or now
                both = _grid(found).extended(grid) if found else grid
                grids, counts = found.get("grids", []), found.get("points", [])
                if typed not in grids:
                    counts = [*counts, points] if len(counts) == len(grids) else []
                record = {
                    "grids": grids if typed in grids else [*grids, typed],
                    "points": counts,
                    "keys": both.keys,
                    "constant": both.constant,
                    **({} if found and found.get("paths") != ABSOLUTE else {"paths": ABSOLUTE}),
                    **{key: made.get(key) for key in ("git_commit", "versions")},
                }
                for left in self.path.glob(f".{self.file.name}.*.tmp"):  # by a start that was killed
                    left.unlink(missing_ok=True)
                write_text(self.file, yaml.dump(record, Dumper=_YAML_DUMPER, sort_keys=False, allow_unicode=True))
                return both.keys
        except OSError as error:
            raise ConfigError(f"hydra.sweep.dir={self.path}: cannot be written to ({error.strerror})") from error


_YAML_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _preference(run_dir: Path) -> tuple[Any, ...]:
    """Which of several directories of one run is the run's."""
    try:
        point = Point.read(run_dir)
    except CheckpointError:
        return (2, run_dir.name)
    return preference(run_dir.name, point.swept, point.id, RunDirectory(run_dir).state() == DONE)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _has_failed_evaluation(run_dir: Path, level: str) -> bool:
    """Whether it has failed on this level, or on a lower one."""
    status = RunDirectory(run_dir).read_status()
    if status.get("state") != DONE or not status.get("evaluation_error"):
        return False
    return level != "none" and (status["evaluated"] == level or lacks_evaluation(status, level))


def _grid(found: Mapping[str, Any]) -> Grid:
    return Grid(list(found["keys"]), dict(found["constant"]))


def _but_for_the_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes up the identity of a run, without its seed and what is the seed's."""
    found = {key: canonical(value) for key, value in parts(config).items() if key != "seed"}
    return {
        key: "${seed}" if key.endswith(".seed") and value == config["seed"] else value for key, value in found.items()
    }


def _text(values: Any) -> str:
    return json.dumps(canonical(values), sort_keys=True)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
