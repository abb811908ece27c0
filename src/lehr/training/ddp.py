"""Distributed training in which every process is given the same run directory, not the same command line.

Lightning starts the other ranks by repeating the command. Under Hydra that composes the configuration once more in
each of them, and a value that is not the same twice (a time, a sweep's choice) makes ranks train different models.
They compare their configurations before they start.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from lehr.errors import ConfigError, LehrError, NonFiniteLoss, in_a_line
from lehr.run.contents import last_words

_SECONDS_TO_EXIT = 0.5  # for a rank whose connection has broken to be gone
_SECONDS_TO_FAIL = 3.0  # for the other ranks to fail by themselves, once the first has


class _RunDirectoryLauncher(_SubprocessScriptLauncher):
    """Starts each other rank of this machine as `python -m lehr.training.worker`."""

    def __init__(self, *args: Any, run_dir: Path, arguments: list[str]) -> None:
        super().__init__(*args)
        self._run_dir, self._arguments = run_dir, arguments

    def _call_children_scripts(self) -> None:
        self._check_can_spawn_children()
        self.procs = []
        port = self.cluster_environment.main_port
        for rank in range(1, self.num_processes):
            place = [f"{rank}/{self.num_processes}", str(port)]
            command = [sys.executable, "-m", "lehr.training.worker", *place, str(self._run_dir), *self._arguments]
            self.procs.append(subprocess.Popen(command))

    def failures(self) -> list[str]:
        """What ended other ranks before this one, as each has said; of one that was killed it is said here."""
        found = []
        for rank, process in enumerate(self.procs, start=1):
            with suppress(subprocess.TimeoutExpired, OSError):
                code = process.wait(_SECONDS_TO_EXIT)
                said = last_words(self._run_dir, rank)
                if code < 0:
                    reason = f"killed by {signal.Signals(-code).name}"
                    print(f"lehr train: rank {rank}: {reason}", file=sys.stderr, flush=True)
                else:
                    reason = said.read_text(encoding="utf-8")
                said.unlink(missing_ok=True)
                found.append(f"rank {rank}: {reason}")
        return found

    def end(self, seconds: float) -> None:
        """Wait for the other ranks to end, end those that have not by then, and forget them."""
        others = list(self.procs)
        self.procs.clear()  # in place: Lightning's observer, which kills this process if a rank fails, looks there too
        end = time.monotonic() + seconds
        for process in others:
            try:
                process.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class RanksDiffer(ConfigError):
    """The ranks of a run were given different configurations; each of them raises this."""


class RunDirectoryDDP(DDPStrategy):
    """Lightning's DDP strategy, with ranks that read the configuration from the run directory.

    Args:
        run_dir: the run directory, whose config.yaml is written before the ranks start.
        config: that this rank was given.
        checkpoint: what they resume from.
        trust: packages whose classes may be built.
    """

    def __init__(
        self,
        run_dir: Path,
        config: Mapping[str, Any],
        checkpoint: Path | None = None,
        trust: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._arguments = [str(checkpoint or ""), *trust]
        self._run_dir, self._digest = run_dir, config_digest(config)

    def setup_environment(self) -> None:
        super().setup_environment()
        mine = torch.tensor(list(self._digest), dtype=torch.uint8, device=self.root_device)
        theirs = [torch.empty_like(mine) for _ in range(self.world_size)]
        torch.distributed.all_gather(theirs, mine)
        if others := [rank for rank, digest in enumerate(theirs) if not torch.equal(digest, theirs[0])]:
            raise RanksDiffer(
                f"rank {', '.join(map(str, others))}: not the configuration of rank 0; start every rank with the "
                f"same command line, and leave {self._run_dir / 'config.yaml'} alone until they have started"
            )

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = _RunDirectoryLauncher(
            self.cluster_environment,
            self.num_processes,
            self.num_nodes,
            run_dir=self._run_dir,
            arguments=self._arguments,
        )

    def on_exception(self, exception: BaseException) -> None:
        if self.global_rank != 0:
            # at once: to free what connects the ranks can wait for the first, and the first waits for this one
            end_rank(self.global_rank, exception, self._run_dir)
        if isinstance(self._launcher, _RunDirectoryLauncher) and (failures := self._launcher.failures()):
            exception.args = ("; ".join(failures),)  # this one only knows that a connection broke
            vars(exception)["is_told"] = True  # by those that have failed
        super().on_exception(exception)
        # the other ranks may be waiting for this one, with some backends for ever; or they may have failed before it,
        # and be about to say why
        self.close(seconds=_SECONDS_TO_FAIL if isinstance(exception, Exception) else 0.0)

    def close(self, seconds: float) -> None:
        """Let the other ranks of this machine end, and what connects them; this process can then start another run.

        Args:
            seconds: how long they have before they are killed.
        """
        if isinstance(self._launcher, _RunDirectoryLauncher):
            self._launcher.end(seconds)
        leave_process_group()

    # Evaluation calls the module itself: DDP's wrapper would synchronise buffers at every step, and ranks with
    # unequal shares of a data set would wait for each other for ever.

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        assert self.lightning_module is not None
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        assert self.lightning_module is not None
        with self.precision_plugin.test_step_context():
            return self.lightning_module.test_step(*args, **kwargs)


_left: list[Any] = []


def leave_process_group() -> None:
    """Leave the process group, if there is one; this process can then join another.

    Whoever lets go of a group last waits for its threads. After an error one of these may still be about to release a
    tensor, for which it needs Python's lock, and where DDP's reducer comes last that lock is held: both wait for ever.
    So the group is kept until the next one is left.
    """
    if torch.distributed.is_initialized():
        _left[:] = [torch.distributed.group.WORLD]
        torch.distributed.destroy_process_group()


def config_digest(config: Mapping[str, Any]) -> bytes:
    """What tells apart the configurations of ranks. Where each takes itself to write does not count."""
    values = {key: value for key, value in config.items() if key != "dir"}
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()


def end_rank(rank: int, error: BaseException, run_dir: Path) -> NoReturn:
    """End this process, which is not the first rank, and say why; what all ranks find, the first one tells."""
    if not isinstance(error, NonFiniteLoss | RanksDiffer):
        message = " ".join(str(error).split()) if isinstance(error, LehrError) else in_a_line(error)
        print(f"lehr train: rank {rank}: {message}", file=sys.stderr, flush=True)
        with suppress(OSError):
            last_words(run_dir, rank).write_text(message, encoding="utf-8")
    os._exit(1)
