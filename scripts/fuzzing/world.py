"""Where cases are tried: runs, a sweep and data, copied for each case, and a watch over what is written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lehr.cli.main import main
from lehr.models import TinyAutoencoder
from lehr.run.diffusers_folder import write_diffusers

_SMALL = (
    "trainer.max_steps=2",
    "kl=constant",
    "evaluate=none",
    "model.hidden=[8]",
    "model.latent_dim=2",
    "callbacks.samples.n=4",
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NAMED_FIRST = (
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "shutil.rmtree",
    "sqlite3.connect",
)
_NAMED_SECOND = ("os.rename", "os.link", "os.symlink", "shutil.move", "shutil.copyfile", "shutil.copytree")
_PROCESSES = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork", "os.forkpty", "os.startfile")


class World:
    """The folder `home` that every case finds copied: `done`, `interrupted`, `sweep`, `empty`, `pictures`, files.

    `vae` is an autoencoder of diffusers, and `published` the run that was made of it.

    Args:
        folder: an empty one.
        run: a finished run of the digits; None to train one, and a sweep.
    """

    def __init__(self, folder: Path, run: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.home = self.folder / "model"
        self.home.mkdir(parents=True)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (40, 8, 8), np.uint8)
        np.save(self.home / "x.npy", images)
        np.savez(self.home / "x.npz", x=images, y=np.arange(40) % 3)
        for i, image in enumerate(images):
            path = self.home / "pictures" / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        _write_idx(self.home / "idx", images)
        (self.home / "empty").mkdir()
        torch.manual_seed(0)
        write_diffusers(self.home / "vae", TinyAutoencoder((1, 8, 8), base_channels=4, blocks=(0, 1)))
        with _inside(self.home, self.folder):
            assert main(["import", "vae", "dir=published"]) == 0
        if run is not None:
            for name in ("done", "sweep/one", "sweep/other"):
                shutil.copytree(run, self.home / name)
        else:
            with _inside(self.home, self.folder), in_this_process():
                assert main(["train", "dir=done", *_SMALL]) == 0
                assert main(["train", "-m", "hydra.sweep.dir=sweep", "seed=0,1", *_SMALL]) == 0
        shutil.copytree(self.home / "done", self.home / "interrupted")
        for name in ("model", "posterior", "samples"):
            shutil.rmtree(self.home / "interrupted" / name)
        status = self.home / "interrupted" / "status.json"
        status.write_text(json.dumps({**json.loads(status.read_text()), "state": "interrupted"}))

    @contextmanager
    def copied(self, wanted: Iterable[str]) -> Iterator[tuple[Path, Path]]:
        """A folder of a case, and the folder in it in which the case runs; only what is `wanted` is copied."""
        root = self.folder / "case"
        here = root / "deep" / "here"
        here.mkdir(parents=True)
        try:
            text = " ".join(wanted)
            for path in self.home.iterdir():
                if path.name in text and path.is_dir():
                    shutil.copytree(path, here / path.name)
                elif path.name in text:
                    shutil.copyfile(path, here / path.name)
            with _inside(here, root):
                yield root, here
        finally:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _inside(here: Path, root: Path) -> Iterator[None]:
    """Within it `here` is the working directory, and home and temporary folder are below `root`."""
    before, environment, path, written = Path.cwd(), dict(os.environ), list(sys.path), sys.dont_write_bytecode
    (root / "tmp").mkdir(exist_ok=True)
    os.environ |= {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "LEHR_DATA": str(root / "data")}
    os.environ.pop("HYDRA_FULL_ERROR", None)
    sys.dont_write_bytecode = True
    os.chdir(here)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:], sys.dont_write_bytecode = path, written


def _write_idx(folder: Path, images: np.ndarray) -> None:
    folder.mkdir()
    for part, n in (("train", 30), ("t10k", 10)):
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, n, 8, 8)
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(header + images[:n].tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, n) + bytes(n))


@contextmanager
def in_this_process() -> Iterator[None]:
    """Within it sweeps train here, one run after another and no more than two, instead of starting processes."""
    import lehr.api.sweep as commands
    from lehr.sweeps.runner import run_point

    original = commands.launcher

    class Here:
        def __init__(self, retry: str | None) -> None:
            self.retry = retry

        def launch(self, jobs: Any, finished: Any) -> None:
            for _ in range(2):
                if (job := next(jobs, None)) is None:
                    return
                run_point(job, self.retry, own_process=False)
                finished(job)

    def launcher(found: Any, count: int, retry: str | None, given: Any = None) -> Any:
        original(found, count, retry, given or {})  # it may find that something is wrong
        return Here(retry)

    commands.launcher = launcher  # type: ignore[assignment]
    try:
        yield
    finally:
        commands.launcher = original


@contextmanager
def two_steps() -> Iterator[None]:
    """Within it no training takes more than two steps, whatever it was told."""
    from lightning.pytorch import Trainer

    original = Trainer.fit

    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        loop = self.fit_loop.epoch_loop
        loop.max_steps = min(loop.max_steps, loop.global_step + 4) if loop.max_steps > 0 else 4
        return original(self, *args, **kwargs)

    Trainer.fit = fit  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.fit = original  # type: ignore[method-assign]


class Watch:
    """What this process writes, and which programs it starts, while it is watched."""

    _now: Watch | None = None
    _is_installed = False
    _NO_FILES = (os.devnull, "/proc/self/clear_refs")  # what the kernel is told through these stays nowhere

    def __init__(self) -> None:
        self.written: list[str] = []
        self.started: list[str] = []

    def __enter__(self) -> Watch:
        if not Watch._is_installed:
            sys.addaudithook(_hook)  # for as long as the process lives
            Watch._is_installed = True
        Watch._now = self
        return self

    def __exit__(self, *_: object) -> None:
        Watch._now = None

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITES):
                self._note_path(path)
        elif event in _NAMED_FIRST:
            if not _changes_nothing(event, args):
                self._note_path(args[0])
        elif event in _NAMED_SECOND:
            self._note_path(args[1])
        elif event in _PROCESSES:
            self.started.append(f"{event} {args[0]!r}")

    def _note_path(self, path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike) and (name := os.fsdecode(path)) not in self._NO_FILES:
            try:
                self.written.append(
                    os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(name))), os.path.basename(name))
                )
            except (OSError, ValueError):
                self.written.append(name)


def _changes_nothing(event: str, args: tuple[Any, ...]) -> bool:
    """Whether a folder is made that is there, or a name is one within an open folder, whose own name was noted."""
    if event == "os.mkdir" and os.path.isdir(args[0]):
        return True
    return event in ("os.remove", "os.mkdir", "os.rmdir") and args[-1] not in (-1, None)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if (watch := Watch._now) is not None:
        if event == "socket.connect" and isinstance(args[1], tuple):
            raise OSError("there is no network")
        watch.note(event, args)
