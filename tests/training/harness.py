"""Commands in processes of their own, and what differs between the directories of two runs."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors.torch import load_file

from lehr import randomness
from lehr.data.images import ArrayImages
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits, with_test_held_out
from lehr.evaluation.catalogue import is_of_execution, without_execution
from lehr.models import MLP
from lehr.objective import AnnealedKL, Bernoulli
from lehr.objective.likelihood import Likelihood
from lehr.run.history import read_history
from lehr.signals import STOP_SIGNALS
from lehr.training.checkpoint import AtomicCheckpointIO
from lehr.training.module import VAEModule
from lehr.training.players import PlayerPlan

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Finished:
    """How a process ended: a code of -9 is SIGKILL."""

    code: int
    out: str
    err: str


class Started:
    """A process that runs, in a process group of its own."""

    def __init__(self, process: Any, out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err
        self.pid: int = process.pid

    def wait(self, seconds: float = 100) -> Finished:
        """How it ended; a process that has not is killed, with all of its group."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.join()
            raise AssertionError(f"still running after {seconds} s:\n{self._err.read_text()}")
        return Finished(self._process.exitcode, self._out.read_text(), self._err.read_text())

    def left_behind(self) -> list[int]:
        """The processes of its group that are still there: those it started and did not end."""
        return [pid for pid, group in _groups() if group == self.pid]


def _groups() -> Iterator[tuple[int, int]]:
    import subprocess

    table = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    for line in table.splitlines():
        pid, group, state = line.split()
        if not state.startswith("Z"):
            yield int(pid), int(group)


def forkserver() -> Any:
    """A multiprocessing context whose processes are forked from a server that has imported everything once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lehr.cli.main", "lehr.cli.train", "lehr.cli.summary", "lehr.training.session", "lehr.run.load",
         "hydra", "torch.utils.tensorboard", "tensorboard.plugins.hparams.summary", "PIL.PngImagePlugin"]
    )  # fmt: skip
    return context


class Processes:
    """Starts `lehr ...` in new processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = forkserver()
        self._count = 0

    def start(self, *arguments: str, **environment: str) -> Started:
        """Start a command."""
        self._count += 1
        out, err = self._folder / f"{self._count}.out", self._folder / f"{self._count}.err"
        search = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        values = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search, **environment}
        process = self._context.Process(target=run_command, args=(arguments, str(out), str(err), values))
        process.start()
        return Started(process, out, err)

    def __call__(self, *arguments: str, **environment: str) -> Finished:
        """Run a command to its end."""
        return self.start(*arguments, **environment).wait()

    def killed_and_resumed(self, path: Path, moments: Sequence[tuple[Any, ...]], *words: str) -> Finished:
        """A training with these words into `path`, killed at each of the moments (see `kill`) and resumed after each.

        How its last part ended, which is well.
        """
        command = [*words, f"dir={path}"]
        for i, moment in enumerate(moments):
            finished = self("train", *command, *kill(*moment, again=i > 0))
            assert finished.code == -9, (moment, finished)
            command = [f"resume={path}"]
            next_second()
        finished = self("train", *command, "callbacks.kill=null")
        assert finished.code == 0, finished.err
        return finished


def run_command(arguments: tuple[str, ...], out: str, err: str, environment: dict[str, str]) -> None:
    os.setsid()
    for signum in STOP_SIGNALS:  # a pool in the process of the tests may have started the server, which heeds none
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    torch.set_num_threads(1)
    from lehr.cli.main import main

    code = main(arguments)
    threading._shutdown()  # as the interpreter does when a program ends, and multiprocessing does not
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def kill(at: str, after: int = 0, signal: str = "SIGKILL", everyone: bool = False, again: bool = False) -> list[str]:
    """The overrides that send a signal at a moment, see `killer.Kill`; `again` on resuming a run that had them."""
    values = {"at": at, "after": after, "signal": signal, "everyone": everyone}
    if again:
        return [*(f"callbacks.kill.{name}={value}" for name, value in values.items()), "trust=[killer]"]
    values = {"_target_": "killer.Kill", **values}
    return [*(f"+callbacks.kill.{name}={value}" for name, value in values.items()), "trust=[killer]"]


def differences(a: Path, b: Path, repeated_events: bool = False) -> list[str]:
    """What differs between two runs, bit by bit: all but times, names of event files and what was said of the run.

    `repeated_events` allows events that TensorBoard shows twice, alike and at the same place.
    """
    found = [f"only one of them has {name}" for name in sorted(_names(a) ^ _names(b))]
    for name in sorted(_names(a) & _names(b)):
        left, right = _contents(a / name), _contents(b / name)
        if left != right:
            keys = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
            found += [f"{name}: {key}: {_short(left.get(key))} and {_short(right.get(key))}" for key in sorted(keys)]
    seen, other = visible_events(a), visible_events(b)
    if repeated_events:
        seen, other = ({tag: _once(values) for tag, values in events.items()} for events in (seen, other))
    for tag in sorted(seen.keys() | other.keys()):
        if not is_of_execution(tag) and seen.get(tag) != other.get(tag):
            found.append(f"TensorBoard {tag}: {_short(seen.get(tag))} and {_short(other.get(tag))}")
    return found


def _once(values: list[Any]) -> list[Any]:
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:150]} ... {text[-150:]}"


def _names(run: Path) -> set[str]:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    return {name for name in files if "tfevents" not in name and name not in ("status.json", "config.yaml")}


def _contents(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return {name: _bits(tensor) for name, tensor in load_file(path).items()}
    if path.suffix == ".ckpt":
        checkpoint = torch.load(path, weights_only=True)
        parts = ("state_dict", "optimizer_states", "lr_schedulers", "evaluated", "epoch", "global_step")
        return {name: _bits(checkpoint[name]) for name in parts}
    if path.name == "history.jsonl":
        return {f"line {i}": without_execution(point) for i, point in enumerate(read_history(path), start=1)}
    if path.name == "metrics.json":
        return without_execution(json.loads(path.read_text()))
    return {"bytes": path.read_bytes()}


def _bits(value: Any) -> Any:
    """Something that can be compared with ==, exactly."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: _bits(item) for key, item in value.items() if key != "kill"}
    if isinstance(value, list | tuple):
        return [_bits(item) for item in value]
    return value


def visible_events(run: Path) -> dict[str, list[tuple[int, Any]]]:
    """tag -> (step, value) of everything that TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(
        str(run), size_guidance=dict.fromkeys(("scalars", "images", "histograms", "tensors", "compressedHistograms"), 0)
    )
    reader.Reload()
    tags = reader.Tags()
    events: dict[str, list[tuple[int, Any]]] = {}
    for tag in tags["scalars"]:
        events[tag] = [(event.step, event.value) for event in reader.Scalars(tag)]
    for tag in tags["images"]:
        events[tag] = [(event.step, event.encoded_image_string) for event in reader.Images(tag)]
    for tag in tags["histograms"]:
        events[tag] = [(event.step, event.histogram_value) for event in reader.Histograms(tag)]
    for tag in tags["tensors"]:
        events[tag] = [(event.step, "text") for event in reader.Tensors(tag)]
    for tag in reader.summary_metadata.keys() - events.keys():
        events[tag] = [(0, "metadata")]
    return events


def next_second() -> None:
    """Wait for it: event files are named by the second, and TensorBoard reads them in the order of their names."""
    now = time.time()
    time.sleep(1 - now % 1 + 0.01)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Tiny(ImageDataModule):
    """Random images (1, 4, 4): `n` of which a fifth are for testing and a tenth of the rest for validation."""

    def __init__(self, n: int = 120, **common: Any) -> None:
        values = {"batch_size": 16, "eval_batch_size": 50, "val_fraction": 0.1, "binarize": "none", "seed": 0}
        super().__init__(**values | common)
        self.n = n

    def read(self) -> Splits:
        generator = torch.Generator().manual_seed(1)
        strokes = torch.rand(3, 1, 4, 4, generator=generator)  # three patterns in all mixtures, so there is to learn
        pixels = torch.einsum("ns,schw->nchw", torch.rand(self.n, 3, generator=generator), strokes) / 3
        return with_test_held_out("tiny", ArrayImages(pixels), 0.2, self.split_seed)


def vae(
    image_shape: tuple[int, int, int] = (1, 4, 4), likelihood: Likelihood | None = None, seed: int = 0, **annealing: Any
) -> VAEModule:
    """A VAE with 2 latents and its objective; as a library is used, without any configuration."""
    with randomness.seeded(seed, "weights"):
        model = MLP(image_shape, latent_dim=2, hidden=[8])
    schedule = AnnealedKL(**{"weight": 1.0, "warmup": 2, "unit": "epoch"} | annealing)
    plan = PlayerPlan(torch.optim.Adam, {"lr": 1e-2})
    return VAEModule(model, likelihood or Bernoulli(), schedule, plan, seed=seed)


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A plain Lightning trainer on one CPU that says nothing."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    values = {"accelerator": "cpu", "devices": 1, "max_epochs": 3, "plugins": [AtomicCheckpointIO()], **quiet}
    values["num_sanity_val_steps"] = 0
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    values |= {"enable_checkpointing": saves, "default_root_dir": folder, "callbacks": list(callbacks)}
    return Trainer(**values | options)


def fit(folder: Path, *callbacks: Callback, module: VAEModule | None = None, data: Any = None, **options: Any) -> Any:
    """Train; the module, which knows its trainer."""
    module = module or vae()
    trainer(folder, *callbacks, **options).fit(module, datamodule=data or Tiny())
    return module
