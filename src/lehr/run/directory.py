"""The run directory: where each file of a run lies.

config.yaml, data.json, status.json, metrics.json, history.jsonl, checkpoints/, model/, posterior/, samples/,
TensorBoard events.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from filecmp import cmp
from pathlib import Path
from typing import Any

import yaml

from lehr.errors import CheckpointError, ConfigError
from lehr.evaluation.next_command import Commands
from lehr.files import replacing, write_json, write_text
from lehr.reading import links_in, read_fields, read_yaml
from lehr.run.claim import Claim, holder, is_claimed
from lehr.run.contents import (
    FOLDERS,
    STAGES,
    STATUS,
    SWEEP,
    claim_files,
    foreign_names,
    measured_files,
    own_files,
    own_folders,
    stage_folders,
    unfinished_files,
)
from lehr.run.identity import as_it_was
from lehr.run.status import DONE, is_status, now

_NAMED = 3  # files that a refusal names
_SHOWN = 200  # characters of a path

_OWN = re.compile(r".*\.(csv|json|jsonl|journal|lehr|pbtxt|txt|yaml)|events\..*|\.claim-.*")
"""Names at the top of a run directory, or of that of a sweep, that lehr reads or writes."""


def holds_run(path: Path) -> bool:
    """Whether there is a run in this directory, or what is left of one, and not runs in folders."""
    return (path / "status.json").exists() or (path / "config.yaml").exists()


class RunDirectory:
    """Paths and small files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status(self) -> Path:
        return self.path / STATUS

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def posterior(self) -> Path:
        return self.path / "posterior"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def stages(self) -> Path:
        return self.path / STAGES

    def stage_directories(self) -> list[RunDirectory]:
        """The directories of the stages before the last that have begun here."""
        return [RunDirectory(folder) for folder in stage_folders(self.path)]

    def evaluation(self, kind: str = "") -> Path:
        """`evaluation.json`, or that of some `kind`."""
        return self.path / (f"evaluation-{kind}.json" if kind else "evaluation.json")

    def state(self) -> str | None:
        """The state in status.json, None where there is none."""
        state = self.read_status().get("state")
        return None if state is None else str(state)

    def holder(self) -> str | None:
        """The living process other than this that is writing to this directory, in words; None if there is none."""
        found = holder(self.path)
        here = found is not None and found.host == socket.gethostname()
        if found is None or not found.alive or (here and found.pid == os.getpid()):
            return None
        return f"process {found.pid}" + ("" if here else f" on {found.host}")

    @contextmanager
    def claimed(self) -> Iterator[Claim]:
        """The right to write to this directory within the block.

        Raises:
            ConfigError: if another process has it, or nobody can write there.
        """
        try:
            claim = Claim.take(self.path)
        except OSError as error:
            raise ConfigError(f"dir={self.path}: cannot be written to ({error.strerror})") from error
        if claim is None:
            raise ConfigError(f"dir={self.path}: {self.holder() or 'another process'} is running there")
        with claim:
            yield claim

    def unfinished(self) -> str | None:
        """That the run has not come to its end, and what brings it there; None where it has, or nothing says so."""
        if process := self.holder():
            return f"{process} is training there; wait for it"
        if (state := self.state()) in (DONE, None):
            return None
        try:
            config = self.read_config()
        except CheckpointError:
            config = {}
        return f"it is {state}: finish it with {Commands(str(self.path), config).resume()}"

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration of the run.

        Raises:
            CheckpointError: if there is none, or it is no configuration.
        """
        try:
            if problem := self.link_problem():
                raise CheckpointError(problem)
            config = read_yaml(self.config)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointError(f"{self.path}: {self._why_no_run()}") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.config}: cannot be read ({' '.join(str(error).split())})") from error
        if not isinstance(config, dict):
            raise CheckpointError(f"{self.config}: is not a configuration")
        return as_it_was(config)

    def _why_no_run(self) -> str:
        if not self.path.exists():
            return "there is no such directory"
        if run := min(self.path.glob("*/config.yaml"), default=None):
            return f"is not a run directory, but holds some; say one of them, such as {run.parent}"
        return "is not a run directory: it has no config.yaml"

    def write_config(self, config: dict[str, Any]) -> None:
        write_text(self.config, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def is_run(self) -> bool:
        """Whether a run of lehr's has begun here: its status.json says so."""
        return is_status(self.read_status())

    def problems(self) -> list[str]:
        """Why no run may be here, one line a problem; empty where one may."""
        if problems := self.place_problems():
            return problems
        if process := self.holder():
            return [f"dir={self.path}: {process} is running there; choose another directory"]
        if os.path.lexists(self.path / SWEEP):
            return [f"dir={self.path}: is the directory of a sweep; choose another"]
        if not self.is_run() and (names := foreign_names(self.path)):
            named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            return [f"dir={self.path}: holds {named}, which no run of lehr's has written; choose another directory"]
        return []

    def place_problems(self) -> list[str]:
        """Why nothing can be written here, one line a problem."""
        try:
            existing = _existing(self.path)
        except OSError as error:  # a name that no file can have, a circle of links, a link to nowhere
            return [f"dir={_short(self.path)}: {error.strerror}"]
        except ValueError as error:  # a character that no name can have
            return [f"dir={_short(self.path)}: {error}"]
        if not existing.is_dir():
            return [f"dir={self.path}: {existing} is a file, not a directory"]
        if not os.access(existing, os.W_OK | os.X_OK):
            return [f"dir={self.path}: {existing} cannot be written to"]
        problem = self.link_problem()
        return [f"dir={self.path}: {problem}"] if problem else []

    def link_problem(self) -> str | None:
        """What is wrong where something of lehr's here is a link, through which it would touch what lies elsewhere."""
        own = [path for path in links_in(self.path) if path != self.path and _OWN.fullmatch(path.name)]
        inside = [link for name in (*FOLDERS, STAGES) for link in links_in(self.path / name)]
        return next((f"{link}: is a link; put there what it leads to" for link in (*own, *inside)), None)

    def clear(self, stages: bool = True, but_status: bool = False) -> None:
        """Remove what an earlier run left here, and nothing else: its status last, so that it can be done again.

        Args:
            stages: those before the last too; the claim of one that is about to begin stays.
            but_status: let the directory say all the while that it is a run's.
        """
        for stage in self.stage_directories() if stages else ():
            stage.clear()
            claims = () if is_claimed(stage.path) else claim_files(stage.path)
            for path in (*unfinished_files(stage.path), *claims):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                stage.path.rmdir()
        folders = list(own_folders(self.path))
        for path in own_files(self.path, self.has_marked_events()):
            if not (but_status and path == self.status):
                path.unlink(missing_ok=True)
        for folder in folders:
            with suppress(OSError):  # somebody else's files are in it
                folder.rmdir()

    def has_marked_events(self) -> bool:
        """Whether the events of the run here, if there is one, have names of their own."""
        status = self.read_status()
        return bool(status.get("marked_events", not status))

    def remove_evaluations(self) -> None:
        """Remove what was measured of the trained model and fitted to its latents, as of one that is no more."""
        for path in measured_files(self.path):
            path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove the temporary files of a run that was killed while it wrote."""
        for temporary in unfinished_files(self.path):
            temporary.unlink(missing_ok=True)

    def require_checkpoint(self, which: str = "last") -> Path:
        """The checkpoint to resume from, "last" or "best".

        Raises:
            CheckpointError: if there is none.
        """
        try:
            is_there = stat.S_ISDIR(self.path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
        except OSError as error:
            raise CheckpointError(f"resume={_short(self.path)}: {error.strerror}") from error
        if not is_there:
            raise CheckpointError(f"resume={self.path}: there is no such directory")
        self.read_config()
        path = self.best_checkpoint if which == "best" else self.last_checkpoint
        if not path.exists():
            other = "last" if which == "best" else "best"
            anew = f"start again with dir={self.path}" + (" overwrite=true" if self.state() == DONE else "")
            has_other = (path.parent / f"{other}.ckpt").exists()
            advice = f"say resume_from={other}" if has_other else anew
            raise CheckpointError(f"resume={self.path}: has no checkpoints/{path.name} to go on from; {advice}")
        return path

    def go_back_to_best(self) -> Path | None:
        """Make the best checkpoint the one to go on from: where the last one is kept, if there was another."""
        last, best = self.last_checkpoint, self.best_checkpoint
        has_another = last.exists() and not cmp(last, best, shallow=False)
        kept = last.with_name("replaced.ckpt")
        if has_another:
            with replacing(kept) as temporary:
                shutil.copyfile(last, temporary)
        with replacing(last) as temporary:
            shutil.copyfile(best, temporary)
        return kept if has_another else None

    def record_evaluation(self, level: str, error: str | None) -> None:
        """Note in status.json that the evaluation at the end of the run has ended, by what `error` if by any."""
        write_json(self.status, {**self.read_status(), "evaluated": level, "evaluation_error": error})

    def record_end(self, state: str, error: str) -> None:
        """Note in status.json what ended a run that could not do so itself."""
        write_json(self.status, {**self.read_status(), "state": state, "finished": now(), "error": error})

    def read_status(self) -> dict[str, Any]:
        """What status.json holds; nothing if it is not there, or damaged."""
        return read_fields(self.status)

    def read_data(self) -> dict[str, Any]:
        """What data.json holds; nothing if it is not there, as in runs of earlier versions, or damaged."""
        return read_fields(self.data)


def _existing(path: Path) -> Path:
    """The first of `path` and the folders that it is to lie in that is there already.

    Raises:
        OSError: says in a few words why `path` can never be made.
    """
    for one in (path, *path.parents):
        try:
            one.stat()
            longest = os.pathconf(one, "PC_NAME_MAX")
            if any(len(os.fsencode(name)) > longest for name in path.relative_to(one).parts):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            return one
        except (FileNotFoundError, NotADirectoryError) as error:
            if one.is_symlink():
                there = os.readlink(one)
                raise OSError(errno.ENOENT, f"{one} is a link to {there}, which is not there") from error
    return path.parent


def _short(path: Path) -> str:
    """A path in a message, of which nobody wants to read thousands of characters."""
    return text if len(text := str(path)) <= _SHOWN else f"{text[:_SHOWN]}..."
